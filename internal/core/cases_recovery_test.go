package core

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// The transport in service is dead in all of these. It is replaced.

// deadFrom makes the first transport dead from then on.
func (s *sim) deadFrom(from time.Duration, ill fate) {
	s.world = func(_ *visit, on uint64) fate {
		if on == 1 && s.since()+fateWell.answer >= from {
			return ill
		}
		return fateWell
	}
}

// Cases B1 to B3, and the table of what silence may cost.
func TestABlackHoleIsReplacedBeforeDeadlinesPass(t *testing.T) {
	for _, row := range []struct {
		method string
		period time.Duration
	}{{"GET", 97 * ms}, {"GET", 1030 * ms}, {"GET", 61 * sec}, {"POST", 97 * ms}, {"POST", 1030 * ms}} {
		for _, left := range []time.Duration{sec, 5 * sec, 10 * sec, 30 * sec, 10 * time.Minute, 0} {
			t.Run(fmt.Sprint(row.method, " every ", row.period, ", deadline ", left), func(t *testing.T) {
				t.Parallel()
				overSome(t, 9, func(d *draw) {
					r := d.rules()
					r.Patience = time.Duration(4+d.seed%3) * sec
					s := newSim(d, r)
					s.deadFrom(0, fateDark)
					long := max(4*time.Minute, 8*row.period)
					first := s.firstAnswer("a", 0)
					s.traffic(d.between(0, min(row.period, 2*sec)), row.period, long, visit{host: "a", method: row.method, left: left})
					s.run(long + time.Minute)
					period, deadline := row.period.Seconds(), left.Seconds()
					within := r.Patience + sec + max(sec, 2*row.period)
					switch {
					case row.period > time.Minute && left > 0 && left < 30*sec:
						s.lostAtMost("a", 3)
					case row.period > time.Minute:
						s.lostAtMost("a", 0)
						d.answeredWithin(first(), 3*r.Patience+sec+2*sec)
					case left > 0 && left < 10*sec:
						s.lostAtMost("a", int((deadline+1.5)/period)+2)
					case row.method == "POST":
						s.lostAtMost("a", int(within.Seconds()/period)+2)
						d.answeredWithin(first(), within+row.period)
					default:
						s.lostAtMost("a", 0)
						d.answeredWithin(first(), within)
					}
				})
			})
		}
	}
}

// Case B5.
func TestLateAnswersOfALiveConnectionDoNotHideADarkOne(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.rules())
				dies, apart := d.between(200*ms, 20*sec), d.between(500*ms, 2*sec) // the latter: of the slow answers
				if d.chance(0.5) {
					dies = 200 * ms // nothing is known of their slowness yet
				}
				s.world = func(v *visit, on uint64) fate {
					if v.name == "slow" {
						return fate{answer: time.Duration(1+s.since()/ms) * apart}
					}
					if on == 1 && s.since() >= dies {
						return fateDark
					}
					return fateWell
				}
				s.every(0, ms, 90*ms, func() { s.visit(visit{host: "a", method: "GET", name: "slow"}) })
				left, period := oneOf(d, sec, 3*sec, 30*sec, 10*time.Minute), d.between(300*ms, 400*ms)
				lost := 0
				s.traffic(300*ms, period, dies+4*time.Minute, visit{host: "a", method: method, left: left, then: func(v *visit) {
					if v.got != "answered" {
						lost++
					}
				}})
				s.run(20 * time.Minute)
				known := max(s.c.rules.Patience, 2*(dies+time.Duration(s.c.rules.Stalls)*period)) // when the third began
				most := (min(left, known*5/4) + 1500*ms) / period
				if method == "GET" && left > known*5/4+3*sec && left >= s.c.rules.Patience*3/2 {
					most = -4
				}
				d.atMost(fmt.Sprint("lost at ", left), float64(lost), float64(most+4))
				if len(s.swaps) == 0 {
					d.fail("never replaced")
				}
			})
		})
	}
}

