package core

import (
	"testing"
	"time"
)

// Where failures take long, a PUT is asked only once; but one that has failed, and may go
// again, has a control of its own.
func TestWhatFailedAndMayGoAgainHasAControlOfItsOwn(t *testing.T) {
	s := newScene(t)
	q := s.call(Repeatable, "PUT")
	fails := func() {
		a := s.does(q, Send)
		s.now = s.now.Add(2 * time.Second)
		s.refused(a)
	}
	for range 3 {
		fails()
	}
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	fails()
	s.does(q, Try)
}

// While the candidate is silent about a POST that it has, the next one asks the transport
// in service, one at a time.
func TestTheTransportInServiceIsAskedWhatTheCandidateIsSilentAbout(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	first := s.call(Once, "POST")
	s.does(first, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	trial := s.does(first, Try)
	s.Asks(trial)
	s.Connected(s.now, trial)
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	s.does(s.call(Once, "POST"), Send)
	s.does(s.call(Once, "POST"), Try)
}
