package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// queues sends a request in service, which waits for a place in the transport's own pool.
func (s *scene) queues(k Kind, method string) *Attempt {
	s.t.Helper()
	a := s.does(s.call(k, method), Send)
	s.Asks(a, true)
	return a
}

// full: a POST holds the one place in the pool, and is silent until its authority trips. A GET waits for
// the place, and its copy is answered. Its control, which is sent again without its caller, waits, too.
func (s *scene) full() (holds, control *Attempt) {
	s.t.Helper()
	holds = s.does(s.call(Once, "POST"), Send)
	s.now = s.now.Add(5 * time.Second)
	s.Silent(s.now, holds)
	waits := s.queues(Copyable, "GET")
	for range 2 {
		s.now = s.now.Add(5 * time.Second)
		s.Silent(s.now, holds)
	}
	require.Equal(s.t, Tripped, s.suspects[0].state)
	s.does(s.call(Once, "POST"), Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	require.Equal(s.t, []*Attempt{waits.Call.copy}, s.Todo().Copies)
	s.Answered(s.now, waits.Call.copy)
	s.after(answerGap)
	todo := s.Todo()
	require.Equal(s.t, []*Attempt{waits}, todo.Recall)
	require.Len(s.t, todo.Copies, 1)
	s.Asks(todo.Copies[0], true)
	return holds, todo.Copies[0]
}

// As long as nobody knows whether those that have the places are served slowly or not at all, a request
// that waits for a place is no control. It is once they have been silent for as long again as at the trip.
func TestAWaitForAPlaceIsAControlOnceThePlacesHaveBeenHeldForTwiceAsLong(t *testing.T) {
	s := newScene(t)
	s.full()
	fresh := s.Candidate()
	s.ticks(15*time.Second - answerGap - 1)
	assert.EqualValues(t, 1, s.Current())
	s.after(1)
	assert.Equal(t, fresh, s.Current())
}

// An answer in service shows that the places change hands, though it may be too old to end the streak.
func TestAnAnswerInServiceExcusesTheWaitForAPlaceAnew(t *testing.T) {
	s := newScene(t)
	old := s.does(s.call(Once, "POST"), Send)
	s.full()
	fresh := s.Candidate()
	s.ticks(10 * time.Second)
	s.Answered(s.now, old)
	require.NotEmpty(t, s.suspects)
	s.ticks(s.Patience(s.now, s.now, old.Call.Authority) - 1) // which is longer now
	assert.EqualValues(t, 1, s.Current())
	s.after(1)
	assert.Equal(t, fresh, s.Current())
}

// So does a place that another request gets, known to the core or not.
func TestAPlaceThatChangesHandsExcusesTheOthersAnew(t *testing.T) {
	for name, known := range map[string]bool{"known": true, "on the healthy path": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			other := s.queues(Once, "POST")
			s.full()
			fresh := s.Candidate()
			s.ticks(12 * time.Second)
			if known {
				s.Placed(s.now, other)
			} else {
				s.Moves(s.now, other.Call.Authority)
			}
			s.ticks(5*time.Second - 1)
			assert.EqualValues(t, 1, s.Current())
			s.after(1)
			assert.Equal(t, fresh, s.Current())
		})
	}
}

// How long the oldest attempt had held its place counts for no more than silence takes to trip.
func TestAWaitForAPlaceIsExcusedForNoLongerThanSilenceTakesToTrip(t *testing.T) {
	s := newScene(t)
	s.does(s.call(Once, "POST"), Send)
	s.now = s.now.Add(time.Hour)
	s.full()
	fresh := s.Candidate()
	s.ticks(15*time.Second - answerGap)
	assert.Equal(t, fresh, s.Current())
}

// Without WithPatience a wait for a place is excused for a second.
func TestAWaitForAPlaceIsExcusedForASecondAtLeast(t *testing.T) {
	s := newScene(t)
	s.rules.Patience, s.patience.least = 0, 0
	s.full()
	fresh := s.Candidate()
	s.ticks(headStart - answerGap - 1)
	assert.EqualValues(t, 1, s.Current())
	s.ticks(3 * headStart)
	assert.Equal(t, fresh, s.Current())
}

// While the control of an answered copy waits for its place, others are copied, and their callers answered.
// The one that has its answer already is not.
func TestOthersAreCopiedWhileAControlWaitsForItsPlace(t *testing.T) {
	s := newScene(t)
	_, control := s.full()
	other := s.queues(Copyable, "GET")
	s.ticks(3 * time.Second)
	require.NotNil(t, other.Call.copy)
	assert.Nil(t, control.Call.copy)
	assert.True(t, s.Answered(s.now, other.Call.copy))
	assert.Contains(t, s.Todo().Recall, other)
}

// Of those that can be copied, one that has a place is: what is called back for it frees the place.
func TestWhoHasAPlaceIsCopiedBeforeWhoWaitsForOne(t *testing.T) {
	s := newScene(t)
	holds := s.does(s.call(Copyable, "GET"), Send)
	s.now = s.now.Add(5 * time.Second)
	s.Silent(s.now, holds)
	waits := s.queues(Copyable, "GET")
	for range 2 {
		s.now = s.now.Add(5 * time.Second)
		s.Silent(s.now, holds)
	}
	s.now = s.now.Add(15 * time.Second)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	assert.NotNil(t, holds.Call.copy)
	assert.Nil(t, waits.Call.copy, "though it is younger")
}

