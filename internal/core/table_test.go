package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A first build may take long, and nobody knows yet what the policy's interval is. The
// fallback serves meanwhile, and one request a second asks the transport in service.
func TestAFallbackServesWhileTheFirstCandidateIsBuilt(t *testing.T) {
	s := newScene(t)
	s.rules.Fallback = true
	s.tripped("a.test", Wait)
	sent := 0
	for range 50 {
		if s.Next(s.now, s.call(Copyable, "GET")).Do == Send {
			sent++
		}
		s.now = s.now.Add(100 * time.Millisecond)
	}
	assert.Equal(t, 5, sent)
}

// What is due by age is not begun after a build for the request that asks.
func TestWhatIsDueByAgeIsBuiltForWhoAsksToo(t *testing.T) {
	s := newScene(t)
	s.Client = New(s.rules, simStart, time.Minute)
	s.now = s.now.Add(time.Minute - 1)
	q := s.call(Copyable, "GET")
	for range 3 {
		s.refused(s.does(q, Send))
	}
	s.Todo()
	s.now = s.now.Add(1)
	s.does(q, Wait)
	todo := s.Todo()
	require.NotNil(t, todo.Build)
	assert.True(t, todo.Build.Planned)
	assert.Empty(t, todo.Reports, "nothing made way for it")
}

// A new GET to a silent authority has its copy after its head start, however many follow it.
func TestWhatIsSentToASilentAuthorityIsCopiedAfterItsHeadStart(t *testing.T) {
	s := newScene(t)
	s.dark(1)
	s.now = s.now.Add(2 * time.Second) // until then there is none after the first
	ripe := s.now.Add(headStart)
	s.asks()
	assert.Equal(t, ripe, s.Deadline())
	s.now = s.now.Add(headStart / 2)
	s.asks()
	assert.Equal(t, ripe, s.Deadline())
	s.after(headStart / 2)
	assert.Len(t, s.Todo().Copies, 1)
}

// What waits on a transport that was replaced, beside its call in service, ends with the
// call, and no sooner.
func TestWhatWasLeftBehindEndsWithItsCall(t *testing.T) {
	for name, tt := range map[string]struct {
		does     func(*scene, *Call)
		recalled bool
	}{
		"sent in service": {func(s *scene, q *Call) { s.does(q, Send) }, false},
		"waits": {func(s *scene, q *Call) {
			s.Ended(s.now, s.Current(), true)
			s.does(q, Wait)
		}, false},
		"gives up": {func(s *scene, q *Call) {
			s.Failed(s.now, s.does(q, Send), Outcome{Verdict: Failure, Trigger: "connection_reset"})
			s.does(q, GiveUp)
		}, true},
		"diverted": {func(s *scene, q *Call) {
			s.rules.Fallback = true
			s.Ended(s.now, s.Current(), true)
			s.does(s.call(Copyable, "GET"), Wait)
			s.does(q, Divert)
		}, true},
		"the client is closed": {func(s *scene, q *Call) {
			s.Close(s.now)
			s.does(q, Shut)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			waits := s.asks()
			s.Recreate(s.now, &Order{})
			s.Built(s.now, s.cand.id, true, Draw{})
			for range 3 {
				s.now = s.now.Add(time.Minute)
				s.Silent(s.now, waits)
			}
			require.Equal(t, []*Call{waits.Call}, s.Todo().Part)
			tt.does(s, waits.Call)
			assert.Equal(t, tt.recalled, len(s.Todo().Recall) == 1)
		})
	}
}

// An outage is not forgotten while somebody asks for its authority, though the fallback
// serves it.
func TestAnOutageLastsAsLongAsSomebodyAsks(t *testing.T) {
	s := newScene(t)
	s.rules.Fallback = true
	s.tripped("a.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Hour})
	for range 5 {
		s.after(outageFor / 2)
		s.Next(s.now, s.call(Copyable, "GET"))
	}
	require.Len(t, s.suspects, 1)
	s.after(outageFor)
	assert.Empty(t, s.suspects)
}

// Nor does a transport that has ended give anybody more attempts than there are.
func TestWhoHasNoAttemptLeftIsNotSentOnWhatHasEnded(t *testing.T) {
	s := newScene(t)
	s.Ended(s.now, s.Current(), false)
	s.does(s.call(Copyable, "GET"), Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Hour})
	q := s.call(Repeatable, "PUT")
	for range s.rules.Threshold + 2 {
		s.NotSent(s.now, s.does(q, Send))
	}
	s.does(q, GiveUp)
}

// Only a new request is left to the transport in service by the fallback: what has failed
// there goes to the fallback, also when the next new one is due.
func TestWhatHasFailedIsDivertedWheneverItMayGoAgain(t *testing.T) {
	s := newScene(t)
	s.rules.Fallback = true
	q := s.call(Copyable, "GET")
	for range 3 {
		s.refused(s.does(q, Send))
	}
	s.does(q, Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Minute})
	s.does(q, Divert)
	s.does(s.call(Copyable, "GET"), Send)
	s.does(s.call(Copyable, "GET"), Divert)
}