// Case B6.
func TestAnUpstreamOfOneMinuteIsToldFromADeadTransport(t *testing.T) {
	t.Parallel()
	for _, dead := range []bool{true, false} {
		t.Run(fmt.Sprint("dead: ", dead), func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.rules())
				dies := d.between(10*time.Minute, 20*time.Minute)
				s.world = func(v *visit, on uint64) fate {
					switch {
					case v.host == "down":
						return fateRefused
					case dead && on == 1 && s.since() > dies:
						return fateDark
					}
					return fate{answer: d.between(61*sec, 90*sec)}
				}
				from := oneOf(d, 0, dies+sec)
				if d.chance(0.5) {
					s.traffic(0, d.between(200*ms, 2*sec), time.Hour, visit{host: "down", method: "GET", left: 5 * time.Minute})
				}
				s.traffic(from, d.between(5*sec, 20*sec), time.Hour, visit{host: "a", method: "GET", left: 5 * time.Minute})
				s.run(70 * time.Minute)
				if !dead {
					s.noSwap()
					s.lostAtMost("a", 0)
					return
				}
				if len(s.swaps) == 0 {
					d.fail("never replaced")
					return
				}
				d.note("lost", float64(s.count("a", "lost")))
				d.atMost("replaced after, min", (s.swaps[0].at.Sub(simStart) - dies).Minutes(), 20)
			})
		})
	}
}

// Case B13. Where there are more dead hosts than are remembered, fewer draws do: each takes long.
func TestHostsKnownToBeDeadDoNotHoldBackTheFirstOutageOfOthers(t *testing.T) {
	for _, n := range []int{0, 20, 60, 240, 600} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			draws := 50
			if n > maxSuspects {
				draws = 3
			}
			overSome(t, draws, func(d *draw) { firstOutageBesideDeadHosts(d, n) })
		})
	}
}

// firstOutageBesideDeadHosts lets the transport under all good hosts die beside that many hosts that
// have been dead for one to three minutes. These are asked seldom at first, which takes the pace to its
// end all the same, and 2 to 5 times a second when it counts.
func firstOutageBesideDeadHosts(d *draw, n int) {
	s := newSim(d, d.rules())
	dies := d.between(time.Minute, 3*time.Minute)
	again := d.chance(0.5) // a candidate of before then is dead, too
	ills := map[string]fate{"refused": fateRefused, "reset": fateReset, "silent": fateDark, "hangs": fateHangs}
	names := []string{"refused", "reset", "silent", "hangs"}[:1+d.IntN(4)]
	s.world = func(v *visit, on uint64) fate {
		switch {
		case v.host != "good":
			return ills[v.name]
		case s.since() >= dies && (on == 1 || again && s.builtAt(on).Before(simStart.Add(dies))):
			return fateRefused
		}
		return fateWell
	}
	end, often := dies+2*sec, dies-d.between(sec, 4*sec)
	left := func() time.Duration { return oneOf(d, 0, 2*sec, 30*sec) }
	for i := range n {
		v := visit{host: fmt.Sprint("dead", i), name: oneOf(d, names...), method: oneOf(d, "GET", "PUT", "POST"), left: left()}
		if v.name == "silent" || v.name == "hangs" {
			v.left = d.between(sec, 3*sec)
		}
		s.traffic(d.between(0, 10*sec), d.between(5*sec, 20*sec), often, v)
		s.traffic(often+d.between(0, 500*ms), d.between(200*ms, 500*ms), end, v)
	}
	first := s.firstAnswer("good", dies)
	period := d.between(10*ms, 100*ms)
	s.traffic(0, period, end, visit{host: "good", method: oneOf(d, "GET", "PUT", "POST"), left: left()})
	s.run(end)
	d.answeredWithin(first(), 750*ms+4*period)
}

// Case B14.
func TestAStallTrialOfAnotherHostDoesNotHoldBackAnOutage(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.rules())
		dies := d.between(3*time.Minute, 6*time.Minute)
		again := d.chance(0.5)
		s.world = func(v *visit, on uint64) fate {
			switch {
			case v.host == "stall":
				return fateDark
			case s.since() >= dies && (on == 1 || again && s.builtAt(on).Before(simStart.Add(dies))):
				return fateRefused
			}
			return fateWell
		}
		s.traffic(0, d.between(2*sec, 15*sec), 7*time.Minute, visit{host: "stall", method: oneOf(d, "GET", "PUT", "POST"), left: oneOf(d, 0, 60*sec)})
		first := s.firstAnswer("good", dies)
		period := d.between(50*ms, 200*ms)
		s.traffic(0, period, 7*time.Minute, visit{host: "good", method: oneOf(d, "GET", "POST")})
		s.run(7 * time.Minute)
		d.answeredWithin(first(), 750*ms+4*period)
	})
}

