package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever tries a planned candidate first proves it with its answer, also where its
// authority has failed meanwhile.
func TestAnAnsweredTryPromotesThoughItsAuthorityIsSuspectedMeanwhile(t *testing.T) {
	s := newScene(t)
	s.Recreate(s.now, &Order{})
	fresh := s.cand.id
	s.Built(s.now, fresh, false, Draw{})
	s.now = s.now.Add(5 * time.Second)
	try := s.does(s.call(Repeatable, "PUT"), Try)
	s.refused(s.does(s.call(Once, "POST"), Send)) // nothing like it
	s.Answered(s.now, try)
	assert.Equal(t, fresh, s.Current())
}

// A try's answer promotes by plan, whatever has become of its authority meanwhile: it proves
// nothing against the transport that was replaced, so what waits there may wait on.
func TestAnAnsweredTryCondemnsNothing(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Answered(s.now, control)
	s.now = s.now.Add(time.Second)
	s.refused(s.asks())
	waiting := s.asks()
	s.refused(s.asks())
	s.refused(s.asks())
	require.Equal(t, Tripped, s.suspect(waiting.Call.Authority).state)
	s.Answered(s.now, copied)
	require.Equal(t, copied.On, s.Current())
	s.Todo()
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	todo := s.Todo()
	assert.Equal(t, []*Call{waiting.Call}, todo.Part)
	assert.Empty(t, todo.Recall)
}

// halfway: a planned candidate is there, and nobody came who could be copied.
func (s *scene) halfway() {
	s.t.Helper()
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, false, Draw{})
	s.now = s.now.Add(5 * time.Second)
	s.Tick(s.now)
}

// A try whose end says nothing is none: the next request makes it.
func TestATryWithANeutralEndIsMadeAgain(t *testing.T) {
	s := newScene(t)
	s.halfway()
	try := s.does(s.call(Repeatable, "PUT"), Try)
	s.does(s.call(Repeatable, "PUT"), Send)
	s.Failed(s.now, try, Outcome{Again: true})
	s.does(s.call(Repeatable, "PUT"), Try)

	s = newScene(t)
	_, copied := s.tried()
	s.asks()
	require.Empty(t, s.Todo().Copies)
	s.Failed(s.now, copied, Outcome{})
	s.asks()
	assert.Len(t, s.Todo().Copies, 1)
}

// What can be asked only once has no control of its own: one like it that began later will
// do, and none that was under way before.
func TestTheControlOfATryBeginsAfterIt(t *testing.T) {
	s := newScene(t)
	early := s.does(s.call(Once, "POST"), Send)
	s.halfway()
	try := s.does(s.call(Once, "POST"), Try)
	s.Failed(s.now, try, Outcome{Verdict: Failure, Trigger: "connection_reset"})
	s.Answered(s.now, early)
	assert.False(t, s.inVain(), "it began before")
	s.now = s.now.Add(time.Millisecond)
	later := s.does(s.call(Once, "POST"), Send)
	s.Answered(s.now, later)
	require.True(t, s.inVain())
}

// An order that waits for its turn has it as soon as the other one is given up.
func TestAnOrderHasItsTurnWhenTheOtherIsGivenUp(t *testing.T) {
	s := newScene(t)
	first, second := &Order{}, &Order{}
	s.Recreate(s.now, first)
	s.Built(s.now, s.cand.id, false, Draw{})
	s.Recreate(s.now, second)
	s.Todo()
	s.Abandon(s.now, first)
	require.NotNil(t, s.Todo().Build)
	assert.Equal(t, s.Candidate(), second.Candidate())
}

// Only a request that has not been under way yet tries a planned candidate: a copy is its
// first attempt's.
func TestOnlyANewRequestTriesAPlannedCandidate(t *testing.T) {
	for name, before := range map[string]func(*scene, *Attempt){
		"it was called back":        func(s *scene, a *Attempt) { s.NotSent(s.now, a) },
		"its failure did not count": func(s *scene, a *Attempt) { s.Failed(s.now, a, Outcome{Verdict: Failure, Again: true, Untyped: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			q := s.call(Copyable, "GET")
			before(s, s.does(q, Send))
			s.Answered(s.now, s.asks()) // the authority is well
			s.Recreate(s.now, &Order{})
			s.asks()
			assert.Empty(t, s.Todo().Copies, "it is not there yet")
			s.Built(s.now, s.cand.id, false, Draw{})
			s.does(q, Send)
			assert.Empty(t, s.Todo().Copies)
			s.asks()
			assert.Len(t, s.Todo().Copies, 1)
		})
	}
}

// A request tries a planned candidate first only where none came that could be copied, by
// half of its time.
func TestNobodyTriesFirstWhereACopyDoes(t *testing.T) {
	s := newScene(t)
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, false, Draw{})
	s.after(5*time.Second - 1)
	s.does(s.callTo("b.test", Repeatable, "PUT"), Send)
	s.asks()
	require.Len(t, s.Todo().Copies, 1)
	s.after(1)
	s.does(s.callTo("b.test", Repeatable, "PUT"), Send)
}

