package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
)

// A blow is a fault that a soak deals out, with what it may cost.
type blow struct {
	name  string
	fault fault
	swaps int  // that it calls for, no more and no less
	dark  bool // callers can only wait for their deadlines
}

// A stage is a world under the load of a soak: one sender for each kind of
// request. It judges every failure by the blow that came last.
type stage struct {
	*world
	t        *testing.T
	pulse    *pulse
	name     string
	deadline time.Duration
	blows    []blow
	rt       *respawn.RecoveringRoundTripper
	sent     map[kind]int // by sender, to number messages; only for the one sender
	senders  sync.WaitGroup

	mu       sync.Mutex
	requests int
	late     int
	unsafe   int
	cut      int
	starved  int
	last     blow
	at       time.Time // of the last blow; zero before the first
	calm     time.Time // when it was found to be over; zero before
	swaps    int       // that were called for so far
	cost     costs     // of the last blow
	errs     []error   // likewise
}

// A pulse beats every 10 ms, as long as its process gets a processor.
type pulse struct{ beats atomic.Int64 }

const heartbeat = 10 * time.Millisecond

func (p *pulse) run(quit <-chan struct{}) {
	for {
		select {
		case <-quit:
			return
		case <-time.After(heartbeat):
			p.beats.Add(1)
		}
	}
}

// stopped reports whether most of the time since an instant has passed without a beat. beats is how
// many the pulse had had by that instant.
func (p *pulse) stopped(since time.Time, beats int64) bool {
	return 2*time.Duration(p.beats.Load()-beats)*heartbeat < time.Since(since)
}

// costs are failed requests.
type costs struct{ late, unsafe, cut int }

// rest returns how long a stage is left alone after a blow. The stall rule has to notice the blow,
// and the backoff after its swap has to be over (see steady): otherwise the next swap would have to
// wait, and requests would fail meanwhile, as they should. The caller holds s.mu.
func (s *stage) rest() time.Duration {
	const backoff, margin = 1500 * time.Millisecond, time.Second
	if s.last.dark {
		return stallRule(s.deadline) + backoff + margin
	}
	return backoff + margin
}

// serve starts the senders, which stop when quit is closed.
func (s *stage) serve(pace time.Duration, quit <-chan struct{}) {
	c := client{RoundTripper: s.rt, url: s.url, deadline: s.deadline, name: s.name + " "}
	for k := range s.sent {
		s.senders.Go(func() {
			beat := time.NewTicker(pace)
			defer beat.Stop()
			n := s.sent[k]
			for {
				select {
				case <-quit:
					s.mu.Lock()
					s.sent[k] = n
					s.mu.Unlock()
					return
				case <-beat.C:
				}
				n++
				began, beats := time.Now(), s.pulse.beats.Load()
				err := c.send(k, fmt.Sprintf("%s%s#%d", c.name, k, n))
				s.judge(k, began, err, s.pulse.stopped(began, beats))
			}
		})
	}
}

// judge counts an outcome. A request may fail only if nobody may send it again or if, in the dark,
// its deadline passes. A deadline may also pass if the machine stood still.
func (s *stage) judge(k kind, began time.Time, err error, stoodStill bool) {
	ended := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if err == nil {
		return
	}
	s.errs = append(s.errs, err)
	struck := !s.at.IsZero() && (s.calm.IsZero() || began.Before(s.calm)) && ended.After(s.at)
	switch {
	case struck && s.last.dark && errors.As(err, new(lateError)):
		s.late++
		s.cost.late++
	case struck && errors.As(err, new(cutError)) && !errors.As(err, new(lateError)):
		s.cut++
		s.cost.cut++
	case struck && !k.idempotent() && !errors.As(err, new(lateError)):
		s.unsafe++
		s.cost.unsafe++
	case stoodStill && errors.As(err, new(lateError)):
		s.starved++
	default:
		s.t.Errorf("%s: a %s of %s failed %s after %q: %v", s.name, k, ended.Sub(began), ended.Sub(s.at), s.last.name, err)
	}
}

// ready reports whether the stage may be struck again. If so, it first checks what the last blow has
// cost. On a busy machine a stage can take longer than its rest to recover.
func (s *stage) ready() bool {
	health := s.rt.Health()
	s.mu.Lock()
	since, rest := time.Since(s.at), s.rest()
	// A request that still waits in the dark must not be taken for one of the next blow.
	over := health.State == respawn.StateHealthy && health.Promotions >= s.swaps && health.Draining == 0
	rested := since >= rest && (over || since >= rest+patience)
	if rested && s.calm.IsZero() {
		s.calm = time.Now()
		if s.way != nil {
			// The server learns of what the clients have closed in the dark, so
			// that nothing is left of it at the end.
			s.way.Heal()
		}
	}
	s.mu.Unlock()
	if !rested {
		return false
	}
	s.check()
	return true
}

