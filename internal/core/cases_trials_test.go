package core

import (
	"fmt"
	"testing"
	"time"
)

// What trials and controls cost the requests that make them.

// Case B22.
func TestATrialOnWhatHangsCostsNothing(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.touchy())
				ill, well := oneOf(d, fateRefused, fateReset, fateDark), d.between(4*sec, 6*sec)
				s.world = func(_ *visit, on uint64) fate {
					switch {
					case on > 1:
						return fateHangs
					case s.since() < well:
						return ill
					}
					return fateWell
				}
				s.traffic(0, d.between(300*ms, sec), 4*sec, visit{host: "a", method: method, left: d.between(500*ms, 1500*ms)})
				var late []*visit
				s.every(8*sec, d.between(100*ms, 20*sec), time.Minute, func() {
					late = append(late, s.visit(visit{host: "a", method: method, left: oneOf(d, 0, 25*sec)}))
				})
				s.run(3 * time.Minute)
				for _, v := range late {
					if v.got != "answered" || v.on != 1 {
						d.fail("%s is %q by %d", method, v.got, v.on)
					}
				}
				s.noSwap()
			})
		})
	}
}

// Case B23.
func TestBodiesAloneGetABlackHoleReplaced(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.rules())
		s.deadFrom(sec, fateDark)
		left, period := oneOf(d, 0, 4*sec, 30*sec), d.between(50*ms, 2*sec)
		first := s.firstAnswer("a", sec)
		s.traffic(sec, period, 5*time.Minute, visit{host: "a", method: "PUT", left: left})
		s.run(10 * time.Minute)
		d.answeredWithin(first(), s.c.rules.Patience+2*sec+4*period)
		most := 0
		if left == 4*sec {
			most = int((left+2*sec)/period) + 3
		}
		s.d.atMost(fmt.Sprint("lost at ", left), float64(s.count("a", "lost")), float64(most))
	})
}

// Case B24. A failure counts only if its attempt began after the one before had failed, so a large
// threshold takes as many of them, one after the other.
func TestDialsThatFailAfterSecondsAreReplaced(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.rules())
				slow := fate{dial: d.between(2*sec, 4*sec), refused: true}
				s.deadFrom(sec, slow)
				period := oneOf(d, 10*ms, 100*ms, sec)
				first := s.firstAnswer("a", sec)
				s.traffic(sec, period, 40*sec, visit{host: "a", method: method, left: oneOf(d, 0, 30*sec)})
				s.run(time.Minute)
				within := time.Duration(s.c.rules.Threshold)*(slow.dial+period) + headStart + period
				if s.c.rules.Threshold <= 3 {
					within = min(within, 15*sec)
				}
				d.answeredWithin(first(), within)
				d.note("lost", float64(s.count("a", "lost")))
			})
		})
	}
}

// Case C9.
func TestALargeThresholdDoesNotMultiplyOneRequest(t *testing.T) {
	overDraws(t, func(d *draw) {
		r := d.rules()
		r.Threshold = 3 + d.IntN(50)
		s := newSim(d, r)
		ill := oneOf(d, fateRefused, fateReset, fate{dial: ms, refused: true, untyped: true})
		s.world = func(*visit, uint64) fate { return ill }
		v := s.visit(visit{host: "a", method: oneOf(d, "GET", "PUT")})
		s.run(time.Minute)
		d.atMost("attempts", float64(len(v.flown)), 5)
	})
}

// Case C10.
func TestWhatMayNotBeCopiedIsNot(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		s.world = func(*visit, uint64) fate { return fateDark }
		v := visit{host: "a", method: oneOf(d, "GET+Upgrade", "PUT", "POST", "GET"), left: oneOf(d, 0, 30*sec)}
		v.sealed = v.method == "GET"
		s.traffic(0, d.between(100*ms, 5*sec), 5*time.Minute, v)
		s.run(6 * time.Minute)
		d.atMost("copies", float64(s.copies), 0)
		s.noSwap()
	})
}

func TestALoneGETOnADeadDialerIsAnsweredByTheFirstCandidate(t *testing.T) {
	for threshold := 1; threshold <= 4; threshold++ {
		for _, takes := range []time.Duration{0, 2 * sec} {
			t.Run(fmt.Sprintf("threshold %d, factory %v", threshold, takes), func(t *testing.T) {
				overSome(t, 4, func(d *draw) {
					r := d.rules()
					r.Threshold = threshold
					s := newSim(d, r)
					s.factory = func(int) (time.Duration, string) { return takes, "" }
					s.deadFrom(0, fate{dial: ms, refused: true, untyped: d.seed%2 == 1})
					dead := min(threshold, mostAttempts)
					if threshold > mostAttempts { // one alone cannot trip it, but leaves little to do
						alone := s.visit(visit{host: "a", method: "GET"})
						s.run(sec)
						if alone.got != "lost" || len(s.builds) > 0 {
							d.fail("alone: %s after %d builds", alone.got, len(s.builds))
						}
						dead = 1
					}
					s.run(sec)
					v := s.visit(visit{host: "a", method: "GET"})
					s.run(10 * sec)
					want := append(make([]uint64, dead), 0) // and one control
					for i := range want {
						want[i] = 1
					}
					if d.seed%2 == 1 && threshold <= mostAttempts {
						want = append(want, 1) // nobody watched the first
					}
					want = append(want, 2)
					if v.got != "answered" || fmt.Sprint(v.flown) != fmt.Sprint(want) {
						d.fail("%s by %v, not %v", v.got, v.flown, want)
					}
				})
			})
		}
	}
}

