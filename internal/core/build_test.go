package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What comes late about a candidate that is over is not about the next one.
func TestLateWordOfACandidateIsNotAboutTheNext(t *testing.T) {
	d := Draw{Interval: time.Hour}
	for name, late := range map[string]func(s *scene, id uint64){
		"drawn":     func(s *scene, id uint64) { s.Drawn(id, d) },
		"not built": func(s *scene, id uint64) { s.NotBuilt(s.now, id, "factory_error", d) },
		"spoiled":   func(s *scene, id uint64) { s.Spoiled(s.now, id) },
		"built":     func(s *scene, id uint64) { s.Built(s.now, id, false, d) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			late(s, 7) // there is no candidate at all
			s.Recreate(s.now, &Order{})
			first := s.cand.id
			s.tripped("a.test", Wait)
			o := &Order{}
			s.Abandon(s.now, s.orders[0])
			s.Recreate(s.now, o)
			require.Equal(t, first+1, s.Candidate())
			s.Todo()
			late(s, first)
			require.Equal(t, first+1, s.Candidate())
			assert.Equal(t, Building, s.cand.stage)
			assert.Zero(t, s.cand.draw)
			assert.Equal(t, name == "built", len(s.Todo().Retire) == 1)
			s.Spoiled(s.now, first+1)
			require.Equal(t, first+1, s.Candidate(), "it is not there yet")
			s.Built(s.now, first+1, false, Draw{Interval: time.Second})
			late(s, first)
			require.Equal(t, first+1, s.Candidate())
			if name != "spoiled" {
				late(s, first+1)
				require.Equal(t, first+1, s.Candidate(), "it is there already")
				assert.Equal(t, time.Second, s.cand.draw)
			}
		})
	}
}

// What was not sent goes again, unless the client is closed.
func TestWhatWasNotSentIsCalledBack(t *testing.T) {
	for name, closed := range map[string]bool{"in time": false, "after Close": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.tripped("a.test", Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			q := s.call(Copyable, "GET")
			s.refused(s.does(q, Send))
			trial := s.does(q, Try)
			if closed {
				trial = s.does(s.call(Copyable, "GET"), Send) // as if it had tried what was promoted
				s.Close(s.now)
			}
			s.Todo()
			s.NotSent(s.now, trial)
			s.NotSent(s.now, trial) // once
			assert.Equal(t, !closed, len(s.Todo().Recall) == 1)
		})
	}
}

// Orders that wait for their turn are answered by Close, and so are those that come later.
func TestCloseAnswersAllOrders(t *testing.T) {
	s := newScene(t)
	orders := []*Order{{}, {}, {}}
	s.Recreate(s.now, orders[0])
	s.Built(s.now, s.cand.id, false, Draw{})
	s.Recreate(s.now, orders[1])
	require.Zero(t, orders[1].Candidate(), "it waits for its turn")
	s.Close(s.now)
	s.Recreate(s.now, orders[2])
	assert.Equal(t, orders, s.Todo().Done)
	for _, o := range orders {
		kind, done := o.Done()
		assert.True(t, done)
		assert.Equal(t, ClosedMeanwhile, kind)
	}
}

// Who gives up an order that waits for its turn leaves the other's candidate alone.
func TestGivingUpAnOrderThatWaitsForItsTurnEndsNothing(t *testing.T) {
	s := newScene(t)
	first, second := &Order{}, &Order{}
	s.Recreate(s.now, first)
	s.Built(s.now, s.cand.id, false, Draw{})
	s.Recreate(s.now, second)
	s.Abandon(s.now, second)
	assert.Equal(t, first.Candidate(), s.Candidate())
}

// What was drawn with a build counts, though the build is called off, and whatever else has
// tripped since.
func TestTheIntervalOfABuildThatIsCalledOffCounts(t *testing.T) {
	for name, news := range map[string]bool{"alone": false, "another authority trips meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.tripped("a.test", Wait)
			s.Drawn(s.cand.id, Draw{Interval: time.Minute})
			if news {
				s.tripped("b.test", Wait)
			}
			o := &Order{}
			s.Recreate(s.now, o) // which ends it
			s.Abandon(s.now, o)
			require.Nil(t, s.cand)
			assert.Equal(t, s.now.Add(time.Minute), s.View(s.now, 0).NextBuild)
		})
	}
}

// A candidate that nobody wants any more when it is built is let go at once.
func TestACandidateThatIsBuiltTooLateIsRetired(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	late := s.Candidate()
	s.Answered(s.now, s.does(s.call(Once, "POST"), Send))
	require.Equal(t, late, s.Candidate())
	s.Built(s.now, late, false, Draw{Interval: time.Second})
	assert.Zero(t, s.Candidate())
	assert.Equal(t, []uint64{late}, s.Todo().Retire)
}

// A build that fails is followed by the next, for those who wait in silence, as soon as the
// backoff allows it.
func TestAFailedBuildIsRepeatedForWhoWaitsInSilence(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Copyable, "GET"), Send)})
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
	require.Equal(t, s.now.Add(time.Second), s.Deadline())
	s.Todo()
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	assert.NotNil(t, s.Todo().Build)
}

// A trial that was not sent holds back nobody.
func TestATrialThatWasNotSentHoldsBackNoCopy(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Repeatable, "PUT"), Send)})
	put := s.call(Repeatable, "PUT")
	s.does(put, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.does(s.call(Copyable, "GET"), Send)
	s.now = s.now.Add(500 * time.Millisecond)
	trial := s.does(put, Try)
	s.now = s.now.Add(500 * time.Millisecond)
	s.Tick(s.now)
	require.Empty(t, s.Todo().Copies)
	s.NotSent(s.now, trial)
	assert.Len(t, s.Todo().Copies, 1)
}
