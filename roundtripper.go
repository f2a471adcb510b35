// Package respawn keeps a shared HTTP client alive.
//
// A transport can die for good: the HTTP/2 connection in its pool is a black
// hole, the tunnel under its dialer is gone, the session was closed. Every
// request fails from then on, while a fresh transport would work, and only a
// restart helps. A [RecoveringRoundTripper] is that restart, for one transport:
//
//	rt, err := respawn.New(client.Transport)
//	...
//	client.Transport = rt
//
// # Prove, then swap
//
// A swap costs every other host its warm connections, so a fresh transport must
// earn its place. When an authority (scheme, host and port) looks dead, one
// request is tried on a freshly built candidate. If it gets through, the
// candidate becomes the current transport, and the old one retires: what is in
// flight on it finishes. If it does not, the upstream is down and not the
// transport: the candidate is thrown away, and the next trial waits for the
// backoff. Requests that failed meanwhile wait for the verdict and are sent
// again if that is safe.
//
// While all is well respawn costs a few atomic operations and one small
// allocation per response body.
//
// # What it does not do
//
// It does not retry answers (5xx), break circuits, hedge, limit rates or
// balance load. Chain a library for that around it.
package respawn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/history"
	"github.com/respawnhttp/respawn/internal/streak"
)

// Version is the version of this package, as its telemetry reports it.
const Version = "0.1.0"

// ErrClosed is what requests get after [RecoveringRoundTripper.Close].
var ErrClosed error = &kindError{"closed", "respawn: the RoundTripper is closed"}

// A RecoveringRoundTripper is an [http.RoundTripper] that replaces the
// transport under it when that is dead. It is made by [New], safe for
// concurrent use, and meant to be shared for the life of the process.
type RecoveringRoundTripper struct {
	cfg       config // read-only after New
	builder   *build.Builder
	telemetry *telemetry

	// All that the healthy path reads: the generation in service, nil once
	// closed, and whether anything at all is suspected or under way.
	current atomic.Pointer[generation.Generation]
	alert   atomic.Bool

	// clock orders attempts, counted failures and recreations causally. It
	// advances under mu.
	clock atomic.Uint64

	// mu guards all below, and the recreation and the streaks they point to.
	// It is held for loads and stores only: never across I/O, the factory, a
	// callback of any kind, or a log.
	mu      sync.Mutex
	closed  bool
	streaks streak.Table
	running *recreation                          // at most one
	retired map[*generation.Generation]time.Time // since when

	// When the next recreation may be.
	pace        streak.Pace // of the client: promotions and failing factories
	spacedFrom  time.Time   // of everybody, after an upstream's rejection
	spacedUntil time.Time
	pacedAt     time.Time // when pace last advanced
	pacedWell   bool      // and whether that was a promotion
	ageTimer    *time.Timer
	agedAt      time.Time // when it fires

	// What Health tells.
	last          *generation.Generation // after Close
	promotions    int
	rejections    int
	lastFailure   failureNote
	lastRejection rejection
	history       history.Ring[RecreationRecord]
}

type failureNote struct {
	at        time.Time
	authority core.Authority
	trigger   string
}

type rejection struct {
	at      time.Time
	kind    string
	unbuilt bool // the factory gave no transport to try
}

