package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A scene is a core, told by hand what happens at one instant.
type scene struct {
	*Client
	t   *testing.T
	now time.Time
}

func newScene(t *testing.T) *scene {
	r := Rules{Threshold: 3, Stalls: 3, StallSpan: time.Second, Patience: 5 * time.Second, RecreateTimeout: 10 * time.Second}
	return &scene{New(r, simStart, 0), t, simStart}
}

func (s *scene) call(k Kind, method string) *Call {
	return &Call{Authority: Authority{Scheme: "http", Host: "a.test", Port: "80"}, Method: method, Kind: k}
}

// callTo is a call to another authority.
func (s *scene) callTo(host string, k Kind, method string) *Call {
	q := s.call(k, method)
	q.Authority.Host = host
	return q
}

// offered: an authority has tripped, and the candidate that was built for it is ready.
func (s *scene) offered(host string) {
	s.t.Helper()
	s.tripped(host, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
}

// tries: q, whose authority has been offered a candidate, fails in service, and tries that.
func (s *scene) tries(q *Call) *Attempt {
	s.t.Helper()
	s.refused(s.does(q, Send))
	return s.does(q, Try)
}

// after lets time pass.
func (s *scene) after(d time.Duration) {
	s.hands()
	s.now = s.now.Add(d)
	s.Tick(s.now)
	s.hands()
}

// ticks lets time pass, and does what is due at each deadline.
func (s *scene) ticks(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.hands()
		at := first(s.Deadline(), end)
		s.now = earlier(end, later(at, s.now))
		s.Tick(s.now)
		if at.Equal(end) {
			return
		}
	}
}

// hands gives the copies that are to be sent to their transports.
func (s *scene) hands() {
	for _, a := range s.todo.Copies {
		if a.held {
			s.Handed(s.now, a)
		}
	}
}

func (s *scene) Todo() Todo {
	s.hands()
	return s.Client.Todo()
}

// does asks what q does next.
func (s *scene) does(q *Call, want Do) *Attempt {
	s.t.Helper()
	step := s.Next(s.now, q)
	require.Equal(s.t, want, step.Do)
	if step.Attempt != nil {
		s.Handed(s.now, step.Attempt)
	}
	return step.Attempt
}

func (s *scene) refused(a *Attempt) {
	s.Failed(s.now, a, Outcome{Verdict: Failure, Trigger: "connection_refused", Unsent: true, Again: true})
}

// replaced: q, whose authority has tripped, gets a fresh transport built, and proves it.
func (s *scene) replaced(q *Call) {
	s.t.Helper()
	s.refused(s.does(q, Send))
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.refused(s.does(q, Send))
	s.Answered(s.now, s.does(q, Try))
	require.Nil(s.t, s.suspect(q.Authority))
}

// The last two attempts are those of who met the outage. It may be over before its
// goroutine, on a busy machine, asks for them.
func TestWhoMetAnOutageHasItsLastAttemptsAlsoWhenItIsOver(t *testing.T) {
	t.Run("its own failure tripped it", func(t *testing.T) {
		s := newScene(t)
		q := s.call(Copyable, "GET")
		for range 3 {
			s.refused(s.does(q, Send))
		}
		s.replaced(s.call(Copyable, "GET"))
		a := s.does(q, Send)
		assert.Equal(t, s.current, a.On)
	})
	t.Run("its own failure tripped it, and an answer in service ended it", func(t *testing.T) {
		s := newScene(t)
		q := s.call(Copyable, "GET")
		s.refused(s.does(q, Send))
		s.refused(s.does(q, Send))
		last, other := s.does(q, Send), s.asks()
		s.refused(last)
		s.Answered(s.now, other)
		require.Nil(t, s.suspect(q.Authority))
		s.does(q, Send)
	})
	for name, k := range map[string]Kind{"GET": Copyable, "POST": Once} {
		t.Run("its "+name+" was under way when the transport was replaced by plan", func(t *testing.T) {
			s := newScene(t)
			q := s.call(k, name)
			s.refused(s.does(q, Send))
			s.refused(s.does(q, Send))
			last := s.does(q, Send)
			s.refused(s.asks())
			require.True(t, s.suspect(q.Authority).outage())
			s.Recreate(s.now, &Order{})
			s.Built(s.now, s.cand.id, true, Draw{Interval: time.Second})
			require.NotEqual(t, last.On, s.Current())
			s.Answered(s.now, s.asks())
			require.Nil(t, s.suspect(q.Authority))
			s.refused(last)
			s.does(q, Send)
		})
	}
	for name, k := range map[string]Kind{"GET": Copyable, "POST": Once} {
		t.Run("its "+name+" was under way meanwhile", func(t *testing.T) {
			s := newScene(t)
			q := s.call(k, name)
			s.refused(s.does(q, Send))
			s.refused(s.does(q, Send))
			last := s.does(q, Send)
			s.replaced(s.call(Copyable, "GET"))
			s.refused(last)
			a := s.does(q, Send)
			assert.Equal(t, s.current, a.On)
		})
	}
}

