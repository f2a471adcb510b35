package core

import (
	"fmt"
	"testing"
	"time"
)

// The transport in service is well in all of these. It is not replaced.

// Case A1.
func TestSlowAnswersDoNotReplaceWhatAnswersQuickly(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		s.world = func(v *visit, _ uint64) fate {
			if v.name == "slow" {
				return fate{answer: 30 * sec}
			}
			return fateWell
		}
		gap := d.between(0, 2*sec)
		n := max(3, s.c.rules.Stalls)
		for i := range n {
			s.at(time.Duration(i)*gap, func() { s.visit(visit{host: "a", method: "GET", name: "slow", left: sec}) })
		}
		s.at(time.Duration(n)*gap+d.between(sec, 5*sec), func() { s.visit(visit{host: "a", method: "GET"}) })
		s.run(time.Minute)
		s.noSwap()
		s.calmBuilds(0)
		if s.count("a", "answered") != 1 {
			d.fail("the quick one was lost")
		}
	})
}

// Case A2.
func TestSlowCallsBesideQuickOnesOfOneHostReplaceNothing(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		left := d.between(5*sec, 30*sec)
		s.world = func(v *visit, _ uint64) fate {
			if v.name == "chat" {
				return fate{answer: left + d.between(sec, 2*left)}
			}
			return fateWell
		}
		chat, models := oneOf(d, "GET", "POST", "POST"), oneOf(d, "GET", "GET", "POST")
		s.traffic(d.between(0, sec), 20*sec, time.Hour, visit{host: "a", method: chat, name: "chat", left: left})
		s.traffic(d.between(0, sec), d.between(sec, 90*sec), time.Hour, visit{host: "a", method: models, left: 30 * sec})
		s.traffic(d.between(0, sec), 10*sec, time.Hour, visit{host: "b", method: "GET"})
		s.run(time.Hour)
		if chat == "POST" && models == "POST" {
			s.swapsAtMost(2) // a control that is another request can be the slow one
		} else {
			s.noSwap()
		}
		s.calmBuilds(time.Hour)
		if s.count("b", "lost") != 0 {
			d.fail("the second host lost %d", s.count("b", "lost"))
		}
	})
}

// Case A3.
func TestAHostThatWasDownAndIsAskedOnceAMinuteReplacesNothing(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		ill := oneOf(d, fateRefused, fateReset, fateDark)
		back := d.between(2*time.Minute, 6*time.Minute)
		s.world = func(*visit, uint64) fate {
			if s.since() < back {
				return ill
			}
			return fateWell
		}
		s.traffic(d.between(0, time.Minute), time.Minute, 20*time.Minute, visit{host: "a", method: "POST", left: d.between(5*sec, 50*sec)})
		s.run(20 * time.Minute)
		s.noSwap()
		s.calmBuilds(back)
		lost := s.count("a", "lost")
		s.d.atMost("lost", float64(lost), float64(back/time.Minute)+2)
	})
}

// Case A4.
func TestTwentyOutagesOfOneUpstreamReplaceNothing(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		takes := oneOf(d, 0, 100*ms, 2*sec)
		s.factory = func(int) (time.Duration, string) { return takes, "" }
		ill := oneOf(d, fateRefused, fateReset, fateDark, fate{dial: d.between(sec, 15*sec), refused: true}, fate{answer: d.between(sec, 15*sec), broken: true})
		method := oneOf(d, "GET", "POST", "PUT")
		var lasts []time.Duration
		for range 20 {
			lasts = append(lasts, d.between(2*time.Minute, 8*time.Minute))
		}
		var answers time.Duration // of the upstream, when it is well
		s.world = func(*visit, uint64) fate {
			if s.since()%time.Hour < lasts[s.since()/time.Hour] {
				return ill
			}
			return fate{answer: d.between(answers*9/10, answers*11/10)}
		}
		period, left := oneOf(d, 30*sec, 60*sec), d.between(5*sec, 29*sec)
		answers = min(oneOf(d, 10*ms, sec, 3*sec, 6*sec), left/3)
		s.traffic(d.between(0, period), period, 20*time.Hour-sec, visit{host: "a", method: method, left: left})
		s.run(20*time.Hour - sec)
		d.note(fmt.Sprint("swaps of ", method, ", silent: ", ill == fateDark), float64(len(s.swaps)))
		s.noSwap()
		s.calmBuilds(20 * 8 * time.Minute)
		n := s.count("a", "diverted") + s.count("a", "lost")
		s.d.atMost("minutes not answered per outage", float64(n)*period.Minutes()/20, 5+5)
	})
}