// An authority that tried a planned candidate in vain has refused it: it does not try that
// when it trips, and waits for no other.
func TestAPlannedCandidateThatWasTriedInVainIsTriedNoMore(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, copied, lost)
	s.Answered(s.now, control)
	require.True(t, s.inVain())
	s.tripped("a.test", GiveUp)
}

// That a try was in vain is said once, however many are answered in service after it.
func TestATryIsInVainOnce(t *testing.T) {
	s := newScene(t)
	s.halfway()
	s.Failed(s.now, s.does(s.call(Once, "POST"), Try), Outcome{Verdict: Failure, Trigger: "connection_reset"})
	s.now = s.now.Add(time.Millisecond)
	for _, want := range []bool{true, false} {
		s.Answered(s.now, s.does(s.call(Once, "POST"), Send))
		assert.Equal(t, want, s.inVain())
	}
}

// A try that is called back after a second goes on in service. Without a connection it was
// in vain. With one, it was if the transport in service answers within a second, too.
func TestATryThatIsCalledBackIsInVainWhereTheTransportInServiceIsFaster(t *testing.T) {
	for _, tt := range []struct {
		connected bool
		took      time.Duration
		atOnce    bool
		inVain    bool
	}{{false, 0, true, false}, {true, headStart, false, true}, {true, headStart + 1, false, false}} {
		s := newScene(t)
		s.halfway()
		q := s.call(Repeatable, "PUT")
		try := s.does(q, Try)
		s.Asks(try, false)
		if tt.connected {
			s.Connected(s.now, try)
		}
		s.now = s.now.Add(headStart)
		s.Tick(s.now)
		require.Contains(t, s.todo.Recall, try)
		assert.Equal(t, tt.atOnce, s.inVain(), "%+v", tt)
		control := s.does(q, Send)
		s.now = s.now.Add(tt.took)
		s.Answered(s.now, control)
		assert.Equal(t, tt.inVain, s.inVain(), "%+v", tt)
	}
}

// A try that has failed had all the time that it took, and so has its control.
func TestATryThatHasFailedIsInVainHoweverSlowItsControlIs(t *testing.T) {
	s := newScene(t)
	control, copied := s.tried()
	s.Failed(s.now, copied, lost)
	s.now = s.now.Add(2 * headStart)
	s.Answered(s.now, control)
	assert.True(t, s.inVain())

	s = newScene(t)
	s.halfway()
	q := s.call(Repeatable, "PUT")
	try := s.does(q, Try)
	s.Connected(s.now, try)
	s.after(headStart)
	s.Failed(s.now, s.does(q, Send), lost) // as well: the next one tries
	s.Answered(s.now, s.asks())
	control = s.asks()
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	copied = copies[0]
	s.now = s.now.Add(headStart + 1)
	s.Answered(s.now, control)
	s.Failed(s.now, copied, lost)
	assert.True(t, s.inVain(), "it was not called back itself")
}

// A request tries a planned candidate by a copy, in vain, and then waits in silence until its
// authority trips. The next copy is a trial like any other: if the transport in service answers
// the request after the copy's answer, that proves nothing.
func TestATrialAfterATryInVainNeedsItsControl(t *testing.T) {
	s := newScene(t)
	control, try := s.tried()
	s.refused(try)
	s.silent([]*Attempt{control})
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	s.Connected(s.now, copies[0])
	s.Answered(s.now, copies[0])
	require.NotEqual(t, copies[0].On, s.Current())
	s.Answered(s.now, control)
	assert.NotEqual(t, copies[0].On, s.Current())

	s = newScene(t)
	control, try = s.tried()
	s.refused(try)
	s.silent([]*Attempt{control})
	copies = s.Todo().Copies
	s.Answered(s.now, copies[0])
	s.after(answerGap)
	assert.Equal(t, copies[0].On, s.Current(), "the control stays silent")
}