// New returns a RoundTripper that serves from base until base is dead, and
// from what the factory builds after that. Without options it is right for
// most [*http.Transport] bases.
//
// A nil base is a fresh transport with a pool for a shared client: 300 idle
// connections, 50 per host, idle for 120 s, and HTTP/2 pings, which find a
// dead connection even for callers with long deadlines.
//
// Base belongs to respawn from then on, which closes its idle connections, and
// base itself if it has a Close, once it is replaced. Only the pool of
// [http.DefaultTransport] is left alone.
//
// Without [WithFactory] a fresh transport is a clone of base with an HTTP/2
// pool of its own: settings made through golang.org/x/net/http2 and protocols
// added by RegisterProtocol are not carried over. A base that is no
// *http.Transport cannot be cloned and is an error without a factory; so is
// every option that makes no sense.
func New(base http.RoundTripper, opts ...Option) (*RecoveringRoundTripper, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, fmt.Errorf("respawn: New: %w", err)
	}
	if base == nil {
		base = build.DefaultTransport()
	}
	if build.IsNil(base) {
		return nil, fmt.Errorf("respawn: New: base is a nil %T: pass a transport, or a plain nil for the default", base)
	}
	if build.SameInstance(base, cfg.Fallback) {
		return nil, errors.New("respawn: New: WithFallback: the fallback is base itself: it would be closed with it")
	}
	factory := cfg.Factory
	if factory == nil {
		t, ok := base.(*http.Transport)
		if !ok {
			return nil, fmt.Errorf("respawn: New: a %T cannot be built again: say how with WithFactory", base)
		}
		factory = func(context.Context) (http.RoundTripper, error) { return build.CloneTransport(t), nil }
	}
	rt := &RecoveringRoundTripper{cfg: cfg, retired: make(map[*generation.Generation]time.Time)}
	rt.builder = &build.Builder{
		Factory: factory, Limit: cfg.RecreateTimeout,
		InService: rt.inService,
		Discard:   func(product http.RoundTripper) { rt.retire(generation.New(product, cfg.DrainTimeout)) },
	}
	g := generation.New(base, cfg.DrainTimeout)
	g.Number = 1
	rt.current.Store(g) // before the gauges look
	if rt.telemetry, err = newTelemetry(rt); err != nil {
		return nil, fmt.Errorf("respawn: New: %w", err)
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.refreshAlert()
	rt.armAge(g.Born, nil)
	return rt, nil
}

// RoundTrip implements [http.RoundTripper]. It returns the transport's own
// response and error. It blocks as long as the transport does, and after a
// failure until the trial of a fresh transport has its verdict, but never past
// the request's context.
func (rt *RecoveringRoundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	// The healthy path: no lock, no clock, no httptrace and no copy, but for a
	// body that could not be sent twice. All that is asked here comes before the
	// count, which the processor would have to finish first, and body.Has spares
	// most requests a call.
	g := rt.current.Load()
	if g == nil || rt.alert.Load() || g.Ended() || body.Has(req) && rt.cfg.Replay.NeedsShield(req) {
		return rt.newCall(req).run()
	}
	s := g.Enter(req)
	if s == nil {
		return rt.newCall(req).run() // it was retired in between
	}
	resp, err := g.Transport.RoundTrip(req)
	if err != nil {
		s.Leave()
		c := rt.newCall(req)
		c.sent = 1
		c.body.Lent()
		if err := c.served(&attempt{gen: g, req: req, err: err}); err != nil {
			return nil, err
		}
		return c.run()
	}
	if rt.alert.Load() {
		rt.succeeded(req.Context(), g, evidence.AuthorityOf(req.URL), 0)
	}
	return s.Track(resp, nil), nil
}

// enter counts a request in on the generation in service. The stripe is nil
// once rt is closed.
func (rt *RecoveringRoundTripper) enter(req *http.Request) (*generation.Generation, *generation.Stripe) {
	for {
		g := rt.current.Load()
		if g == nil {
			return nil, nil
		}
		if s := g.Enter(req); s != nil {
			return g, s
		}
		// It was retired in between, so its successor is in place.
	}
}

// CloseIdleConnections closes the idle connections of the transport in
// service, if it can. [http.Client.CloseIdleConnections] calls it.
func (rt *RecoveringRoundTripper) CloseIdleConnections() {
	if g := rt.current.Load(); g != nil {
		if c, ok := g.Transport.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// WrappedRoundTripper returns the transport in service, or the last one after
// Close, for code that unwraps RoundTrippers as Kubernetes does. It may be
// retired at any time: do not keep it.
func (rt *RecoveringRoundTripper) WrappedRoundTripper() http.RoundTripper {
	if g := rt.current.Load(); g != nil {
		return g.Transport
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.last.Transport
}

// Close retires the transport: later requests get [ErrClosed], those in flight
// finish, and then the transport is closed. Close does not wait for that. It
// may be called more than once, and its error is always nil.
func (rt *RecoveringRoundTripper) Close() error {
	rt.mu.Lock()
	if rt.closed {
		rt.mu.Unlock()
		return nil
	}
	rt.closed = true
	rt.last = rt.current.Swap(nil)
	for s := range rt.streaks.All() {
		rt.streaks.End(s)
	}
	if rt.ageTimer != nil {
		rt.ageTimer.Stop()
	}
	r := rt.running
	rt.mu.Unlock()

	if r != nil {
		rt.abandon(r, ErrClosed)
	}
	rt.retire(rt.last)
	rt.telemetry.close()
	return nil
}
