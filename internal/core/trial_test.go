package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	s.Asks(trial, false)
	s.Connected(s.now, trial)
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	s.does(s.call(Once, "POST"), Send)
	s.does(s.call(Once, "POST"), Try)
}

// What can be asked only once, and ends on the candidate in a way that says nothing of it, leaves
// the next one to the transport in service, unless that is within the first second: the candidate
// may end everything so, and the transport in service be well.
func TestWhatEndsNeutrallyOnTheCandidateIsAskedInServiceNext(t *testing.T) {
	for after, want := range map[time.Duration]Do{time.Second - 1: Try, time.Second: Send} {
		s := newScene(t)
		s.askedOnce(1)
		early, late := s.does(s.call(Once, "POST"), Try), s.call(Once, "POST")
		s.Failed(s.now, early, Outcome{})
		s.after(after)
		s.Failed(s.now, s.does(late, Try), Outcome{})
		s.does(s.call(Once, "POST"), want)
	}
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

// A failure from before a refusal justifies no next candidate, though that may be built.
func TestWhatFailedBeforeARefusalIsNoEvidence(t *testing.T) {
	s := newScene(t)
	s.tripped("b.test", Wait) // wants the candidate, and never tries it
	early := s.call(Copyable, "GET")
	q := s.call(Copyable, "GET")
	s.refused(s.does(early, Send))
	s.refused(s.does(q, Send))
	s.refused(s.does(q, Send))
	s.does(q, Wait)
	fresh := s.Candidate()
	s.Built(s.now, fresh, false, Draw{Interval: time.Second})
	s.refused(s.does(q, Send))
	s.refused(s.does(q, Try))
	require.True(t, s.cand.refusedBy(q.Authority))
	s.now = s.now.Add(time.Second)
	s.does(early, GiveUp)
	assert.Equal(t, fresh, s.Candidate())
	late := s.call(Copyable, "GET")
	s.refused(s.does(late, Send))
	s.does(late, Wait)
	assert.NotEqual(t, fresh, s.Candidate())
}

// Where a proof takes several answers, the control goes first every second time.
func TestTheControlGoesFirstEverySecondTime(t *testing.T) {
	for proofs, first := range []Do{Try, Send, Try, Send} {
		s := newScene(t)
		s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
		q := s.call(Once, "POST")
		s.does(q, Wait)
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
		o := s.suspect(q.Authority)
		o.proofs, o.proved = proofs, s.Clock()+1
		s.does(q, first)
	}
}

// What can be asked only once goes to a candidate that has answered one like it, though
// another trial there has no connection yet.
func TestWhatTheCandidateHasAnsweredGoesThere(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	q := s.call(Once, "POST")
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	trial := s.does(q, Try)
	s.Asks(trial, false)
	s.Connected(s.now, trial)
	s.now = s.now.Add(headStart)
	s.Tick(s.now)
	s.does(s.call(Once, "POST"), Send) // the control
	s.Asks(s.does(s.call(Once, "POST"), Try), false)
	s.Answered(s.now, trial)
	s.does(s.call(Once, "POST"), Try)
}

// The control of what can be asked only once has a second, wherever its authority broke.
func TestTheControlOfWhatCanBeAskedOnlyOnceHasASecond(t *testing.T) {
	s := newScene(t)
	post := func(want Do) *Attempt { return s.does(s.call(Once, "POST"), want) }
	for range 3 {
		s.Failed(s.now, post(Send), Outcome{Verdict: Failure, Trigger: "connection_reset"})
	}
	q := s.call(Once, "POST")
	s.does(q, Wait)
	fresh := s.Candidate()
	s.Built(s.now, fresh, false, Draw{Interval: time.Second})
	s.Answered(s.now, s.does(q, Try))
	post(Send)
	s.now = s.now.Add(headStart - 1)
	s.Tick(s.now)
	assert.EqualValues(t, 1, s.Current())
	s.now = s.now.Add(1)
	require.Equal(t, s.now, s.Deadline())
	s.Tick(s.now)
	assert.Equal(t, fresh, s.Current())
}

// A trial is an attempt of its request, also if another authority's proof puts it in service.
func TestATrialIsAnAttempt(t *testing.T) {
	s := newScene(t)
	q := s.call(Copyable, "GET")
	for range 3 {
		s.refused(s.does(q, Send))
	}
	s.does(q, Wait)
	s.tripped("b.test", Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.refused(s.does(q, Send))
	trial := s.does(q, Try)
	other := s.call(Copyable, "GET")
	other.Authority.Host = "b.test"
	s.refused(s.does(other, Send))
	s.Answered(s.now, s.does(other, Try))
	require.Equal(t, trial.On, s.Current())
	s.refused(trial)
	s.does(q, GiveUp)
}

// A trial with a connection holds nobody back where the transport in service gave none. Where
// that broke what was sent, it has proved nothing yet.
func TestAConnectionAloneIsNothingWhereAllWasSent(t *testing.T) {
	for name, o := range map[string]Outcome{
		"sent, and broke": lost,
		"no connection":   {Verdict: Failure, Trigger: "connection_refused", Unsent: true, Again: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			q, other := s.call(Repeatable, "PUT"), s.call(Repeatable, "PUT")
			for range 3 {
				s.Failed(s.now, s.does(q, Send), o)
			}
			s.does(q, Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			s.Failed(s.now, s.does(q, Send), o)
			trial := s.does(q, Try)
			s.Failed(s.now, s.does(other, Send), o)
			s.Connected(s.now, trial)
			s.does(other, map[bool]Do{true: Try, false: Wait}[o.Unsent])
		})
	}
}

// Of a failure that came just before a trial nobody knows that the transport in service would
// still fail: the trial's answer waits for one that comes later.
func TestAFailureBeforeATrialIsNotItsControl(t *testing.T) {
	s := newScene(t)
	early := s.does(s.call(Once, "POST"), Send)
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	q := s.call(Once, "POST")
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.Failed(s.now, early, Outcome{Verdict: Failure, Trigger: "connection_reset"})
	s.Answered(s.now, s.does(q, Try))
	assert.EqualValues(t, 1, s.Current())
}

// Once its authority's time on a candidate is over, a trial of that holds back nobody.
func TestATrialOfACandidateWhoseTimeIsOverHoldsBackNobody(t *testing.T) {
	for waited, want := range map[time.Duration]Do{10*time.Second - 1: Wait, 10 * time.Second: Send} {
		s := newScene(t)
		s.silent([]*Attempt{s.asks()})
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Hour}) // the next is not due
		copies := s.Todo().Copies
		require.Len(t, copies, 1)
		s.now = s.now.Add(waited)
		s.Tick(s.now)
		s.Failed(s.now, copies[0], Outcome{})
		for _, a := range s.Todo().Copies {
			s.NotSent(s.now, a)
		}
		s.does(s.call(Repeatable, "PUT"), Try)
		s.does(s.call(Repeatable, "PUT"), want)
	}
}

