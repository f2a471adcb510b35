package core

import (
	"testing"
	"time"
)

// Where an answer may be due to an upstream that came back, the next control decides. These hold
// what that costs where the transport in service is dead.

// The next request may come when the candidate is gone that has answered.
func TestADeadTransportIsReplacedThoughRequestsAreMinutesApart(t *testing.T) {
	for name, dark := range map[string]bool{"silent": true, "slow to fail": false} {
		t.Run(name, func(t *testing.T) {
			overSome(t, 25, func(d *draw) {
				r := d.rules()
				r.Threshold = min(r.Threshold, 3)
				s := newSim(d, r)
				ill := fate{dial: d.between(2*sec, 6*sec), refused: true}
				if dark {
					ill = fateDark
				}
				s.deadFrom(0, ill)
				period := oneOf(d, d.between(90*sec, readyFor), d.between(readyFor, outageFor-sec))
				s.traffic(0, period, 30*period, visit{host: "a", method: oneOf(d, "PUT", "POST"), left: oneOf(d, 15*sec, 30*sec)})
				s.run(30 * period)
				d.atMost("swaps missing", 1-float64(len(s.swaps)), 0)
				d.atMost("builds", float64(len(s.builds)), 4)
				d.atMost("lost", float64(s.count("a", "lost")), 11)
			})
		})
	}
}

// deadAfterAnOutage: the upstream was down for 30 s, and the transport dies up to 50 s after that.
func (s *sim) deadAfterAnOutage(ill fate) (dies time.Duration) {
	back := 90 * sec
	dies = back + s.d.between(5*sec, 50*sec)
	s.world = func(_ *visit, on uint64) fate {
		switch {
		case s.since() >= 60*sec && s.since() < back:
			return fateRefused
		case s.since() >= dies && s.builtAt(on).Before(simStart.Add(dies)):
			return ill
		}
		return fateWell
	}
	return dies
}

// At high rates there is a control that began after the answer as soon as it has had its head start.
func TestADarkTransportIsReplacedSoonAfterAnOutageOfItsUpstream(t *testing.T) {
	overSome(t, 12, func(d *draw) {
		s := newSim(d, d.rules())
		dies := s.deadAfterAnOutage(fateDark)
		s.traffic(55*sec, 20*ms, dies+20*sec, visit{host: "a", method: "GET", left: oneOf(d, 0, 30*sec)})
		s.run(dies + time.Minute)
		if len(s.swaps) == 0 {
			d.fail("never replaced")
			return
		}
		d.atMost("replaced after its build, s", s.swaps[0].at.Sub(s.builds[len(s.builds)-1].at).Seconds(), 2)
		d.atMost("copies", float64(s.copies), 14)
	})
}

// Those whose failures took long do not wait for others once the candidate answers.
func TestSlowFailuresAreNotLostOnceTheCandidateAnswers(t *testing.T) {
	overSome(t, 12, func(d *draw) {
		s := newSim(d, d.rules())
		dies := s.deadAfterAnOutage(oneOf(d, fate{dial: 3 * sec, refused: true}, fate{dial: ms, answer: 3 * sec, broken: true}))
		first, lost := s.firstAnswer("a", dies), 0
		s.traffic(55*sec, 20*ms, dies+20*sec, visit{host: "a", method: "GET", left: oneOf(d, 0, 30*sec), then: func(v *visit) {
			if v.got == "lost" && s.since() > dies && first() > 0 {
				lost++
			}
		}})
		s.run(dies + time.Minute)
		d.atMost("lost once the candidate has answered", float64(lost), 0)
	})
}

// The outage is forgotten after ten minutes, and so is what a candidate has answered.
func TestADeadTransportIsReplacedThoughItsOutageIsForgottenBetweenRequests(t *testing.T) {
	overSome(t, 25, func(d *draw) {
		r := d.rules()
		r.Threshold = 1
		s := newSim(d, r)
		s.deadFrom(0, fate{dial: d.between(2*sec, 6*sec), refused: true})
		period := d.between(outageFor, 3*outageFor)
		s.traffic(0, period, 10*period, visit{host: "a", method: oneOf(d, "GET", "PUT", "POST"), left: oneOf(d, 15*sec, 30*sec)})
		s.run(10 * period)
		d.atMost("swaps missing", 1-float64(len(s.swaps)), 0)
		d.atMost("builds", float64(len(s.builds)), 2)
	})
}

// GETs get copies, but what must not be in two places waits for the verdict, and nobody comes who
// could be the control.
func TestABurstIsAnsweredThoughNobodyAsksAfterIt(t *testing.T) {
	overSome(t, 25, func(d *draw) {
		s := newSim(d, d.rules())
		s.world = func(_ *visit, on uint64) fate {
			return map[uint64]fate{1: fateDark, 2: fateRefused}[on]
		}
		answered, n := 0, 3+d.IntN(5)
		for i := range n {
			s.at(time.Duration(i)*d.between(0, 300*ms), func() {
				s.visit(visit{host: "a", method: []string{"GET", "PUT"}[i%2], then: func(v *visit) {
					if v.got == "answered" {
						answered++
					}
				}})
			})
		}
		s.run(10 * time.Minute)
		d.atMost("without an answer", float64(n-answered), 0)
		d.atMost("builds", float64(len(s.builds)), 2)
	})
}
