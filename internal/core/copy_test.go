package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dark: n GETs wait in silence until their authority trips, and the candidate that is
// built for it gets a copy of one of them.
func (s *scene) dark(n int) (waiting []*Attempt, copied *Attempt) {
	s.t.Helper()
	for range n {
		waiting = append(waiting, s.does(s.call(Copyable, "GET"), Send))
	}
	s.silent(waiting)
	require.NotNil(s.t, s.Todo().Build)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	copies := s.Todo().Copies
	require.Len(s.t, copies, 1)
	return waiting, copies[0]
}

// silent: these wait on for three more patiences.
func (s *scene) silent(waiting []*Attempt) {
	for range 3 {
		s.now = s.now.Add(5 * time.Second)
		for _, a := range waiting {
			s.Silent(s.now, a)
		}
	}
}

// Others that wait are not copied to a candidate that had its time with the first: the
// next candidate is to come.
func TestACandidateThatLeftItsCopiesUnansweredIsReplaced(t *testing.T) {
	s := newScene(t)
	waiting, _ := s.dark(2)
	s.now = s.now.Add(time.Minute)
	s.Tick(s.now)
	assert.Zero(t, s.Candidate())
	assert.Empty(t, s.Todo().Copies)
	s.now = s.now.Add(time.Second)
	s.Silent(s.now, waiting[0])
	assert.NotNil(t, s.Todo().Build)
}

// A candidate that another authority still wants is not tried again by one that has
// refused it.
func TestARefusedCandidateGetsNoCopies(t *testing.T) {
	s := newScene(t)
	waiting, copied := s.dark(2)
	s.tripped("b.test", Try)
	s.Failed(s.now, copied, Outcome{Verdict: Failure, Trigger: "connection_reset"})
	require.True(t, s.cand.refusedBy(copied.Call.Authority))
	s.now = s.now.Add(5 * time.Second)
	s.Silent(s.now, waiting[1])
	assert.Empty(t, s.Todo().Copies)
}

// A copy waits while a trial of its authority is young: what comes of it is not known yet.
func TestAYoungTrialHoldsBackTheCopiesOfItsAuthority(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Repeatable, "PUT"), Send)})
	put := s.call(Repeatable, "PUT")
	s.does(put, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.does(s.call(Copyable, "GET"), Send)
	s.now = s.now.Add(500 * time.Millisecond)
	s.does(put, Try)
	s.now = s.now.Add(500 * time.Millisecond)
	s.Tick(s.now)
	assert.Empty(t, s.Todo().Copies)
	s.now = s.now.Add(500 * time.Millisecond)
	s.Tick(s.now)
	assert.Len(t, s.Todo().Copies, 1)
}