// What can be asked only once, and was not sent when it tried the candidate, tries it again if
// others are being tried there: the transport in service has its control already.
func TestWhatWasNotSentOnTheCandidateGoesThereAgain(t *testing.T) {
	s := newScene(t)
	s.askedOnce(1)
	post := func(want Do) *Attempt { return s.does(s.call(Once, "POST"), want) }
	first := post(Try)
	s.Asks(first, false)
	s.Connected(s.now, first)
	s.after(headStart)
	post(Send) // the control
	second := post(Try)
	s.refused(second)
	s.does(second.Call, Try)
}

// A trial whose caller has less than a second left, and less than half of its time, holds back
// nobody. The next one that has time does.
func TestWhoIsAboutToLeaveHoldsBackNobody(t *testing.T) {
	for name, tt := range map[string]struct {
		left, waits time.Duration // at the trial, and before it
		want        Do
	}{
		"a second":            {time.Second, time.Minute, Wait},
		"less":                {time.Second - 1, time.Minute, Try},
		"half of its time":    {300 * time.Millisecond, 300 * time.Millisecond, Wait},
		"less than half":      {300*time.Millisecond - 2, 300 * time.Millisecond, Try},
		"as long as it takes": {0, time.Minute, Wait},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.tripped("b.test", Wait) // wants the candidate, and never tries it
			first := s.call(Once, "POST")
			if tt.left > 0 {
				first.Deadline = s.now.Add(tt.waits + tt.left)
			}
			for range 3 {
				s.Failed(s.now, s.does(s.call(Once, "POST"), Send), broken)
			}
			s.does(first, Wait)
			s.now = s.now.Add(tt.waits)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			trial := s.does(first, Try)
			s.Asks(trial, false)
			s.Connected(s.now, trial)
			s.after(0)
			if tt.want == Wait {
				s.does(s.call(Once, "POST"), Wait)
				return
			}
			s.does(s.call(Once, "POST"), Send) // the control
			s.does(s.call(Once, "POST"), Try)
			s.does(s.call(Once, "POST"), Wait) // for that one
		})
	}
}

// What can be asked only once asks the transport in service after a trial that had no chance, but
// not where that had a control of its own, or was a copy.
func TestATrialThatHadItsControlOwesNone(t *testing.T) {
	early := Outcome{Verdict: Stall, Trigger: "stall", Again: true}
	t.Run("it failed before", func(t *testing.T) {
		s := newScene(t)
		for range 3 {
			s.Failed(s.now, s.asks(), lost)
		}
		q := s.call(Copyable, "GET")
		s.Failed(s.now, s.does(q, Send), lost)
		s.does(q, Wait)
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
		s.Failed(s.now, s.does(q, Send), lost)
		trial := s.does(q, Try)
		s.Asks(trial, false)
		s.after(headStart)
		s.Failed(s.now, trial, early)
		require.False(t, s.cand.refusedBy(q.Authority))
		s.does(s.call(Once, "POST"), Try)
	})
	t.Run("it was a copy", func(t *testing.T) {
		s := newScene(t)
		_, copied := s.dark(1)
		s.Asks(copied, false)
		s.after(headStart)
		s.Failed(s.now, copied, early)
		require.False(t, s.cand.refusedBy(copied.Call.Authority))
		s.does(s.call(Once, "POST"), Try)
	})
}

// A trial whose body is still being fetched has not reached the candidate: the time of the trials has not
// begun.
func TestTheTimeOfTheTrialsBeginsWhenTheCandidateHasTheFirst(t *testing.T) {
	for name, answered := range map[string]bool{"it is answered": true, "it is silent": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.offered("a.test")
			fresh := s.Candidate()
			q := s.call(Repeatable, "PUT")
			s.refused(s.does(q, Send))
			step := s.Next(s.now, q)
			require.Equal(t, Try, step.Do)
			s.ticks(s.rules.RecreateTimeout + time.Second)
			s.Handed(s.now, step.Attempt)
			s.ticks(s.rules.RecreateTimeout - 1)
			require.Equal(t, fresh, s.Candidate())
			if answered {
				s.Answered(s.now, step.Attempt)
				assert.Equal(t, fresh, s.Current())
				return
			}
			s.ticks(1)
			assert.Zero(t, s.Candidate(), "it has refused it")
		})
	}
}
