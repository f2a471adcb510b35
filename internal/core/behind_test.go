package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// leftBehind: a request waits on a transport that was replaced, and was sent again in service.
func (s *scene) leftBehind() (behind, again *Attempt) {
	s.t.Helper()
	control, copied := s.tried()
	s.Answered(s.now, control)
	s.refused(s.asks())
	behind = s.asks()
	s.Answered(s.now, copied)
	require.Equal(s.t, copied.On, s.Current())
	for range 3 {
		s.now = s.now.Add(5 * time.Second)
		s.Silent(s.now, behind)
	}
	require.Equal(s.t, []*Call{behind.Call}, s.Todo().Part)
	return behind, s.does(behind.Call, Send)
}

// Whatever becomes of the one, the other does not go on for a caller that has its answer. No
// less when the client is closed: else its transport would be in use for ever.
func TestNothingIsLeftBehindForWhoHasItsAnswer(t *testing.T) {
	for name, end := range map[string]func(*scene, *Attempt){
		"answered": func(s *scene, a *Attempt) { s.Answered(s.now, a) },
		"lost":     func(s *scene, a *Attempt) { s.Failed(s.now, a, lost) },
		"canceled": func(s *scene, a *Attempt) { s.Failed(s.now, a, Outcome{Left: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			behind, again := s.leftBehind()
			s.Close(s.now)
			end(s, again)
			assert.Equal(t, []*Attempt{behind}, s.Todo().Recall)
		})
	}
}

// A trial that gets no answer goes on when its candidate is rejected, since it was sent. When
// the next one is promoted it moves there, though its request has no attempt left: it left the
// transport in service for the client's sake, and would wait for ever.
func TestATrialOnARejectedCandidateMovesToThePromotedOne(t *testing.T) {
	for name, k := range map[string]Kind{"GET": Copyable, "PUT": Repeatable} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			q := s.call(k, name)
			for range 3 {
				s.refused(s.does(q, Send))
			}
			s.does(q, Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			s.refused(s.does(q, Send)) // its control
			trial := s.does(q, Try)
			s.Connected(s.now, trial)

			s.now = s.now.Add(time.Minute)
			s.Tick(s.now)
			late := s.call(Copyable, "GET")
			s.refused(s.does(late, Send))
			s.does(late, GiveUp)
			require.Zero(t, s.Candidate(), "the trial has had its time")

			s.now = s.now.Add(time.Second)
			other := s.call(Copyable, "GET")
			s.refused(s.does(other, Send))
			s.does(other, Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			s.refused(s.does(other, Send))
			s.Answered(s.now, s.does(other, Try))

			again := s.does(q, Send)
			assert.Equal(t, s.Current(), again.On)
		})
	}
}

// renewed: what is in service is replaced by plan.
func (s *scene) renewed() {
	s.t.Helper()
	before := s.Current()
	s.Todo()
	_, copied := s.tried()
	s.Answered(s.now, copied)
	require.Greater(s.t, s.Current(), before)
}

// A GET makes its last attempt on a candidate that another authority's proof puts in service, and
// that is then replaced by plan and stays silent. Nothing else would end the wait of a caller
// without a deadline, so that it moves all the same. A PUT may not be in two places: its last
// attempt stays, since an upstream may take longer to answer than transports serve.
func TestWhoIsSilentOnAReplacedTransportMovesWithItsLastAttempt(t *testing.T) {
	for name, k := range map[string]Kind{"GET": Copyable, "PUT": Repeatable} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			q := s.call(k, name)
			for range 3 {
				s.refused(s.does(q, Send))
			}
			s.does(q, Wait)
			s.tripped("b.test", Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			s.refused(s.does(q, Send)) // its control
			last := s.does(q, Try)
			other := s.call(Copyable, "GET")
			other.Authority.Host = "b.test"
			s.refused(s.does(other, Send))
			s.Answered(s.now, s.does(other, Try))
			require.Equal(t, last.On, s.Current())
			s.Answered(s.now, s.asks())

			for range 2 { // replaced by plan, and again
				s.renewed()
				for range 3 {
					s.Todo()
					s.now = s.now.Add(5 * time.Second)
					s.Silent(s.now, last)
				}
				todo := s.Todo()
				moves := len(todo.Part) + len(todo.Recall)
				if k == Repeatable {
					assert.Zero(t, moves)
					return
				}
				require.Equal(t, 1, moves)
				last = s.does(q, Send)
			}
		})
	}
}

// Where nobody has proved that a transport is dead, a request that may not be in two places waits
// there for its caller's deadline, if there is one. One that may be in two places moves all the same.
func TestWhoHasADeadlineAndMayNotBeInTwoPlacesStaysOnAReplacedTransport(t *testing.T) {
	for _, tt := range []struct {
		kind     Kind
		deadline bool
		moves    bool
	}{{Copyable, true, true}, {Copyable, false, true}, {Repeatable, true, false}, {Repeatable, false, true}} {
		s := newScene(t)
		q := s.call(tt.kind, "PUT")
		if tt.deadline {
			q.Deadline = s.now.Add(time.Hour)
		}
		waiting := s.does(q, Send)
		s.Recreate(s.now, &Order{})
		s.Built(s.now, s.cand.id, true, Draw{})
		require.NotEqual(t, waiting.On, s.Current())
		s.Todo()
		s.silent([]*Attempt{waiting})
		todo := s.Todo()
		assert.Equal(t, tt.moves, len(todo.Part)+len(todo.Recall) == 1, "%+v", tt)
	}
}

// A request that was sent again, and waits on in the transport that it left, gains no attempt by
// that.
func TestWhatIsLeftBehindGainsItsRequestNoAttempt(t *testing.T) {
	s := newScene(t)
	behind, again := s.leftBehind()
	attempts := again.Call.attempts
	s.silent([]*Attempt{behind})
	assert.Equal(t, attempts, again.Call.attempts)
}

// Nor does one that waits to be moved, since it has no attempt left for that.
func TestWhatWaitsToBeMovedGainsNoAttempt(t *testing.T) {
	s := newScene(t)
	waiting := s.asks()
	waiting.Call.Deadline = s.now.Add(time.Hour)
	s.offered("a.test")
	waiting.Call.attempts = 5
	s.Answered(s.now, s.tries(s.call(Copyable, "GET")))
	s.Condemned(s.now, waiting)
	s.silent([]*Attempt{waiting})
	assert.Equal(t, 5, waiting.Call.attempts)
}
