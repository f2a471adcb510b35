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