// check asserts that the last blow has cost what it may, and called for the
// swaps that it must.
func (s *stage) check() {
	health := s.rt.Health()
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.Equal(s.t, s.swaps, health.Promotions, "%s: swaps in all, after %q", s.name, s.last.name)
	s.swaps = health.Promotions // one blow, one complaint
	assert.Equal(s.t, respawn.StateHealthy, health.State, "%s: after %q", s.name, s.last.name)
	assert.LessOrEqual(s.t, s.cost.late, mostLate(len(s.sent), s.deadline), "%s: deadlines that passed in %q", s.name, s.last.name)
	// A dead connection in a pool costs at most one such request, and a pool has one connection
	// for each sender.
	assert.LessOrEqual(s.t, s.cost.unsafe, len(s.sent), "%s: what its unsafe senders lost in %q: %v", s.name, s.last.name, s.errs)
	assert.LessOrEqual(s.t, s.cost.cut, len(s.sent), "%s: what its senders were reading in %q: %v", s.name, s.last.name, s.errs)
}

// strike deals out a blow.
func (s *stage) strike(b blow) {
	s.mu.Lock()
	s.last, s.at, s.calm, s.cost, s.errs = b, time.Now(), time.Time{}, costs{}, nil
	s.swaps += b.swaps
	s.mu.Unlock()
	b.fault(s.t, s.rt.WrappedRoundTripper())
	// What can be lost is lost from now on, and the rest begins.
	s.mu.Lock()
	s.at = time.Now()
	s.mu.Unlock()
}

// newHTTP1World is an upstream that speaks HTTP/1.1 in plain text, on a network
// that can break.
func newHTTP1World(r *report) *world {
	s := newServer(r)
	n := respawntest.NewNetwork(r.t)
	way := n.Serve("api.test:80", s.Handler)
	r.connectionsTo(way)
	return &world{
		r: r, server: s, url: "http://api.test/", way: way, cloned: true,
		build: factory(func(context.Context) (*http.Transport, error) {
			return &http.Transport{DialContext: n.DialContext, MaxIdleConnsPerHost: workers}, nil
		}),
	}
}

// newStages sets up all that a soak strikes.
func newStages(r *report) []*stage {
	h1, h2 := newHTTP1World(r), newHTTP2World(r, nil)
	frozen, freezer := newFrozenWorld(r, nil)
	ssh, sshd := newSSHWorld(r)
	session, sessions := newYamuxWorld(r)
	h3, h3Server := newHTTP3World(r, 0)
	conn := newClientConnWorld(r, protocols["h2"])
	unix := newUnixWorld(r)
	const deadline = 2 * time.Second // where blows are dark
	return []*stage{
		{world: h1, name: "HTTP/1.1", deadline: deadline, blows: []blow{
			{name: "connections reset", fault: h1.reset},
			{name: "connections dark", fault: h1.dark, dark: true}, // each is given up at the first deadline
		}},
		{world: h2, name: "HTTP/2", deadline: deadline, blows: []blow{
			{name: "connection reset", fault: h2.reset},
			{name: "GOAWAY", fault: h2.lastAnswer},
			{name: "connection dark", fault: h2.dark, dark: true, swaps: 1},
		}},
		{world: frozen, name: "HTTP/2 with PINGs", deadline: deadline, blows: []blow{
			{name: "connection dark but for PINGs", fault: freezer.freeze, dark: true, swaps: 1},
		}},
		{world: ssh, name: "SSH", deadline: deadline, blows: []blow{
			{name: "connection closed", fault: sshd.hungUp, swaps: 1},
			{name: "connection dark", fault: ssh.dark, dark: true, swaps: 1},
		}},
		{world: session, name: "yamux", deadline: patience, blows: []blow{
			{name: "session closed", fault: closed, swaps: 1},
			{name: "GOAWAY", fault: sessions.goAway, swaps: 1},
		}},
		{world: h3, name: "HTTP/3", deadline: deadline, blows: []blow{
			{name: "transport closed", fault: transportClosed, swaps: 1},
			{name: "socket closed", fault: socketClosed, swaps: 1},
			{name: "server restarted", fault: h3Server.relieved},
			{name: "server killed and started", fault: h3Server.restarted, dark: true, swaps: 1},
		}},
		{world: conn, name: "ClientConn", deadline: patience, blows: []blow{
			{name: "connection closed", fault: conn.hungUp, swaps: 1},
			{name: "GOAWAY", fault: conn.lastAnswer, swaps: 1},
		}},
		{world: unix.world, name: "unix socket", deadline: patience, blows: []blow{
			{name: "replaced", fault: unix.replaced},
			{name: "moved", fault: unix.moved, swaps: 1},
		}},
	}
}
