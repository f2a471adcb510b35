package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Only who leaves of itself, and whose leaving says nothing otherwise, was stalled by its
// wait.
func TestOnlyLeavingIsReadAsSilence(t *testing.T) {
	long := 10 * time.Second
	for _, tt := range []struct {
		o    Outcome
		want bool
	}{
		{Outcome{Left: true, Silence: long}, true},
		{Outcome{Silence: long}, false},
		{Outcome{Left: true, Verdict: Failure, Silence: long}, false},
		{Outcome{Left: true, Verdict: Stall, Untyped: true, Silence: long}, false},
		{Outcome{Left: true, Silence: leaving - 1}, false},
		{Outcome{Left: true, Silence: leaving}, true},
	} {
		s := newScene(t)
		a := s.does(s.call(Copyable, "GET"), Send)
		assert.Equal(t, tt.want, s.verdictOf(s.now, a, tt.o).Trigger == Silence, "%+v", tt.o)
		s.rules.Patience = 0
		assert.NotEqual(t, Silence, s.verdictOf(s.now, a, tt.o).Trigger, "stalls are turned off: %+v", tt.o)
	}
}

// A stall is no repetition of the failure before it, whenever its attempt began.
func TestAStallAfterAFailureIsTheLatestEvidence(t *testing.T) {
	s := newScene(t)
	a, b := s.does(s.call(Copyable, "GET"), Send), s.does(s.call(Copyable, "GET"), Send)
	s.refused(a)
	s.Failed(s.now, b, Outcome{Verdict: Stall, Trigger: "stall"})
	assert.Equal(t, silent, s.suspect(a.Call.Authority).row)
}

// A neutral end drops a suspicion in which nothing has counted yet, and nothing else.
func TestANeutralEndDropsOnlyWhatHasNotCounted(t *testing.T) {
	neutral, untyped := Outcome{}, Outcome{Verdict: Failure, Untyped: true}
	failure, stall := Outcome{Verdict: Failure, Trigger: "connection_reset"}, Outcome{Verdict: Stall, Trigger: "stall"}
	for i, tt := range []struct {
		before []Outcome
		last   Outcome
		drops  bool
	}{
		{[]Outcome{untyped}, neutral, true},
		{[]Outcome{untyped}, Outcome{Left: true}, false},
		{[]Outcome{untyped}, Outcome{Verdict: Failure, Lost: true, Left: true}, false},
		{[]Outcome{failure}, neutral, false},
		{[]Outcome{failure, stall}, neutral, false},
	} {
		s := newScene(t)
		for _, o := range append(tt.before, tt.last) {
			s.Failed(s.now, s.does(s.call(Once, "POST"), Send), o)
		}
		assert.Equal(t, tt.drops, len(s.suspects) == 0, i)
	}
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.cand.planned = true
	s.Built(s.now, s.cand.id, true, Draw{}) // nothing is in flight: a promotion without a proof
	a := s.does(s.call(Once, "POST"), Send)
	require.Equal(t, Healing, s.suspects[0].state)
	s.Failed(s.now, a, neutral)
	assert.Len(t, s.suspects, 1, "an outage ends with an answer")
}

// An answer takes back its own request's stalls: what is left may still be an outage.
func TestWhatIsLeftWhenStallsAreTakenBack(t *testing.T) {
	for _, tt := range []struct {
		state            State
		failures, stalls int // with the one that is taken back
		over             bool
	}{
		{Tripped, 2, 3, true}, {Tripped, 3, 3, false}, {Tripped, 2, 4, false},
		{Suspected, 0, 1, true}, {Suspected, 1, 1, false}, {Suspected, 1, 2, false}, {Suspected, 0, 2, false},
	} {
		s := newScene(t)
		o := &suspect{state: tt.state, failures: tt.failures, stalls: tt.stalls}
		a := &Attempt{silent: silences{in: o, n: 1}}
		assert.Equal(t, tt.over, s.takeBack(o, a), "%+v", tt)
	}
}

// Witnesses, and hostile methods, take no more than some room.
func TestABoundedNumberOfMethodsIsRemembered(t *testing.T) {
	o := &suspect{}
	o.see(nil)
	for i := range 2 * maxWitnesses {
		o.see(i)
	}
	assert.Len(t, o.witnesses, maxWitnesses)
	assert.Equal(t, 0, o.witnesses[0], "the first ones stay")
	for i := range Instant(2 * maxMethods) {
		o.failedLike(fmt.Sprint(i), i+1)
	}
	assert.Len(t, o.methods, maxMethods)
	o.failedLike("0", 99)
	assert.True(t, o.hasFailedSince("0", 98))

	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	q := s.call(Once, "POST")
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	st := s.cand.standOrNew(q.Authority)
	for i := range 2 * maxMethods {
		c := s.call(Once, fmt.Sprint(i/2)) // each twice
		s.trialAnswered(s.now, st, &Attempt{Call: c, role: onTrial, began: s.Clock(), start: s.now})
	}
	assert.Len(t, st.served, maxMethods)
	s.trialAnswered(s.now, st, &Attempt{Call: s.call(Once, "new"), role: onTrial, began: s.Clock(), start: s.now})
	assert.Len(t, st.served, maxMethods)
}

// An attempt whose end says nothing has not failed, if it began under suspicion and lasted as
// long as failures do.
func TestANeutralEndCountsAsTriedOnceFailuresWouldHaveShown(t *testing.T) {
	o, took := &suspect{state: Tripped}, time.Second
	for _, tt := range []struct {
		under  *suspect
		waited time.Duration
		want   int
	}{{o, took, 1}, {o, took - 1, 0}, {nil, took, 0}} {
		s := newScene(t)
		o.took, o.ended = took, 0
		s.cleared(s.now, o, &Attempt{under: tt.under, start: s.now.Add(-tt.waited)}, Outcome{})
		assert.Equal(t, tt.want, o.ended, "%+v", tt)
	}
}