// On a busy machine a dead tunnel may take seconds to say so. Who has lost its request
// to one, unsent, does not wait for the verdict of others that have a connection.
func TestWhatWasSlowToBeLostGoesWhereOthersHaveAConnection(t *testing.T) {
	for name, k := range map[string]Kind{"GET": Copyable, "PUT": Repeatable, "POST": Once} {
		for _, connected := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, connected=%v", name, connected), func(t *testing.T) {
				s := newScene(t)
				q, other := s.call(k, name), s.call(Copyable, "GET")
				slow := s.does(q, Send)
				for range 3 {
					s.refused(s.does(other, Send))
				}
				s.does(other, Wait)
				s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
				s.refused(s.does(other, Send))
				trial := s.does(other, Try)
				if connected {
					s.Connected(s.now, trial)
				}
				s.now = s.now.Add(2 * time.Second)
				s.Tick(s.now)
				s.refused(slow)
				if !connected {
					s.does(q, Wait)
					return
				}
				s.refused(s.does(q, Send)) // its control
				s.does(q, Try)
			})
		}
	}
}

// A transport may be replaced while a request is under way, and the next one be dead, too:
// what failed on the first may still be answered.
func TestWhatFailedOnAReplacedTransportIsAskedInServiceThoughThatHasTripped(t *testing.T) {
	s := newScene(t)
	q := s.call(Copyable, "GET")
	old := s.does(q, Send)
	order := &Order{}
	s.Recreate(s.now, order)
	s.Built(s.now, s.cand.id, true, Draw{Interval: time.Second})
	require.NotEqual(t, old.On, s.current)
	other := s.call(Copyable, "GET")
	for range 3 {
		s.refused(s.does(other, Send))
	}
	s.does(other, Wait)
	s.refused(old)
	a := s.does(q, Send)
	assert.Equal(t, s.current, a.On)
	s.refused(a)
	s.does(q, Wait) // with the others
}

// Hosts that share a tunnel seldom trip at once. Whom it fails for the last time after it was
// replaced for another one is answered by its successor all the same. After a plan, nobody has
// shown that what was replaced was dead.
func TestWhoFailsOnWhatWasReplacedForAnotherHasItsLastAttempts(t *testing.T) {
	for name, k := range map[string]Kind{"GET": Copyable, "PUT": Repeatable, "POST": Once} {
		for _, need := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, need=%v", name, need), func(t *testing.T) {
				s := newScene(t)
				q := s.call(k, name)
				for range s.rules.Threshold - 1 {
					s.refused(s.does(q, Send))
				}
				last := s.does(q, Send)
				if need {
					s.offered("b.test")
					s.Answered(s.now, s.tries(s.callTo("b.test", Copyable, "GET")))
				} else {
					s.Recreate(s.now, &Order{})
					s.Built(s.now, s.cand.id, true, Draw{Interval: time.Second})
				}
				require.NotEqual(t, last.On, s.current)
				s.refused(last)
				if !need {
					s.does(q, GiveUp)
					return
				}
				assert.Equal(t, s.current, s.does(q, Send).On)
			})
		}
	}
}
