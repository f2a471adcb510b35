package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Of attempts that began at one instant, with no event between them, the first has waited longest.
func TestTheFirstOfOneInstantIsTheOldest(t *testing.T) {
	s := &suspect{}
	var all []*Attempt
	for i, began := range []Instant{3, 2, 2, 4} {
		a := &Attempt{Call: &Call{Method: "POST"}, began: began, start: simStart.Add(time.Duration(i))}
		s.flying.add(a)
		all = append(all, a)
	}
	assert.Same(t, all[1], s.oldestLike(simStart, "POST", 1))
	assert.Same(t, all[0], s.oldestLike(simStart, "POST", 3))
}

// Where the control goes first, it is silent after a second, and the next request tries the candidate.
func TestAControlThatWentFirstIsSilentAfterASecond(t *testing.T) {
	s := newScene(t)
	s.askedOnce(moreAnswers)
	s.served()
	s.Failed(s.now, s.does(s.call(Once, "POST"), Send), broken)
	s.does(s.call(Once, "POST"), Send) // first
	s.after(headStart)
	s.does(s.call(Once, "POST"), Try)
}

// What its transport does not have yet has not waited for an answer.
func TestWhatNoTransportHasYetIsNoControl(t *testing.T) {
	held := &Attempt{Call: &Call{Method: "POST"}, began: 1, start: simStart.Add(-time.Hour), held: true}
	waits := &Attempt{Call: &Call{Method: "POST"}, began: 2, start: simStart.Add(-time.Second)}
	s := &suspect{}
	s.flying.add(held)
	s.flying.add(waits)
	assert.Same(t, waits, s.oldestLike(simStart, "POST", 1))
	assert.Equal(t, time.Second, s.longestHeld(simStart, &Attempt{over: true}))
}

// The control of an answer begins when its transport gets it. Until then it makes room for others.
func TestAProbeWhoseBodyIsFetchedDecidesNothing(t *testing.T) {
	s := newScene(t)
	probe := s.probing()
	fresh := s.Candidate()
	probe.held = true
	s.ticks(15 * time.Second)
	assert.EqualValues(t, 1, s.Current())
	s.does(s.call(Once, "POST"), Send)
	s.ticks(time.Second - 1)
	assert.EqualValues(t, 1, s.Current())
	s.after(1)
	assert.Equal(t, fresh, s.Current())
}

// A trial begins when its transport gets it: what has been silent in service for longer is no control
// of it.
func TestWhatBeganBeforeATrialWasHandedIsNoControl(t *testing.T) {
	s := newScene(t)
	for range 3 {
		s.Failed(s.now, s.does(s.call(Once, "POST"), Send), Outcome{Verdict: Failure, Trigger: "reset"})
	}
	q := s.call(Once, "POST")
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	step := s.Next(s.now, q)
	require.Equal(t, Try, step.Do)
	s.ticks(1100 * time.Millisecond)
	s.does(s.call(Once, "POST"), Send) // the probe, on an upstream that is silent
	s.ticks(20 * time.Second)
	s.Handed(s.now, step.Attempt)
	s.Answered(s.now, step.Attempt)
	assert.Zero(t, s.todo.Promote)
}