// An attempt begins with its place. What was refused at once then did not take long to fail.
func TestAnAttemptBeginsWithItsPlace(t *testing.T) {
	s := newScene(t)
	s.refused(s.does(s.call(Copyable, "GET"), Send))
	for range 2 {
		a := s.queues(Copyable, "GET")
		s.now = s.now.Add(10 * time.Second)
		s.Placed(s.now, a)
		s.refused(a)
	}
	assert.Equal(t, Tripped, s.suspects[0].state)
	assert.Equal(t, noConnection, s.suspects[0].row)
}

// Whoever has its place has its head start from then on, whether the wait for it is told or not.
func TestAHeadStartBeginsWithThePlace(t *testing.T) {
	for name, told := range map[string]bool{"a place": true, "a connection": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.full()
			next := s.queues(Copyable, "GET")
			s.ticks(900 * time.Millisecond)
			if told {
				s.Placed(s.now, next)
			} else {
				s.Connected(s.now, next)
			}
			s.ticks(time.Second - 1)
			assert.Nil(t, next.Call.copy)
			s.after(1)
			assert.NotNil(t, next.Call.copy)
		})
	}
}

// The control that begins after a copy's answer may have to wait for a place. Then it decides nothing,
// unless another one like it had a place since, and is silent.
func TestALateControlThatWaitsForAPlaceDecidesNothing(t *testing.T) {
	for name, another := range map[string]bool{"alone": false, "another is silent": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			control, _ := s.controlled()
			fresh := s.Candidate()
			s.Asks(control, true)
			if another {
				s.Connected(s.now, s.queues(Copyable, "GET"))
			}
			s.after(time.Second)
			if another {
				assert.Equal(t, fresh, s.Current())
				return
			}
			assert.EqualValues(t, 1, s.Current())
			assert.Equal(t, fresh, s.Candidate())
			assert.NotContains(t, s.Todo().Recall, control, "it has no caller, and waits on")
		})
	}
}

// Once it has its place it has as long as any control that begins then.
func TestALateControlDecidesFromItsPlaceOn(t *testing.T) {
	s := newScene(t)
	control, _ := s.controlled()
	fresh := s.Candidate()
	s.Asks(control, true)
	s.after(900 * time.Millisecond)
	s.Placed(s.now, control)
	s.ticks(time.Second - 1)
	assert.EqualValues(t, 1, s.Current())
	s.after(1)
	assert.Equal(t, fresh, s.Current())
}

// The next one like what is asked once is its control, and not before it has a place.
func TestAProbeThatWaitsForAPlaceDecidesNothing(t *testing.T) {
	s := newScene(t)
	probe := s.probing()
	fresh := s.Candidate()
	s.Asks(probe, true)
	s.ticks(15*time.Second - 1)
	assert.EqualValues(t, 1, s.Current())
	s.Placed(s.now, probe)
	s.ticks(time.Second - 1)
	assert.EqualValues(t, 1, s.Current())
	s.after(1)
	assert.Equal(t, fresh, s.Current())
}

// Who got its place so late that little of its caller's time was left may have stalled for that alone. It
// is a control if it was silent with its place for as long as what still waits.
func TestALateStallIsAControlOnlyIfItWasSilentForLongEnough(t *testing.T) {
	late := Outcome{Verdict: Stall, Trigger: "stall", Left: true, Queued: time.Second}
	for name, tt := range map[string]struct {
		silent time.Duration
		proves bool
	}{"too short": {answerGap - 1, false}, "long enough": {answerGap, true}} {
		t.Run("asked once, "+name, func(t *testing.T) {
			s := newScene(t)
			probe := s.probing()
			fresh := s.Candidate()
			s.Asks(probe, true)
			s.now = s.now.Add(5 * time.Second)
			s.Placed(s.now, probe)
			s.now = s.now.Add(tt.silent)
			s.Failed(s.now, probe, late)
			assert.Equal(t, tt.proves, s.Current() == fresh)
		})
		t.Run("a copy's, "+name, func(t *testing.T) {
			s := newScene(t)
			control, _ := s.controlled()
			fresh := s.Candidate()
			s.Asks(control, true)
			s.now = s.now.Add(500 * time.Millisecond)
			s.Placed(s.now, control)
			s.now = s.now.Add(tt.silent)
			s.Failed(s.now, control, Outcome{Verdict: Stall, Trigger: "stall", Queued: time.Second})
			assert.Equal(t, tt.proves, s.Current() == fresh)
		})
	}
	t.Run("asked once, had its place at once", func(t *testing.T) {
		s := newScene(t)
		probe := s.probing()
		fresh := s.Candidate()
		hardly := late
		hardly.Queued = answerGap - 1
		s.Failed(s.now, probe, hardly)
		assert.Equal(t, fresh, s.Current())
	})
	t.Run("asked once, before the answer", func(t *testing.T) {
		s := newScene(t)
		s.askedOnce(1)
		trial := s.does(s.call(Once, "POST"), Try)
		s.after(headStart)
		other := s.does(s.call(Once, "POST"), Send)
		s.Asks(other, true)
		s.now = s.now.Add(500 * time.Millisecond)
		s.Placed(s.now, other)
		s.Failed(s.now, other, late)
		s.Answered(s.now, trial)
		assert.EqualValues(t, 1, s.Current())
	})
}
