package core

import (
	"testing"
	"time"
)

// When the next candidate is built.

// Case B17.
func TestAnOldOutageDoesNotSlowDownTheNext(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * time.Hour
	for _, beside := range []bool{false, true} {
		name := "alone"
		if beside {
			name = "beside a dead host"
		}
		t.Run(name, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.rules())
				last := d.between(2*time.Minute, 10*time.Minute)
				s.world = func(v *visit, _ uint64) fate {
					if at := s.since(); v.host == "dead" || at < last || at > week && at < week+last {
						return fateRefused
					}
					return fateWell
				}
				method, period := oneOf(d, "GET", "PUT", "POST"), d.between(50*ms, 300*ms)
				v := visit{host: "a", method: method, left: oneOf(d, 0, 2*sec, 30*sec)}
				s.traffic(0, period, last+d.between(2*sec, time.Minute), v)
				s.traffic(week+sec, period, week+2*time.Minute, v)
				if beside {
					s.traffic(0, d.between(5*time.Minute, 20*time.Minute), week+2*time.Minute, visit{host: "dead", method: method})
				}
				s.run(week + time.Hour)
				var late []time.Duration
				for _, b := range s.builds {
					if at := b.at.Sub(simStart) - week - sec; at >= 0 && b.Need.Authority.Host == "a" {
						late = append(late, at)
					}
				}
				if len(late) < 2 {
					d.fail("%d builds", len(late))
					return
				}
				d.atMost("first build, s", late[0].Seconds(), (750*ms + time.Duration(s.c.rules.Threshold)*period).Seconds())
				d.atMost("second build, s later", (late[1] - late[0]).Seconds(), (750*ms + 3*period).Seconds())
				s.noSwap()
			})
		})
	}
}

// Case B18.
func TestAFallbackIsLeftSoonAfterABlip(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				r := d.touchy()
				r.Fallback = true
				s := newSim(d, r)
				s.factory = func(int) (time.Duration, string) { return d.between(0, 20*ms), "factory_failed" }
				ill, n := oneOf(d, fateRefused, fateReset), 0
				s.world = func(*visit, uint64) fate {
					if n++; n <= s.c.rules.Threshold {
						return ill
					}
					return fateWell
				}
				last := time.Duration(0)
				s.traffic(0, d.between(10*ms, 2*sec), 10*time.Minute, visit{host: "a", method: method, then: func(v *visit) {
					if v.got == "diverted" {
						last = s.since()
					}
				}})
				s.run(11 * time.Minute)
				most := 10 * sec
				if method == "POST" && ill == fateReset {
					most = 30 * sec // every fourth interval
				}
				d.atMost("left after, s", last.Seconds(), most.Seconds())
				s.noSwap()
			})
		})
	}
}

// Case B19. The bound is that of three intervals, each 50 % longer than its mean.
func TestAFactoryThatFailsThreeTimesCostsThreeIntervals(t *testing.T) {
	for _, waits := range []bool{false, true} {
		name := "traffic"
		if waits {
			name = "one that waits for ready"
		}
		t.Run(name, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				r := d.rules()
				r.Threshold = min(r.Threshold, mostAttempts) // above, one alone cannot trip it
				s := newSim(d, r)
				s.factory = func(n int) (time.Duration, string) {
					if n <= 3 {
						return d.between(0, 10*ms), "factory_failed"
					}
					return ms, ""
				}
				s.deadFrom(0, oneOf(d, fateRefused, fate{dial: ms, refused: true, untyped: true}))
				first := s.firstAnswer("a", 0)
				v := visit{host: "a", method: oneOf(d, "GET", "PUT", "POST")}
				if waits {
					v.ready = 20 * sec
					s.at(0, func() {
						for range s.c.rules.Threshold {
							s.visit(v)
						}
					})
					s.run(time.Minute)
					s.lostAtMost("a", 0)
					d.answeredWithin(first(), 3750*ms+4*roundRest)
					return
				}
				s.traffic(0, d.between(10*ms, 50*ms), time.Minute, v)
				s.run(time.Minute)
				d.answeredWithin(first(), 3750*ms+300*ms)
			})
		})
	}
}

// Case B20, what concerns the core: nothing makes a factory spin.
func TestAFactoryThatFailsAtOnceIsAskedSeldom(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		kind := oneOf(d, "factory_failed", ClosedMeanwhile, GivenUp, TransportEnded)
		s.factory = func(int) (time.Duration, string) { return 0, kind }
		ends := d.chance(0.5)
		s.ended = func(on uint64) bool { return ends && on == 1 && s.since() > sec }
		s.deadFrom(sec, oneOf(d, fateRefused, fateReset, fateDark))
		s.traffic(0, 500*ms, 10*time.Minute, visit{host: "a", method: oneOf(d, "GET", "PUT", "POST"), left: 20 * sec, ready: oneOf(d, 0, 10*sec)})
		s.run(10 * time.Minute)
		s.noSwap()
		s.calmBuilds(10 * time.Minute)
	})
}

// Case E12.
func TestOneFailureIsForgottenWithinMinutes(t *testing.T) {
	overDraws(t, func(d *draw) {
		r := d.rules()
		r.Threshold += 1
		s := newSim(d, r)
		failed := false
		s.world = func(v *visit, _ uint64) fate {
			if v.host == "a" && !failed {
				failed = true
				return oneOf(d, fateRefused, fateReset, fate{dial: ms, answer: ms, broken: true, untyped: true})
			}
			return fateWell
		}
		s.at(sec, func() { s.visit(visit{host: "a", method: oneOf(d, "POST", "POST", "GET"), sealed: true}) })
		calm := time.Duration(0)
		s.traffic(0, 500*ms, 15*time.Minute, visit{host: "b", method: "GET", then: func(*visit) {
			if failed && s.calm() && calm == 0 {
				calm = s.since()
			}
		}})
		s.run(15 * time.Minute)
		if calm == 0 {
			d.fail("never calm again")
		}
		d.atMost("calm after, min", calm.Minutes(), 6)
	})
}

// Case E3: nothing is told by comparing times.
func TestAClockThatStandsStillChangesNoOrder(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.rules())
		ill := oneOf(d, fate{refused: true}, fate{broken: true})
		s.world = func(_ *visit, on uint64) fate { return ill }
		n := s.c.rules.Threshold + 3
		like := visit{host: "a", method: oneOf(d, "GET", "PUT", "POST")}
		like.then = func(*visit) {
			if n--; n > 0 {
				s.after(0, func() { s.visit(like) })
			}
		}
		s.at(sec, func() { s.visit(like) })
		s.run(sec)
		p := s.c.suspect(simAuthority("a"))
		if p == nil || p.state != Tripped {
			d.fail("the authority is well after failures alone")
			return
		}
		if len(s.builds) != 1 || p.refused == 0 {
			d.fail("%d builds, refused at %d", len(s.builds), p.refused)
		}
		before := p.evidence > p.refused
		s.at(sec, func() { s.visit(visit{host: "a", method: "POST"}) })
		s.run(sec)
		if p.evidence <= p.refused || before && s.c.now == p.refused {
			d.fail("a failure at the instant of the refusal is not newer")
		}
	})
}