// As case A4: an upstream that is back after a silent outage, and takes seconds for each answer, but
// not the same each time, has as long for the control as it needs.
func TestAnUpstreamThatIsBackAndSlowIsNotReplaced(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		ill := oneOf(d, fateDark, fate{dial: d.between(sec, 15*sec), refused: true}, fate{answer: d.between(sec, 15*sec), broken: true})
		last, answers := d.between(2*time.Minute, 8*time.Minute), d.between(sec, 6*sec)
		s.world = func(*visit, uint64) fate {
			if s.since()%(20*time.Minute) < last {
				return ill
			}
			return fate{answer: d.between(answers*3/4, answers*5/4)}
		}
		s.traffic(d.between(0, 30*sec), 30*sec, 20*time.Hour-sec, visit{host: "a", method: "GET", left: d.between(18*sec, 29*sec)})
		s.run(20*time.Hour - sec)
		s.noSwap()
	})
}

// As case A4, with outages that last seconds, and that few requests meet. Only one that ends when a
// request has waited for less than two seconds is not told from a dead transport.
func TestShortSilentOutagesThatFewRequestsMeetReplaceNothing(t *testing.T) {
	for period, most := range map[time.Duration]int{sec: 9, 10 * sec: 3, 30 * sec: 3} {
		t.Run(fmt.Sprint("every ", period), func(t *testing.T) {
			swaps, draws := 0, 0
			overSome(t, 20, func(d *draw) {
				s := newSim(d, d.rules())
				dark := d.between(5*sec, 60*sec)
				turn := 10*time.Minute + d.between(0, period) // so that each meets the traffic at another time
				s.world = func(*visit, uint64) fate {
					if x := s.since() % turn; x > time.Minute && x < time.Minute+dark {
						return fateDark
					}
					return fateWell
				}
				s.traffic(d.between(0, period), period, 200*time.Minute-sec, visit{host: "a", method: "GET", left: d.between(15*sec, 29*sec)})
				s.run(200 * time.Minute)
				s.swapsAtMost(most)
				swaps, draws = swaps+len(s.swaps), draws+1
			})
			if swaps > draws+2 { // about one in 20 outages, where a draw has 20
				t.Errorf("%d swaps in %d draws", swaps, draws)
			}
		})
	}
}

// As case A4, with outages that last a few minutes only, and that many requests meet, each of
// which can be asked only once.
func TestSilentOutagesThatManyBodiesMeetReplaceNothing(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"PUT", "POST"} {
		for _, period := range []time.Duration{100 * ms, sec, 5 * sec} {
			t.Run(fmt.Sprint(method, " every ", period), func(t *testing.T) {
				overSome(t, 3, func(d *draw) {
					r := d.rules()
					r.Threshold = 3
					s := newSim(d, r)
					last := d.between(2*time.Minute, 4*time.Minute)
					s.world = func(*visit, uint64) fate {
						if s.since()%(10*time.Minute) < last {
							return fateDark
						}
						return fateWell
					}
					s.traffic(d.between(0, period), period, 100*time.Minute-sec, visit{host: "a", method: method, left: oneOf(d, 0, 10*sec)})
					s.run(100*time.Minute - sec)
					s.swapsAtMost(1) // of ten: the next outage may begin between a trial and its control
				})
			})
		}
	}
}

// Case A5, by time.
func TestADisruptionThatComesAndGoesReplacesNothing(t *testing.T) {
	few := fewSwaps{most: 3}
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		bad, good := d.between(sec, 5*sec), d.between(500*ms, 3*sec)
		ill := oneOf(d, fateRefused, fateReset)
		s.world = func(*visit, uint64) fate {
			if s.since()%(bad+good) < bad {
				return ill
			}
			return fateWell
		}
		s.traffic(0, d.between(50*ms, 900*ms), 10*time.Minute, visit{host: "a", method: oneOf(d, "GET", "PUT", "POST"), left: 20 * sec})
		s.run(10 * time.Minute)
		few.add(s)
		s.calmBuilds(10 * time.Minute)
	})
	few.check(t)
}

