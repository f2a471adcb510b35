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
// the place. The candidate is there.
func (s *scene) full() (holds, waits *Attempt) {
	s.t.Helper()
	holds = s.does(s.call(Once, "POST"), Send)
	s.now = s.now.Add(5 * time.Second)
	s.Silent(s.now, holds)
	waits = s.queues(Copyable, "GET")
	for range 2 {
		s.now = s.now.Add(5 * time.Second)
		s.Silent(s.now, holds)
	}
	require.Equal(s.t, Tripped, s.suspects[0].state)
	s.does(s.call(Once, "POST"), Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	require.Empty(s.t, s.Todo().Copies)
	return holds, waits
}

// As long as nobody knows whether those that have the places are served slowly or not at all, a request
// that waits for a place is not copied. It is once they have been silent for as long again as at the trip.
func TestAWaitForAPlaceIsCopiedOnceThePlacesHaveBeenHeldForTwiceAsLong(t *testing.T) {
	s := newScene(t)
	_, waits := s.full()
	s.ticks(15*time.Second - 1)
	assert.Nil(t, waits.Call.copy)
	s.after(1)
	require.NotNil(t, waits.Call.copy)
	fresh := s.Candidate()
	s.Answered(s.now, waits.Call.copy)
	assert.EqualValues(t, 1, s.Current())
	s.after(answerGap)
	assert.Equal(t, fresh, s.Current(), "it waits to this moment, so the upstream has not come back for it")
}

// An answer in service shows that the places change hands, though it may be too old to end the streak.
func TestAnAnswerInServiceExcusesTheWaitForAPlaceAnew(t *testing.T) {
	s := newScene(t)
	old := s.does(s.call(Once, "POST"), Send)
	_, waits := s.full()
	s.ticks(10 * time.Second)
	s.Answered(s.now, old)
	require.NotEmpty(t, s.suspects)
	s.ticks(s.Patience(s.now, old.Call.Authority) - 1) // which is longer now
	assert.Nil(t, waits.Call.copy)
	s.after(1)
	assert.NotNil(t, waits.Call.copy)
}

// How long the oldest attempt had held its place counts for no more than silence takes to trip.
func TestAWaitForAPlaceIsExcusedForNoLongerThanSilenceTakesToTrip(t *testing.T) {
	s := newScene(t)
	s.does(s.call(Once, "POST"), Send)
	s.now = s.now.Add(time.Hour)
	_, waits := s.full()
	s.ticks(15 * time.Second)
	assert.NotNil(t, waits.Call.copy)
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

// Whoever has its place has its head start from then on.
func TestAHeadStartBeginsWithThePlace(t *testing.T) {
	s := newScene(t)
	holds, waits := s.full()
	s.ticks(5 * time.Second)
	s.Failed(s.now, holds, Outcome{Left: true})
	s.Placed(s.now, waits)
	s.ticks(time.Second - 1)
	assert.Nil(t, waits.Call.copy)
	s.after(1)
	assert.NotNil(t, waits.Call.copy)
}

// A connection that was got without a wait ends the wait for a place as well.
func TestAConnectionIsAPlace(t *testing.T) {
	s := newScene(t)
	_, waits := s.full()
	s.Connected(s.now, waits)
	s.ticks(time.Second)
	assert.NotNil(t, waits.Call.copy)
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
			assert.Equal(t, []*Attempt{control}, s.Todo().Recall, "the next copy decides")
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
	late := Outcome{Verdict: Stall, Trigger: "stall", Left: true, Queued: true}
	for name, tt := range map[string]struct {
		silent time.Duration
		proves bool
	}{"too short": {time.Second - 1, false}, "long enough": {time.Second, true}} {
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
			s.Failed(s.now, control, Outcome{Verdict: Stall, Trigger: "stall", Queued: true})
			assert.Equal(t, tt.proves, s.Current() == fresh)
		})
	}
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
