package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Who waits for ready waits only with what may be sent again.
func TestWhatMayNotGoAgainDoesNotWaitForReady(t *testing.T) {
	for name, again := range map[string]bool{"it may": true, "it may not": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.tripped("b.test", Wait)
			s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Hour}) // none for a while
			s.rules.Threshold = 1
			q := s.call(Repeatable, "PUT")
			q.Ready = time.Minute
			s.Failed(s.now, s.does(q, Send), Outcome{Verdict: Failure, Trigger: "connection_reset", Again: again})
			s.does(q, map[bool]Do{true: Wait, false: GiveUp}[again])
		})
	}
}

// Once the transport in service has ended, the fallback gets what may be sent again.
func TestWhatMayNotGoAgainIsNotDiverted(t *testing.T) {
	for name, again := range map[string]bool{"it may": true, "it may not": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.rules.Fallback = true
			q := s.call(Once, "POST")
			a := s.does(q, Send)
			s.Ended(s.now, 1, true)
			s.does(s.call(Copyable, "GET"), Wait) // it has the next one built
			s.Failed(s.now, a, Outcome{Verdict: Failure, Trigger: "connection_reset", Again: again})
			s.does(q, map[bool]Do{true: Divert, false: GiveUp}[again])
		})
	}
}

// A stall on what was replaced is no reason not to ask what is in service now; a stall there
// is.
func TestOnlyAStallInServiceIsNotRepeated(t *testing.T) {
	for on, want := range map[uint64]Do{1: Send, 2: GiveUp} {
		s := newScene(t)
		s.Recreate(s.now, &Order{})
		s.Built(s.now, s.cand.id, true, Draw{})
		q := s.call(Repeatable, "PUT")
		q.failure = failure{on: on, again: true, stall: true, slow: true}
		assert.Equal(t, want, s.Next(s.now, q).Do)
	}
}

// A tripped authority gives nobody more attempts than it has.
func TestWhoHasNoAttemptLeftIsNotSentAgain(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Hour})
	q := s.call(Repeatable, "PUT")
	for range s.rules.Threshold + 2 {
		a := s.does(q, Send)
		q.failure = failure{}
		s.NotSent(s.now, a)
	}
	s.does(q, GiveUp)
}

// An unsent request that the candidate could not take, for a reason that is nobody's, was
// not failed by the transport in service yet: it is sent there.
func TestWhatTheCandidateCouldNotTakeIsSentInService(t *testing.T) {
	for _, kind := range []Kind{Repeatable, Once} {
		s := newScene(t)
		s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
		q := s.call(kind, "TRIES")
		s.does(q, Wait)
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
		trial := s.does(q, Try)
		s.Asks(trial, false)
		s.Failed(s.now, trial, Outcome{Unsent: true, Again: true}) // neutral: out of files, say
		s.does(q, Send)
	}
}

// What may have been processed on a transport that was replaced is not sent again, though the
// one in service has not failed it.
func TestWhatMayNotGoAgainIsNotSentOnTheNextTransport(t *testing.T) {
	for name, again := range map[string]bool{"it may": true, "it may not": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			q := s.call(Once, "POST")
			old := s.does(q, Send)
			s.Recreate(s.now, &Order{})
			s.Built(s.now, s.cand.id, true, Draw{})
			s.tripped("a.test", Wait)
			s.Failed(s.now, old, Outcome{Verdict: Failure, Trigger: "connection_reset", Again: again})
			s.does(q, map[bool]Do{true: Send, false: GiveUp}[again])
		})
	}
}
