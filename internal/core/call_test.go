package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A request asks what to do next only once nothing is under way for its caller: neither a
// trial, nor the copy of an attempt that has failed.
func TestWhoHasSomethingUnderWayDoesNotAsk(t *testing.T) {
	s := newScene(t)
	control, copied := s.copiedWithControl()
	s.Failed(s.now, control, lost)
	assert.True(t, control.Call.Flying(), "its copy may be answered")
	s.Failed(s.now, copied, lost)
	assert.False(t, control.Call.Flying())

	s = newScene(t)
	s.tripped("a.test", Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	s.does(q, Try)
	assert.True(t, q.Flying())
}

// A request may go again where it has not failed yet: on what has replaced the transport that
// it failed on, or on the transport in service, if the candidate was the first that it tried.
func TestWhereARequestHasNotFailedYet(t *testing.T) {
	const before, current, candidate = 1, 2, 3
	for _, tt := range []struct {
		on    uint64
		first bool
		want  bool
	}{
		{before, false, true}, {before, true, true},
		{current, false, false}, {current, true, false},
		{candidate, false, false}, {candidate, true, true},
	} {
		q := Call{failure: failure{on: tt.on, first: tt.first, again: true}}
		assert.Equal(t, tt.want, q.failedElsewhere(current), "%+v", tt)
		q.failure.again = false
		assert.False(t, q.failedElsewhere(current), "%+v", tt)
	}
}

// A request that has failed in service, and then on the candidate, is not sent in service again:
// it gets its error.
func TestWhoHasFailedOnBothGivesUp(t *testing.T) {
	s := newScene(t)
	s.offered("a.test")
	q := s.call(Copyable, "GET")
	s.refused(s.tries(q))
	s.does(q, GiveUp)
}

// Operators are told of failures, and of stalls that are known to be none of a wait for a place. An
// error without a meaning is a failure all the same: somebody got it.
func TestWhatOperatorsAreToldOf(t *testing.T) {
	assert.False(t, Outcome{}.IsFailure())
	assert.True(t, Outcome{Verdict: Failure, Untyped: true}.IsFailure())
	assert.True(t, Outcome{Verdict: Stall}.IsFailure())
	assert.False(t, Outcome{Verdict: Stall, Untyped: true}.IsFailure())
}
