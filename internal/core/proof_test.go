package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A trial that fails is no verdict while another one may yet be answered, and none that
// says nothing is.
func TestACandidateIsRefusedWhenNobodyCanBeAnsweredByIt(t *testing.T) {
	s := newScene(t)
	tries := func(q *Call) *Attempt {
		s.refused(s.does(q, Send)) // its control
		return s.does(q, Try)
	}
	first, second, third := s.call(Copyable, "GET"), s.call(Copyable, "GET"), s.call(Copyable, "GET")
	for range 3 {
		s.refused(s.does(first, Send))
	}
	s.does(first, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	one := tries(first)
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	other := tries(second)
	s.refused(one)
	assert.False(t, s.cand.refusedBy(first.Authority), "the other one may be answered")
	s.Failed(s.now, other, Outcome{Left: true})
	assert.False(t, s.cand.refusedBy(first.Authority), "its caller has left: that says nothing")
	s.refused(tries(third))
	assert.Zero(t, s.Candidate(), "nobody is left who wants it")
}

// Nor is it one while the answer to a copy waits for its verdict.
func TestACandidateWhoseAnswerWaitsForItsVerdictIsNotRefused(t *testing.T) {
	s := newScene(t)
	_, copied := s.dark(1)
	fresh := s.cand.id
	s.Connected(s.now, copied)
	s.does(s.call(Repeatable, "PUT"), Send) // asks the transport in service
	trial := s.does(s.call(Repeatable, "PUT"), Try)
	s.Answered(s.now, copied)
	s.refused(trial)
	s.now = s.now.Add(answerGap)
	s.Tick(s.now)
	assert.Equal(t, fresh, s.Current())
}

// A request that has been silent for long says nothing new by being silent once more: it is
// no control of what a candidate answers quickly, though it is of the same kind. One that
// passes its first second meanwhile is.
func TestWhoWasSilentBeforeIsNoControlOfWhatCanBeAskedOnlyOnce(t *testing.T) {
	for _, tt := range []struct {
		waits  time.Duration // of another one that goes to the transport in service beside the trial
		method string        // its
		wants  bool
	}{{0, "POST", false}, {headStart - time.Millisecond, "POST", false}, {headStart, "POST", true}, {headStart, "PATCH", false}} {
		s := newScene(t)
		waiting := s.does(s.call(Once, "POST"), Send)
		s.silent([]*Attempt{waiting})
		q := s.call(Once, "POST")
		s.does(q, Wait)
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
		fresh := s.cand.id
		trial := s.does(q, Try)
		s.now = s.now.Add(headStart) // others wait no longer for its verdict
		s.Tick(s.now)
		s.does(s.call(Once, tt.method), Send)
		s.now = s.now.Add(tt.waits)
		s.Silent(s.now, waiting)
		s.Answered(s.now, trial)
		assert.Equal(t, tt.wants, s.Current() == fresh, "%+v", tt)
	}
}

// What a candidate answered before its authority refused it keeps nobody from the next one.
func TestARefusedCandidateIsNotHeldByWhatItAnsweredBefore(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	s.tripped("b.test", Wait)
	s.tripped("c.test", Wait) // it wants the candidate, and never tries it
	s.now = s.now.Add(calm)
	fresh := s.cand.id
	s.Built(s.now, fresh, false, Draw{Interval: time.Second})

	s.Answered(s.now, s.does(s.call(Once, "POST"), Try)) // which awaits a control like it
	s.refused(s.does(s.call(Repeatable, "PUT"), Try))
	q := s.call(Copyable, "GET")
	q.Authority.Host = "b.test"
	s.refused(s.does(q, Send))
	s.refused(s.does(q, Try))
	require.Equal(t, fresh, s.Candidate())

	s.now = s.now.Add(time.Second)
	next := s.call(Copyable, "GET")
	next.Authority.Host = "b.test"
	s.refused(s.does(next, Send))
	s.does(next, Wait)
	assert.NotEqual(t, fresh, s.Candidate())
}

// A candidate that was refused for silence was no faster, so that its authority gets more
// patience. One that was refused for an error says nothing of that.
func TestARefusalForSilenceTeachesPatience(t *testing.T) {
	for _, tt := range []struct {
		row     row
		kind    string
		doubled bool
	}{{silent, "connection_reset", true}, {broke, TrialTimeout, true}, {broke, "connection_reset", false}} {
		s := newScene(t)
		s.tripped("a.test", Wait)
		s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
		a := s.suspects[0].authority
		s.suspects[0].row = tt.row
		s.refuse(s.now, s.cand, s.cand.standOrNew(a), tt.kind)
		assert.Equal(t, tt.doubled, s.Patience(s.now, a) > s.rules.Patience, "%+v", tt)
	}
}
