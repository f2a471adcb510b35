package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A copy that tries a planned candidate when another authority's answer promotes that goes
// on only if its request has nothing else.
func TestACopyOfAPlannedCandidateGoesOnOnlyForWhoNeedsIt(t *testing.T) {
	for name, tt := range map[string]struct {
		control func(*scene, *Attempt)
		goesOn  bool
	}{
		"its control is under way": {func(*scene, *Attempt) {}, false},
		"its control was answered": {func(s *scene, a *Attempt) { s.Answered(s.now, a) }, false},
		"its control has failed":   {func(s *scene, a *Attempt) { s.Failed(s.now, a, lost) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			control, copied := s.tried()
			tt.control(s, control)
			other := s.call(Copyable, "GET")
			other.Authority.Host = "b.test"
			s.does(other, Send)
			copies := s.Todo().Copies
			require.Len(t, copies, 1)
			fresh := s.Candidate()
			s.Answered(s.now, copies[0])
			require.Equal(t, fresh, s.Current())
			if tt.goesOn {
				assert.NotContains(t, s.Todo().Recall, copied)
				assert.Same(t, copied, copied.Call.main)
				assert.False(t, copied.Copy())
			} else {
				assert.Contains(t, s.Todo().Recall, copied)
			}
		})
	}
}

// What waits on a transport that was replaced is moved only if it may be sent again.
func TestWhatIsSealedStaysWhereItWaits(t *testing.T) {
	for name, sealed := range map[string]bool{"it may go again": false, "it is never sent again": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			q := s.call(Copyable, "GET")
			q.Sealed = sealed
			waits := s.does(q, Send)
			s.silent([]*Attempt{waits})
			other := s.call(Copyable, "GET")
			s.does(other, Send)
			for s.Current() == 1 && s.now.Before(simStart.Add(time.Hour)) {
				if copies := s.Todo().Copies; len(copies) > 0 && copies[0].Call == other {
					s.Answered(s.now, copies[0])
				} else if s.cand != nil && s.cand.stage == Building {
					s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
				}
				s.now = s.now.Add(time.Second)
				s.Tick(s.now)
			}
			require.NotEqualValues(t, 1, s.Current())
			assert.Equal(t, sealed, q.main == waits)
		})
	}
}

// After a promotion by plan, silences on what was replaced condemn it as they would trip an
// authority: so many, over so long.
func TestSilencesBehindCountAsThoseInService(t *testing.T) {
	for span, moves := range map[time.Duration]bool{time.Second: true, 2 * time.Second: true, time.Second - 1: false} {
		s := newScene(t)
		waits := s.does(s.call(Copyable, "GET"), Send)
		s.Recreate(s.now, &Order{})
		s.Built(s.now, s.cand.id, true, Draw{}) // nothing else is in flight
		require.NotEqualValues(t, 1, s.Current())
		for i := range 3 {
			assert.Empty(t, s.Todo().Part)
			s.Silent(simStart.Add(time.Hour+span*time.Duration(i)/2), waits)
		}
		assert.Equal(t, moves, len(s.Todo().Part) == 1, span)
	}
}

// Nobody moves from where it is well, or once all is closed.
func TestOnlyWhatWasReplacedIsCondemned(t *testing.T) {
	s := newScene(t)
	a := s.does(s.call(Copyable, "GET"), Send)
	s.now = s.now.Add(time.Minute)
	s.Condemned(s.now, a)
	todo := s.Todo()
	assert.Empty(t, todo.Part)
	assert.Empty(t, todo.Recall)
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, true, Draw{})
	s.Close(s.now)
	s.Condemned(s.now, a)
	assert.Empty(t, s.Todo().Part)
}