// Case A5, by count: a load balancer of which some backends are dead.
func TestEveryFewRequestsAreRefusedInTurn(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.touchy())
				n, dead := 0, 1+d.IntN(4)
				ill := oneOf(d, fateRefused, fateReset)
				s.world = func(*visit, uint64) fate {
					if n++; n%(dead+1) == 0 {
						return fateWell
					}
					return ill
				}
				s.traffic(0, d.between(50*ms, 900*ms), 10*time.Minute, visit{host: "a", method: method, left: 20 * sec})
				s.run(10 * time.Minute)
				d.note(fmt.Sprintf("swaps with %d dead, threshold %d", dead, s.c.rules.Threshold), float64(len(s.swaps)))
				s.swapsAtMost(1)
				s.calmBuilds(10 * time.Minute)
			})
		})
	}
}

// Case A6. With a threshold of 1 or 2 the odds are that of 300 a second some fail
// twice in a row, and are answered by the candidate.
func TestOneFailureInAHundredReplacesNothing(t *testing.T) {
	t.Parallel()
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		s.mute = d.chance(.5)
		share, dial, answer := oneOf(d, 0.013, 0.05), oneOf(d, 0, 5*ms, 200*ms), oneOf(d, 20*ms, 500*ms)
		s.world = func(*visit, uint64) fate {
			if d.chance(share) {
				return fateRefused
			}
			return fate{dial: dial, answer: answer}
		}
		s.traffic(0, 3333*time.Microsecond, time.Minute, visit{host: "a", method: oneOf(d, "GET", "POST"), left: oneOf(d, 0, 20*sec)})
		s.run(2 * time.Minute)
		d.note(fmt.Sprintf("swaps at %v, threshold %d", share, s.c.rules.Threshold), float64(len(s.swaps)))
		if s.c.rules.Threshold >= 3 {
			s.noSwap()
		} else {
			s.swapsAtMost(2)
		}
		s.calmBuilds(time.Minute)
	})
}

// Case A7.
func TestWhatIsAcceptedAndResetProvesNothing(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		n, accepts := 0, 2+d.IntN(4)
		s.world = func(*visit, uint64) fate {
			if n++; n%accepts == 0 {
				return fateReset
			}
			return fateRefused
		}
		s.traffic(0, d.between(50*ms, sec), 10*time.Minute, visit{host: "a", method: oneOf(d, "GET", "PUT", "POST"), left: 20 * sec})
		s.run(10 * time.Minute)
		s.noSwap()
		s.calmBuilds(10 * time.Minute)
	})
}

// Case A9.
func TestANameServerThatFailsEveryOtherTenSecondsReplacesNothing(t *testing.T) {
	few := fewSwaps{most: 1}
	overDraws(t, func(d *draw) {
		s := newSim(d, d.touchy())
		takes := oneOf(d, 0, 50*ms, 2*sec)
		s.factory = func(int) (time.Duration, string) { return takes, "" }
		half, fails := d.between(8*sec, 12*sec), oneOf(d, 5*ms, d.between(5*ms, sec), d.between(sec, 3*sec))
		s.world = func(*visit, uint64) fate {
			if s.since()%(2*half) < half {
				return fate{dial: fails, refused: true}
			}
			return fateWell
		}
		s.traffic(0, d.between(50*ms, sec), 10*time.Minute, visit{host: "a", method: oneOf(d, "GET", "POST"), left: 20 * sec})
		s.run(10 * time.Minute)
		few.add(s)
		s.calmBuilds(10 * time.Minute)
	})
	few.check(t)
}

// fewSwaps counts the swaps of an upstream that is ill and well in turn. If its turn comes within
// a millisecond of a control that failed, nobody can tell: that is so in few of the draws, and in most
// of them never.
type fewSwaps struct {
	most         int // in one draw
	swaps, draws int
}

func (f *fewSwaps) add(s *sim) {
	s.swapsAtMost(f.most)
	f.swaps, f.draws = f.swaps+len(s.swaps), f.draws+1
}

func (f *fewSwaps) check(t *testing.T) {
	if f.swaps > f.most+f.draws/16 {
		t.Errorf("%d swaps in %d draws", f.swaps, f.draws)
	}
}
