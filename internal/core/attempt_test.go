package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What tries the candidate goes on in service once that has answered its authority; but not
// what may have been processed and can be asked only once, nor what is never sent again.
func TestWhatTriesGoesOnInServiceWhereThatIsSafe(t *testing.T) {
	for name, tt := range map[string]struct {
		kind                   Kind
		asked, connected, back bool
	}{
		"a PUT that was sent":                          {kind: Repeatable, asked: true, connected: true, back: true},
		"a PUT that was sent, and is never sent again": {kind: Sealed, asked: true, connected: true},
		"a PUT that is never sent again, even unsent":  {kind: Sealed, asked: true},
		"a POST that was sent":                         {kind: Once, asked: true, connected: true},
		"a POST that was not sent":                     {kind: Once, asked: true, back: true},
		"a POST that may have been sent":               {kind: Once},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
			s.does(s.call(Once, "POST"), Wait)
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			q := s.call(tt.kind, "TRIES")
			trial := s.does(q, Try)
			if tt.asked {
				s.Asks(trial, false)
			}
			if tt.connected {
				s.Connected(s.now, trial)
			}
			s.Todo()
			s.Answered(s.now, s.asks())
			require.Empty(t, s.Suspects())
			assert.Equal(t, tt.back, len(s.Todo().Recall) == 1)
		})
	}
}

// A copy is no attempt of its request: to call it back gives the request none.
func TestACopyThatIsCalledBackIsNoAttempt(t *testing.T) {
	s := newScene(t)
	waiting, copied := s.dark(1)
	before := waiting[0].Call.attempts
	s.NotSent(s.now, copied)
	assert.Equal(t, before, waiting[0].Call.attempts)
}

// A candidate may make way in the very event in which it was to get a copy: that copy is
// not sent, and there is nothing of it to be called back.
func TestACopyIsNotSentToACandidateThatMakesWayAtOnce(t *testing.T) {
	s := newScene(t)
	to := func(host string) *Attempt {
		q := s.call(Copyable, "GET")
		q.Authority.Host = host
		return s.does(q, Send)
	}
	a, b := []*Attempt{to("a.test"), to("a.test")}, []*Attempt{to("b.test"), to("b.test")}
	s.silent(append(a, b...))
	first := s.Candidate()
	s.Built(s.now, first, false, Draw{Interval: time.Second})
	copies := s.Todo().Copies
	require.Len(t, copies, 2)
	s.Failed(s.now, copies[1], lost)
	require.True(t, s.cand.refusedBy(b[0].Call.Authority))
	s.Todo()
	s.now = s.now.Add(time.Second) // a's next copy is due, and so is b's next candidate
	s.Silent(s.now, b[0])
	require.NotEqual(t, first, s.Candidate())
	todo := s.Todo()
	assert.Empty(t, todo.Copies)
	assert.Equal(t, copies[:1], todo.Recall)
}

// An attempt leaves its list once, however many of those who are done with it say so.
func TestAnAttemptLeavesItsListOnce(t *testing.T) {
	var l attempts
	all := make([]Attempt, 3)
	for i := range all {
		l.add(&all[i])
	}
	all[0].remove()
	all[0].remove()
	assert.Equal(t, 2, l.n)
	all[1].remove()
	all[0].remove()
	assert.Equal(t, attempts{first: &all[2], last: &all[2], n: 1}, l)
}

// Who is called back from a trial, because the transport in service answers again, goes on
// there as if it had not failed before: also if that was a stall, after which it would not ask
// the same transport again.
func TestWhoIsCalledBackFromATrialGoesOnInService(t *testing.T) {
	s := newScene(t)
	s.offered("a.test")
	q := s.call(Repeatable, "PUT")
	s.Failed(s.now, s.does(q, Send), Outcome{Verdict: Stall, Trigger: "timeout", Again: true})
	s.does(q, Try)
	s.after(headStart)
	s.Answered(s.now, s.asks())
	require.False(t, q.Flying())
	s.does(q, Send)
}
