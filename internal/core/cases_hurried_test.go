package core

import (
	"fmt"
	"testing"
	"time"
)

// These hold what mends for callers who have little time must not cost others.

// A planned candidate that is well is put in service, though only requests come that cannot be
// copied, and their answers take longer than a try may.
func TestAPlannedCandidateIsPromotedThoughAnswersAreSlow(t *testing.T) {
	for _, c := range []struct{ answer, left, period time.Duration }{
		{2 * sec, 0, sec}, {1500 * ms, 10 * sec, 500 * ms}, {150 * ms, 400 * ms, 200 * ms}, {300 * ms, sec, 3 * sec},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			overDraws(t, func(d *draw) {
				s := planned(d)
				s.world = func(*visit, uint64) fate { return fate{dial: ms, answer: c.answer} }
				s.traffic(0, c.period, 10*time.Minute, visit{host: "a", method: oneOf(d, "PUT", "GET+Upgrade"), left: c.left})
				s.run(10*time.Minute + 10*sec)
				d.atMost("swaps missing", 8-float64(len(s.swaps)), 0)
				s.lostAtMost("a", 0)
			})
		})
	}
}

// Requests without a deadline wait on the dead connections of a pool, while others are answered.
func TestAPoolOfWhichAPartIsDeadIsReplaced(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.rules())
		p := 30 + 30*d.IntN(2)
		s.world = func(_ *visit, on uint64) fate {
			if on == 1 && s.since() > 30*sec && d.IntN(100) < p {
				return fateDark
			}
			return fateWell
		}
		s.traffic(0, d.between(100*ms, sec), 10*time.Minute, visit{host: "a", method: "GET"})
		s.run(15 * time.Minute)
		d.atMost("swaps missing", 1-float64(len(s.swaps)), 0)
		d.atMost("waiting 5 min after the last", float64(s.inFlight), 0)
	})
}

// A candidate that never answers holds back nobody for long once the upstream is well again.
func TestABlipBesideACandidateThatIsABlackHoleEnds(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.rules())
		left := d.between(105*ms, 195*ms)
		ill := fate{dial: left * d.between(26, 60) / 100, refused: true}
		s.world = func(_ *visit, on uint64) fate {
			switch {
			case on > 1:
				return fateHangs
			case s.since() > 10*sec && s.since() < 12*sec:
				return ill
			}
			return fate{answer: left / 10}
		}
		lost := 0
		s.traffic(0, 100*ms, time.Minute, visit{host: "a", method: oneOf(d, "PUT", "POST"), left: left, then: func(v *visit) {
			if v.got != "answered" && v.start.Sub(simStart) > 12*sec {
				lost++
			}
		}})
		s.run(2 * time.Minute)
		d.atMost("lost once it is well", float64(lost), 3)
	})
}

// While a factory takes its time, what is asked of a dead transport in service is little.
func TestProbesOfABuildAreFew(t *testing.T) {
	overDraws(t, func(d *draw) {
		s := newSim(d, d.rules())
		s.factory = func(int) (time.Duration, string) { return 4 * sec, "" }
		s.deadFrom(10*sec, fateReset)
		s.traffic(0, 100*ms, time.Minute, visit{host: "a", method: "POST", left: 6 * sec})
		s.run(90 * sec)
		s.lostAtMost("a", 8)
	})
}

// A fallback serves hurried callers while the factory takes its time.
func TestAFallbackServesHurriedCallersDuringABuild(t *testing.T) {
	overDraws(t, func(d *draw) {
		r := d.rules()
		r.Fallback = true
		s := newSim(d, r)
		s.factory = func(int) (time.Duration, string) { return 3 * sec, "" }
		left := d.between(50*ms, 400*ms)
		ill := fate{dial: left * d.between(30, 60) / 100, refused: true}
		s.world = func(*visit, uint64) fate {
			if s.since() > 5*sec {
				return ill
			}
			return fate{answer: left / 10}
		}
		s.traffic(0, 100*ms, 2*time.Minute, visit{host: "a", method: oneOf(d, "PUT", "POST"), left: left})
		s.run(2*time.Minute + sec)
		s.lostAtMost("a", 130)
	})
}

// A PUT without a deadline that an outage has left on a dead connection is rescued.
func TestPutsThatAnOutageHasLeftWaitingAreRescued(t *testing.T) {
	overSome(t, 8, func(d *draw) {
		s := newSim(d, d.rules())
		lasts := d.between(2*time.Minute, 8*time.Minute)
		s.world = func(*visit, uint64) fate {
			if s.since() < lasts {
				return fateDark
			}
			return fateWell
		}
		period := d.between(sec, 7*sec)
		for _, m := range []string{"GET", "PUT"} {
			s.traffic(d.between(0, period), period, 20*time.Minute, visit{host: "a", method: m})
		}
		s.run(time.Hour)
		d.atMost("waiting after an hour", float64(s.inFlight), 0)
	})
}
