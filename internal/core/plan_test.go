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
