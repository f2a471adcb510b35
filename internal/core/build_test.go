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