// Case B4, after an outage of the upstream: the patience with it says nothing of the time after.
func TestASilentOutageOfTheUpstreamHidesNoDeadTransportAfterIt(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := newSim(d, d.rules())
				down, back := d.between(time.Minute, 2*time.Minute), d.between(3*time.Minute, 20*time.Minute)
				dies := back + d.between(2*time.Minute, 5*time.Minute)
				s.world = func(_ *visit, on uint64) fate {
					switch at := s.since(); {
					case at >= down && at < back, at >= dies && s.builtAt(on).Sub(simStart) < dies:
						return fateDark
					}
					return fateWell
				}
				leaves, period := oneOf(d, 3*sec, 10*sec, 30*sec), d.between(200*ms, sec)
				first := s.firstAnswer("a", dies)
				s.traffic(0, period, dies+10*time.Minute, visit{host: "a", method: method, leaves: leaves})
				s.run(dies + 10*time.Minute)
				d.answeredWithin(first(), leaves+6*sec+4*period)
			})
		})
	}
}

// After a swap that did not help a proof takes more answers: a transport that
// really dies again gives them.
func TestATransportThatDiesTwiceWithinAMinuteIsReplacedTwice(t *testing.T) {
	for _, ill := range []struct {
		name string
		fate
		within time.Duration
	}{{"refused", fateRefused, 3 * sec}, {"reset", fateReset, 5 * sec}, {"silent", fateDark, 25 * sec}} {
		for _, method := range []string{"GET", "PUT", "POST"} {
			t.Run(fmt.Sprint(ill.name, " ", method), func(t *testing.T) {
				overDraws(t, func(d *draw) {
					s := newSim(d, d.rules())
					dies, again := d.between(10*sec, 20*sec), d.between(30*sec, 50*sec)
					s.world = func(_ *visit, on uint64) fate {
						if on == 1 && s.since() >= dies || s.since() >= again && s.builtAt(on).Before(simStart.Add(again)) {
							return ill.fate
						}
						return fateWell
					}
					first, second := s.firstAnswer("a", dies), s.firstAnswer("a", again)
					s.traffic(0, d.between(50*ms, sec), 3*time.Minute, visit{host: "a", method: method, left: oneOf(d, 0, 30*sec)})
					s.run(5 * time.Minute)
					d.note("first answer of the first, s", first().Seconds())
					d.answeredWithin(second(), ill.within)
					d.note("lost", float64(s.count("a", "lost")))
					if n := len(s.swaps); n != 2 {
						d.fail("%d swaps", n)
					}
				})
			})
		}
	}
}

// Half of a transport's connections are dark, and it happens again a few minutes after it was replaced. That the
// others answer hides it for no longer than the controls take to meet a dark one.
func TestATransportHalfOfWhichIsDarkIsReplacedSoon(t *testing.T) {
	overSome(t, 20, func(d *draw) {
		s := newSim(d, d.rules())
		deaths := []time.Duration{time.Minute, time.Minute + d.between(2*time.Minute, 9*time.Minute)}
		dead := func(on uint64, at time.Duration) bool {
			return slices.ContainsFunc(deaths, func(death time.Duration) bool {
				return at >= death && s.builtAt(on).Before(simStart.Add(death))
			})
		}
		s.world = func(_ *visit, on uint64) fate {
			if dead(on, s.since()) && d.chance(0.5) {
				return fateDark
			}
			return fateWell
		}
		s.traffic(0, 300*ms, 15*time.Minute, visit{host: "a", method: "GET", left: oneOf(d, 0, 30*sec)})
		for _, death := range deaths {
			s.at(death+100*sec, func() {
				if dead(s.c.Current(), death) {
					d.fail("what died at %v is still in service", death)
				}
			})
		}
		s.run(15 * time.Minute)
	})
}
