package test

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// A crowd is a steady load on pools of few places (MaxConnsPerHost).
type crowd struct {
	name     string
	places   int
	every    time.Duration // between two requests, on average
	deadline time.Duration // 0: none
	posts    float64       // their share
	answers  time.Duration // what one takes, more or less
	long     time.Duration // what one takes that comes now and then; 0: none does
	longs    time.Duration // between those
}

// like draws a crowd of the same kind: each of its times is a little longer or shorter.
func (c crowd) like(d draw) crowd {
	for _, at := range []*time.Duration{&c.every, &c.deadline, &c.answers, &c.long, &c.longs} {
		*at = time.Duration((0.8 + 0.4*d.Float64()) * float64(*at))
	}
	return c
}

// endures sends the crowd through a client for four minutes. After one of them the transport dies, if it
// does: its connections lead nowhere, and its dials hang for half a minute. endures returns how often it was
// replaced, and how long after it died.
func (c crowd) endures(t *testing.T, seed uint64, dies bool) (swaps uint64, after time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		chance := rand.New(rand.NewPCG(seed, 7))
		draw := func() float64 {
			mu.Lock()
			defer mu.Unlock()
			return chance.Float64()
		}
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			takes := time.Duration(float64(c.answers) * (0.7 + 0.6*draw()))
			if req.URL.Path == "/long" {
				takes = c.long
			}
			select {
			case <-time.After(takes):
			case <-req.Context().Done():
			}
		}))
		limited := func() *http.Transport {
			tr := n.HTTP1()
			tr.MaxConnsPerHost, tr.MaxIdleConnsPerHost = c.places, c.places
			return tr
		}
		base, tunnel := limited(), &mortal{dial: n.DialContext}
		base.DialContext = tunnel.DialContext
		rt := start(t, base, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return limited() }).Make))

		all, stop := context.WithCancel(t.Context())
		send := func(path string, deadline time.Duration) {
			method := http.MethodGet
			if draw() < c.posts {
				method = http.MethodPost
			}
			go func() {
				ctx, cancel := context.WithCancel(all)
				if deadline > 0 {
					ctx, cancel = context.WithTimeout(all, deadline)
				}
				defer cancel()
				req := request(ctx, method, "http://a.test"+path, nil)
				if method == http.MethodPost {
					req = request(ctx, method, "http://a.test"+path, strings.NewReader(payload))
				}
				_, _ = testkit.Do(rt, req)
			}()
		}
		began, died, next := time.Now(), time.Time{}, c.longs
		for time.Since(began) < 4*time.Minute {
			time.Sleep(time.Duration(2 * draw() * float64(c.every)))
			if dies && died.IsZero() && time.Since(began) > time.Minute {
				tunnel.die()
				died = time.Now()
			}
			if c.long > 0 && time.Since(began) > next {
				next += c.longs
				send("/long", 0)
			}
			send("/", c.deadline)
			if after == 0 && rt.Health().Generation > 1 {
				after = time.Since(died)
			}
		}
		time.Sleep(5 * time.Minute)
		swaps = rt.Health().Generation - 1
		stop()
		rt.CloseIdleConnections()
		tunnel.close()
		time.Sleep(time.Minute) // dials end
	})
	return swaps, after
}

// A mortal is a dialer like a tunnel's that can die.
type mortal struct {
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	dead  atomic.Bool
	mu    sync.Mutex
	conns []*testnet.Conn
}

func (m *mortal) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.ConnectStart != nil {
		trace.ConnectStart(network, addr) // as net.Dialer says that it dials
	}
	if m.dead.Load() {
		select {
		case <-time.After(30 * time.Second):
		case <-ctx.Done():
		}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	c, err := m.dial(ctx, network, addr)
	if err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.conns = append(m.conns, c.(*testnet.Conn))
	}
	return c, err
}

func (m *mortal) die() {
	m.dead.Store(true)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		c.Link().Set(testnet.Faults{Drop: testnet.Both})
	}
}

func (m *mortal) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		_ = c.Close()
	}
}

// Whoever waits for a place in the transport's own pool waits for others, whether one of them takes long
// or there are too many of them. A fresh transport answers at once, since its pool is empty: that proves
// nothing, and two pools are not what the user's limit is for.
func TestAPoolThatIsFullReplacesNothing(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	for _, c := range []crowd{
		{name: "one takes long", places: 1, every: 500 * ms, answers: 10 * ms, long: 20 * s, longs: 60 * s},
		{name: "one takes long, with deadlines", places: 1, every: 500 * ms, deadline: 30 * s, answers: 10 * ms, long: 20 * s, longs: 60 * s},
		{name: "one takes long, POSTs", places: 1, every: 500 * ms, posts: 1, answers: 10 * ms, long: 20 * s, longs: 60 * s},
		{name: "one takes long, both", places: 1, every: 500 * ms, posts: 0.5, deadline: 30 * s, answers: 10 * ms, long: 20 * s, longs: 60 * s},
		{name: "some take long", places: 2, every: 500 * ms, answers: 10 * ms, long: 30 * s, longs: 20 * s},
		{name: "too many", places: 4, every: 1500 * ms, deadline: 30 * s, answers: 8 * s},
		{name: "too many, both", places: 4, every: 1500 * ms, posts: 0.5, deadline: 30 * s, answers: 8 * s},
		{name: "too many, in a hurry", places: 2, every: 250 * ms, deadline: 10 * s, answers: s},
		{name: "too many, both, in a hurry", places: 2, every: 200 * ms, posts: 0.5, deadline: 5 * s, answers: 500 * ms},
		{name: "far too many", places: 4, every: 1500 * ms, deadline: 10 * s, answers: 8 * s},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(10) {
				like := c.like(draw{rand.New(rand.NewPCG(seed, 12))})
				swaps, _ := like.endures(t, seed, false)
				assert.Zero(t, swaps, "draw %d: %+v", seed, like)
			}
		})
	}
}

// If it is dead, a transport whose pool is full is replaced, though most of its requests never had a place.
func TestADeadTransportWhosePoolIsFullIsReplaced(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	for _, c := range []crowd{
		{name: "GETs", places: 2, every: 500 * ms, answers: 10 * ms},
		{name: "GETs that wait for 30 s", places: 2, every: 500 * ms, deadline: 30 * s, answers: 10 * ms},
		{name: "POSTs", places: 2, every: 500 * ms, posts: 1, answers: 10 * ms},
		{name: "POSTs that wait for 30 s", places: 2, every: 500 * ms, posts: 1, deadline: 30 * s, answers: 10 * ms},
		{name: "both, that wait for 10 s", places: 8, every: 200 * ms, posts: 0.5, deadline: 10 * s, answers: 10 * ms},
		{name: "both, that wait for 2 s", places: 8, every: 200 * ms, posts: 0.5, deadline: 2 * s, answers: 10 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var all time.Duration
			const draws = 10
			for seed := range uint64(draws) {
				like := c.like(draw{rand.New(rand.NewPCG(seed, 12))})
				swaps, after := like.endures(t, seed, true)
				assert.EqualValues(t, 1, swaps, "draw %d: %+v", seed, like)
				all += after
			}
			t.Log("replaced after", all/draws)
			assert.LessOrEqual(t, all/draws, 30*time.Second)
		})
	}
}
