package core

import (
	"testing"
	"time"
)

// These vary the cases for callers that have little time.

// Case B24, where a failure takes most of a deadline that is short.
func TestADeadTransportIsReplacedThoughItsFailuresTakeMostOfTheDeadline(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.rules())
				left := d.between(300*ms, 1400*ms)
				fails := min(950*ms, left*d.between(50, 92)/100)
				ill := oneOf(d, fate{dial: fails, refused: true}, fate{dial: ms, answer: fails, broken: true})
				well := fate{dial: ms, answer: left * d.between(10, 45) / 100}
				s.world = func(_ *visit, on uint64) fate {
					if on == 1 && s.since() > sec {
						return ill
					}
					return well
				}
				lost := 0
				s.traffic(0, oneOf(d, 100*ms, 300*ms, sec), 2*time.Minute, visit{host: "a", method: method, left: left, then: func(v *visit) {
					if v.got == "lost" && s.since() > 20*sec {
						lost++
					}
				}})
				s.run(2*time.Minute + 10*sec)
				d.atMost("swaps", float64(len(s.swaps)), 1)
				d.atMost("lost after 20 s", float64(lost), 0)
			})
		})
	}
}

// Every copy has half of its caller's time, which by itself says little of a candidate. But a
// candidate that leaves them all without an answer for as long as a trial takes is no better, and
// the next one is built. At first it may also be two that are dead.
func TestADeadCandidateIsRefusedThoughEachCopyHasLittleTime(t *testing.T) {
	overDraws(t, func(d *draw) {
		r := d.rules()
		s := newSim(d, r)
		ill := oneOf(d, fateDark, fateHangs, fate{dial: 3 * sec, refused: true})
		dead := uint64(2 + d.IntN(2))
		s.world = func(_ *visit, on uint64) fate {
			switch {
			case on == 1 && s.since() > sec:
				return fateDark
			case on > 1 && on <= dead:
				return ill
			}
			return fateWell
		}
		first := s.firstAnswer("a", 2*sec)
		s.traffic(0, oneOf(d, 200*ms, 250*ms, 350*ms, 500*ms, d.between(150*ms, 750*ms)), 4*time.Minute, visit{host: "a", method: "GET", left: d.between(500*ms, 1500*ms)})
		s.run(4*time.Minute + 10*sec)
		d.atMost("swaps missing", 1-float64(len(s.swaps)), 0)
		d.note("dead candidates", float64(dead-1))
		d.atMost("first answer", first().Seconds(), float64(dead-1)*60)
	})
}

// Case E3's kind: the factory takes longer than the callers wait, and meanwhile the transport
// in service is well again.
func TestWhoCannotOutwaitTheFactoryAsksTheTransportInService(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.rules())
				takes, left := d.between(2*sec, 8*sec), d.between(sec, 3*sec)
				s.factory = func(int) (time.Duration, string) { return takes, "" }
				s.world = func(v *visit, _ uint64) fate {
					if v.name == "slow" {
						return fateDark
					}
					return fate{answer: left / 10}
				}
				lost := 0
				period := d.between(50*ms, 300*ms)
				s.every(0, period, 5*time.Minute, func() {
					v := visit{host: "a", method: method, left: left}
					if at := s.since() % (30 * sec); at > 10*sec && at < 15*sec {
						v.name = "slow"
					}
					v.then = func(v *visit) {
						if v.got != "answered" && v.name != "slow" {
							lost++
						}
					}
					s.visit(v)
				})
				s.run(6 * time.Minute)
				s.noSwap()
				d.atMost("lost of those that are quick", float64(lost), 2)
			})
		})
	}
}