func TestAThousandRequestsOnADeadTunnelAreAllAnsweredOnce(t *testing.T) {
	overSome(t, 20, func(d *draw) {
		r := d.rules()
		r.Threshold = min(r.Threshold, mostAttempts) // above, those of one instant cannot trip it
		s := newSim(d, r)
		takes := oneOf(d, 0, sec)
		s.factory = func(int) (time.Duration, string) { return takes, "" }
		ill := fate{dial: d.between(0, 20*ms), refused: true}
		s.world = func(_ *visit, on uint64) fate {
			if on == 1 {
				return ill
			}
			return fate{dial: 20 * ms, answer: 30 * sec}
		}
		period := oneOf(d, 0, ms, 10*ms)
		for i := range 1000 {
			s.at(sec+time.Duration(i)*period, func() {
				s.visit(visit{host: "a", method: []string{"GET", "POST"}[d.IntN(2)]})
			})
		}
		s.run(5 * time.Minute)
		if n := s.count("a", "answered"); n != 1000 {
			d.fail("%d of 1000 answered, %d lost", n, s.count("a", "lost"))
		}
		d.atMost("swaps", float64(len(s.swaps)), 1)
		d.note("builds", float64(len(s.builds)))
	})
}

func TestAThousandAtOnceTakeOneRecreation(t *testing.T) {
	overSome(t, 20, func(d *draw) {
		r := d.rules()
		r.Threshold = min(r.Threshold, mostAttempts) // above, those of one instant cannot trip it
		s := newSim(d, r)
		takes := oneOf(d, 0, ms, sec)
		s.factory = func(int) (time.Duration, string) { return takes, "" }
		s.deadFrom(sec, oneOf(d, fateRefused, fateReset, fate{dial: ms, refused: true, untyped: true}))
		lost := 0
		s.at(sec, func() {
			for range 1000 {
				s.visit(visit{host: "a", method: oneOf(d, "GET", "PUT", "POST"), left: 30 * sec, then: func(v *visit) {
					if v.method != "POST" && v.got != "answered" {
						lost++
					}
				}})
			}
		})
		s.run(time.Minute)
		d.atMost("repeatable ones lost", float64(lost), 0)
		d.atMost("builds", float64(len(s.builds)), 1)
		if len(s.swaps) != 1 {
			d.fail("%d swaps", len(s.swaps))
		}
	})
}

// As case B24, asked so seldom that each request meets a transport that takes most of its
// caller's time to fail, or to be found silent.
func TestWhereFailuresLeaveATrialLittleTimeTheDeadOneIsReplaced(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.rules())
				s.c.rules.Threshold = min(s.c.rules.Threshold, 3)
				left := d.between(4*sec, 10*sec)
				takes := d.between(0, left/3)
				s.factory = func(int) (time.Duration, string) { return takes, "" }
				fails := time.Duration((0.2 + 0.5*d.Float64()) * float64(left))
				s.deadFrom(sec, oneOf(d, fate{dial: fails, refused: true}, fate{dial: ms, answer: fails, broken: true}, fateDark, fateHangs))
				dead := s.world
				well := fate{dial: left / 10, answer: d.between(ms, left/4)}
				s.world = func(v *visit, on uint64) fate {
					if on == 1 {
						return dead(v, on)
					}
					return well
				}
				period := d.between(10*sec, time.Minute)
				lost := time.Duration(0)
				s.traffic(2*sec, period, 20*period, visit{host: "a", method: method, left: left, then: func(v *visit) {
					if v.got != "answered" {
						lost = s.since()
					}
				}})
				s.run(21 * period)
				if len(s.swaps) != 1 {
					d.fail("%d swaps", len(s.swaps))
				}
				d.atMost("requests until the last that was lost", lost.Seconds()/period.Seconds(), 9)
			})
		})
	}
}

// While a transport is being built for as long as callers wait, there is always one that is about
// to leave, and it is the first to ask when that is there.
func TestTheCandidateIsTriedByThoseWhoHaveTimeForItsAnswer(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overSome(t, 20, func(d *draw) {
				s := newSim(d, d.rules())
				takes, left := d.between(5*sec, 9*sec), d.between(3*sec, 5*sec)
				s.factory = func(int) (time.Duration, string) { return takes, "" }
				ill, period := oneOf(d, fateRefused, fateReset), d.between(50*ms, 100*ms)
				connects := d.between(0, 1500*ms)
				s.world = func(_ *visit, on uint64) fate {
					switch ready := s.builtAt(on).Add(takes + connects + time.Second); {
					case on == 1 && s.since() >= sec:
						return ill
					case on > 1 && s.now.Before(ready):
						return fate{dial: connects, answer: 2 * period}
					}
					return fate{answer: 2 * period}
				}
				first := s.firstAnswer("a", sec)
				s.traffic(sec, period, 40*sec, visit{host: "a", method: method, left: left})
				s.run(time.Minute)
				d.answeredWithin(first(), takes+5*sec)
				if len(s.swaps) != 1 {
					d.fail("%d swaps", len(s.swaps))
				}
			})
		})
	}
}
