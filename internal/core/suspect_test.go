package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Of outages the one that was asked for longest ago makes room, however often it failed.
func TestTheOutageThatNobodyAsksForMakesRoom(t *testing.T) {
	s := newScene(t)
	for i, failures := range []int{5, 3} {
		o := s.suspectOrNew(s.now.Add(time.Duration(i)), named(i))
		o.failures = failures
		o.stand(Tripped)
	}
	s.evict(s.now)
	assert.Nil(t, s.suspect(named(0)))
	assert.NotNil(t, s.suspect(named(1)))
}

// A flood of names, all of which try the candidate, leaves no more with it than are
// remembered.
func TestAFloodOfNamesLeavesABoundedNumberWithACandidate(t *testing.T) {
	s := newScene(t)
	s.rules.Threshold = 1
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	for i := range maxSuspects + 10 {
		q := s.call(Copyable, "GET")
		q.Authority = named(i)
		s.now = s.now.Add(1)
		s.refused(s.does(q, Send))
		if i >= 5 { // the first do not try it
			s.does(q, Try)
		}
	}
	assert.Len(t, s.suspects, maxSuspects)
	assert.Len(t, s.cand.stands, len(s.cand.of))
	assert.LessOrEqual(t, len(s.cand.of), maxSuspects)
	for _, st := range s.cand.stands {
		assert.NotNil(t, s.suspect(st.authority))
	}
}

// Who has tried a planned candidate tries it no more, even if it was forgotten meanwhile.
func TestATryIsNotForgotten(t *testing.T) {
	s := newScene(t)
	control, _ := s.tried()
	a := control.Call.Authority
	s.cand.forget(a)
	require.NotNil(t, s.cand.stand(a))
}