// Cases A18 and A19, with callers who have less than a second, or hardly more. No candidate
// answers, and what nobody can tell ahead is the only loss: when a caller will cancel, and
// whether what can be asked only once would be answered.
func TestAPlannedCandidateThatDoesNotAnswerIsNotPromotedByHurriedCallers(t *testing.T) {
	for _, method := range []string{"GET", "GET+Upgrade", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := planned(d)
				ill := oneOf(d, fateHangs, fateDark, fate{dial: 1100 * ms, refused: true}, fate{dial: ms, answer: 3 * sec, broken: true})
				s.world = func(_ *visit, on uint64) fate {
					if on > 1 {
						return ill
					}
					return fate{answer: 50 * ms}
				}
				v := visit{host: "a", method: method, left: d.between(250*ms, 1200*ms)}
				cancels := d.chance(0.3)
				if cancels {
					v.left, v.leaves = 0, v.left
				}
				s.traffic(0, d.between(100*ms, 2*sec), 5*time.Minute, v)
				s.run(5 * time.Minute)
				s.noSwap()
				switch {
				case method == "POST" && !cancels:
					s.lostAtMost("a", len(s.builds)) // each may have been processed there
				case !cancels:
					s.lostAtMost("a", 0)
				}
			})
		})
	}
}

// A planned candidate that connects more slowly than hurried callers can wait is tried by one
// after the other, and put in service once it has its connection.
func TestAPlannedCandidateThatConnectsSlowlyIsPromotedByHurriedCallers(t *testing.T) {
	for _, method := range []string{"GET+Upgrade", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := planned(d)
				connects := d.between(100*ms, 500*ms)
				asked := map[uint64]time.Time{}
				s.world = func(_ *visit, on uint64) fate {
					if asked[on].IsZero() {
						asked[on] = s.now
					}
					// It goes on connecting when its caller has left.
					left := max(0, asked[on].Add(connects).Sub(s.now))
					if on == 1 {
						left = 0
					}
					return fate{dial: left, answer: left + 20*ms}
				}
				s.traffic(0, d.between(100*ms, 300*ms), 90*sec, visit{host: "a", method: method, left: d.between(250*ms, 900*ms)})
				s.run(90 * sec)
				d.atMost("swaps missed", 1-float64(len(s.swaps)), 0)
				s.lostAtMost("a", 0)
			})
		})
	}
}

// Where requests are rarer than builds, each may be the one that starts a build in vain. It
// must not be lost to that for ever once the upstream is back.
func TestWhoStartsABuildInVainFindsOutThatTheTransportInServiceIsWell(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		overDraws(t, func(d *draw) {
			r := d.rules()
			r.Fallback = fallback
			s := newSim(d, r)
			takes := d.between(3*sec, 12*sec)
			s.factory = func(int) (time.Duration, string) { return takes, "factory_failed" }
			s.world = func(*visit, uint64) fate {
				if s.since() < 10*time.Minute {
					return fateDark
				}
				return fateWell
			}
			period, lost := d.between(50*sec, 2*time.Minute), 0
			s.traffic(0, period, 2*time.Hour, visit{host: "a", method: oneOf(d, "PUT", "POST"), left: d.between(300*ms, takes), then: func(v *visit) {
				if v.got != "answered" && v.start.Sub(simStart) > 15*time.Minute {
					lost++
				}
			}})
			s.run(2 * time.Hour)
			d.atMost("not answered, 5 min and more after the outage", float64(lost), 2)
		})
	}
}

// The upstream is down, or the transport has ended, and the factory takes longer than callers wait.
func TestAFallbackServesWhoCannotOutwaitTheFactory(t *testing.T) {
	overDraws(t, func(d *draw) {
		r := d.rules()
		r.Fallback = true
		s := newSim(d, r)
		takes := d.between(3*sec, 12*sec)
		s.factory = func(int) (time.Duration, string) { return takes, "factory_failed" }
		ends := d.chance(0.5)
		s.ended = func(on uint64) bool { return ends && on == 1 }
		s.world = func(*visit, uint64) fate { return fateRefused }
		lost := 0
		s.traffic(0, d.between(10*sec, 2*time.Minute), time.Hour, visit{host: "a", method: oneOf(d, "GET", "PUT", "POST"), left: d.between(sec, takes), then: func(v *visit) {
			if v.got == "lost" && s.since() > 10*time.Minute {
				lost++
			}
		}})
		s.run(time.Hour)
		d.atMost("lost", float64(lost), 0)
	})
}
