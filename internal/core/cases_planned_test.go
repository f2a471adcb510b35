package core

import (
	"testing"
	"time"
)

// What is planned, by hand or by age.

// order is a call of Recreate. The result is what became of it, once that is known.
func (s *sim) order(then func(kind string)) {
	o := &Order{}
	s.c.Recreate(s.now, o)
	var look func()
	look = func() {
		if kind, done := o.Done(); done {
			then(kind)
			return
		}
		s.after(10*ms, look)
	}
	look()
}

// planned has transports replaced by hand or by age, each minute.
func planned(d *draw) *sim {
	if d.chance(0.5) {
		return newAgingSim(d, d.touchy(), time.Minute)
	}
	s := newSim(d, d.touchy())
	s.every(time.Minute, time.Minute, 10*time.Minute, func() { s.order(func(string) {}) })
	return s
}

// Case A18, and its kind: candidates that accept, and are silent.
func TestAPlannedCandidateThatDoesNotAnswerIsNotPromoted(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := planned(d)
				ill := oneOf(d, fateHangs, fateDark)
				s.world = func(_ *visit, on uint64) fate {
					if on > 1 {
						return ill
					}
					return fate{answer: 50 * ms}
				}
				s.every(0, d.between(100*ms, 2*sec), 10*time.Minute, func() {
					s.visit(visit{host: "a", method: method, leaves: d.between(2*sec, 9*sec)})
				})
				s.run(10 * time.Minute)
				s.noSwap()
				most := 0
				if method == "POST" && ill == fateDark {
					most = len(s.builds) // each may have been processed there
				}
				s.lostAtMost("a", most)
				d.note("builds", float64(len(s.builds)))
			})
		})
	}
}

// Case A19. A POST that tries the candidate is lost with it: it may have been sent.
func TestAPlannedCandidateThatTheServerRefusesIsNotPromoted(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := planned(d)
				s.world = func(_ *visit, on uint64) fate {
					if on > 1 {
						return fate{dial: 20 * ms, answer: d.between(ms, 30*ms), broken: true}
					}
					return fate{answer: 50 * ms}
				}
				s.traffic(0, d.between(100*ms, 4*sec), 10*time.Minute, visit{host: "a", method: method, left: oneOf(d, 0, 20*sec)})
				s.run(10 * time.Minute)
				s.noSwap()
				most := 0
				if method == "POST" {
					most = len(s.builds)
				}
				s.lostAtMost("a", most)
				d.note("builds", float64(len(s.builds)))
			})
		})
	}
}

// Case B15.
func TestOneHangingUpstreamDoesNotStopWhatIsPlanned(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		s.world = func(v *visit, _ uint64) fate {
			if v.host == "hang" {
				return fateHangs
			}
			return fateWell
		}
		s.traffic(0, d.between(100*ms, sec), 10*time.Minute, visit{host: "hang", method: oneOf(d, "GET", "PUT", "POST"), left: oneOf(d, 0, 3*sec, 30*sec)})
		if d.chance(0.6) {
			s.traffic(0, d.between(sec, 8*sec), 10*time.Minute, visit{host: "good", method: oneOf(d, "GET", "PUT", "POST")})
		}
		well := 0
		s.every(d.between(10*sec, 40*sec), 50*sec, 9*time.Minute, func() {
			start := s.now
			s.order(func(kind string) {
				if kind == "" {
					well++
					d.note("Recreate takes, s", s.now.Sub(start).Seconds())
				}
			})
		})
		s.run(10 * time.Minute)
		if well < 10 {
			d.fail("%d of 10 succeeded", well)
		}
		s.lostAtMost("good", 0)
	})
}

// Case B16.
func TestFailedPlansDoNotHoldBackTheFirstOutage(t *testing.T) {
	overDraws(t, func(d *draw) {
		r := d.rules()
		s := newSim(d, r)
		aged := d.chance(0.5)
		if aged {
			s = newAgingSim(d, r, 10*sec)
		}
		dies := d.between(40*sec, 80*sec)
		s.factory = func(int) (time.Duration, string) {
			if s.since() < dies-sec {
				return d.between(0, 50*ms), "factory_failed"
			}
			return 0, ""
		}
		s.deadFrom(dies, fateRefused)
		if !aged {
			s.every(sec, 5*sec, 36*sec, func() { s.order(func(string) {}) })
		}
		first := s.firstAnswer("a", dies)
		period := d.between(10*ms, 200*ms)
		s.traffic(0, period, 2*time.Minute, visit{host: "a", method: oneOf(d, "GET", "PUT", "POST")})
		s.run(2 * time.Minute)
		d.answeredWithin(first(), 4*period+100*ms)
		s.lostAtMost("a", s.c.rules.Threshold)
	})
}

// Case B21.
func TestWhatIsCalledOffWhileTheFactoryReturnsIsRetired(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.rules())
		s.world = func(*visit, uint64) fate { return fateWell }
		s.busy = d.chance(0.5)
		s.factory = func(int) (time.Duration, string) { return sec, "" }
		o := &Order{}
		s.at(sec, func() { s.c.Recreate(s.now, o) })
		off := d.chance(0.5)
		s.at(sec+oneOf(d, 0, 500*ms, sec), func() {
			if off {
				s.c.Abandon(s.now, o)
			} else {
				s.c.Close(s.now)
			}
		})
		s.run(10 * sec)
		late := len(s.swaps) == 1 && s.fates[2] == "promoted"
		if s.fates[2] == "" || !late && len(s.swaps) > 0 || s.c.cand != nil {
			d.fail("the candidate is %q, with %d swaps", s.fates[2], len(s.swaps))
		}
		if kind, done := o.Done(); !off && (!done || kind != ClosedMeanwhile && !late) {
			d.fail("the order is %q, %v", kind, done)
		}
	})
}

// Case E13.
func TestADeadUpstreamDoesNotMoveAFleetInLockstep(t *testing.T) {
	overDraws(t, func(d *draw) { // each is a client of the fleet
		s := newAgingSim(d, d.rules(), time.Hour)
		due := s.c.agedAt.Sub(simStart)
		s.world = func(v *visit, _ uint64) fate {
			if v.host == "dead" {
				return fateRefused
			}
			return fateWell
		}
		s.traffic(0, d.between(sec, 10*sec), 70*time.Minute, visit{host: "dead", method: oneOf(d, "GET", "POST")})
		s.traffic(0, d.between(sec, 4*sec), 70*time.Minute, visit{host: "well", method: oneOf(d, "GET", "PUT", "POST")})
		s.run(70 * time.Minute)
		if len(s.swaps) != 1 {
			d.fail("%d swaps", len(s.swaps))
			return
		}
		d.note("due, min", due.Minutes())
		d.atMost("late, s", (s.swaps[0].at.Sub(simStart) - due).Seconds(), 11)
		s.lostAtMost("well", 0)
	})
}
