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

// Where nobody gets a connection, a control that got one, and broke, is none: the next one
// has to fail without.
func TestWhereNobodyGetsAConnectionAControlThatGotOneProvesNothing(t *testing.T) {
	for name, apart := range map[string]bool{"it got one": false, "it got none": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.tripped("a.test", Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			other, q := s.call(Copyable, "GET"), s.call(Copyable, "GET")
			control := s.does(q, Send)
			s.refused(s.does(other, Send)) // began as early, and is counted first: the row stays
			s.Failed(s.now, control, Outcome{Verdict: Failure, Trigger: "connection_reset", Again: true, Apart: apart})
			s.does(q, map[bool]Do{true: Try, false: Send}[apart])
		})
	}
}
