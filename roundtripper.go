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
// A swap costs every other host its warm connections, so a fresh transport must earn
// its place. When an authority (scheme, host and port) looks dead, respawn builds a
// fresh transport, the candidate. One request is tried on the candidate, and on the
// transport in service as well, which is the control. There is a swap only if the
// control fails or stays silent while the candidate answers. The candidate then becomes
// the transport in service. The old transport retires: it gets no new requests, and
// those in flight on it finish. If the control is answered, the transport was not dead;
// if both fail, the upstream is down. In either case all pooled connections stay, and
// the next trial waits for the backoff. Requests that failed meanwhile wait for the
// verdict and are sent again if that is safe.
//
// While all is well, a request with a near deadline costs a few atomic operations and
// one small allocation for its response body. By default, a request with a distant
// deadline or none, or one that may be sent only once, costs three allocations or more:
// see [WithPatience] and [Replay].
//
// # What it does not do
//
// It does not retry answers (5xx), break circuits, hedge, limit rates or balance load.
// Chain a library that does so around it.
package respawn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/call"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/gate"
	"github.com/respawnhttp/respawn/internal/generation"
)

// Version is the version of this package, as its telemetry reports it.
const Version = "0.1.0"

// ErrClosed is the error of requests made after [RecoveringRoundTripper.Close].
var ErrClosed error = gate.ErrClosed

// ErrDrained is the error of requests and response bodies that [WithDrainTimeout] cuts.
// If the caller has given up by then, it gets the transport's own error instead.
var ErrDrained error = generation.ErrDrained

// A RecoveringRoundTripper is an [http.RoundTripper] that replaces the transport under
// it when that is dead. It is made by [New], safe for concurrent use, and meant to be
// shared for the life of the process. The zero value acts as a closed client.
type RecoveringRoundTripper struct {
	cfg       config // read-only after New, as all but the gate
	gate      gate.Gate
	calls     call.Maker
	started   time.Time
	telemetry *telemetry
	records   records
}

// New returns a RoundTripper that uses base until base is dead, and after that the
// transports that the factory builds. The defaults suit most [*http.Transport] bases.
//
// If base is nil, New uses what [NewTransport] returns. With a nil base and [WithFactory], the factory
// builds the first transport, too, so that no request goes around a tunnel. The first
// request, [RecoveringRoundTripper.Recreate] or [Middleware] starts that build, and
// requests wait for it. If the factory fails, requests get its error until the backoff
// allows the next attempt. Until there is a transport, [RecoveringRoundTripper.Health]
// reports generation 0. Such a start is no outage: its trigger is [TriggerStart], and
// no warning is logged unless the start fails.
//
// Base belongs to respawn from then on. Once base is replaced, respawn closes its idle
// connections and calls its Close, if it has one. Only the pool of
// [http.DefaultTransport] is left alone.
//
// Without [WithFactory] a fresh transport is a clone of base with an HTTP/2 pool of its
// own. Settings made through golang.org/x/net/http2 cannot be carried over: the clone
// of a base that has such settings gets the pings of NewTransport in place of a
// ReadIdleTimeout, and a log line says so. Protocols added by RegisterProtocol are not
// carried over, either. Base itself is never changed. If base sends no HTTP/2 pings,
// New logs that at Info.
//
// New returns an error if base is not an *http.Transport and there is no factory, since
// such a base cannot be cloned: put respawn beneath a wrapper such as otelhttp's, or
// set WithFactory. New also returns an error for every option that makes no sense, and
// for a base or a fallback that already goes through a RecoveringRoundTripper, as far
// as its WrappedRoundTripper method shows that.
func New(base http.RoundTripper, opts ...Option) (*RecoveringRoundTripper, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, fmt.Errorf("respawn: New: %w", err)
	}
	rt := &RecoveringRoundTripper{}
	switch {
	case base == nil && cfg.Factory != nil:
		base = build.Nothing{} // nothing goes around the factory
	case base == nil:
		base = NewTransport()
	}
	if build.IsNil(base) {
		return nil, fmt.Errorf("respawn: New: base is a nil %T: pass a transport, or a plain nil for the default", base)
	}
	switch {
	case within(base) != nil:
		return nil, errors.New("respawn: New: base goes through a RecoveringRoundTripper already: use that one, or give New what is beneath it")
	case within(cfg.Fallback) != nil:
		return nil, errors.New("respawn: New: WithFallback: the fallback goes through a RecoveringRoundTripper: give it what is beneath that")
	case cfg.Fallback != nil && build.Shares(base, cfg.Fallback):
		return nil, errors.New("respawn: New: WithFallback: the fallback is base itself, or shares a transport with base, which respawn closes once base is replaced: pass a different one")
	}
	if cfg.Factory == nil {
		t, ok := base.(*http.Transport)
		if !ok {
			return nil, fmt.Errorf("respawn: New: a %T cannot be built again: put respawn beneath it, or say how with WithFactory", base)
		}
		cloner := &build.Cloner{Base: t, Pinged: func() { rt.telemetry.pingsLost() }}
		cfg.Factory = cloner.Make
	}
	rt.cfg, rt.started = cfg, time.Now()
	if rt.telemetry, err = newTelemetry(rt); err != nil {
		return nil, fmt.Errorf("respawn: New: %w", err)
	}
	if t, ok := base.(*http.Transport); ok && build.Pingless(t) {
		build.Safely(rt.telemetry.pingless) // the logger is the user's
	}
	rt.calls = call.Maker{Config: &rt.cfg, Gate: &rt.gate, Listener: rt.telemetry}
	rt.gate.Open(&rt.cfg, rt, base, rt.telemetry)
	return rt, nil
}

// within returns the client that t is, or wraps, as far as t says what it wraps
// (WrappedRoundTripper); nil if there is none to be seen.
func within(t http.RoundTripper) *RecoveringRoundTripper {
	rt, _ := build.Outermost[*RecoveringRoundTripper](t)
	return rt
}

// RoundTrip implements [http.RoundTripper]. It returns the transport's own response and
// error. It blocks as long as the transport does. After a failure it also waits for the
// verdict on a fresh transport, but never past the request's context.
func (rt *RecoveringRoundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	// The healthy path: no lock, no clock, no httptrace and no copy, but for what
	// can be sent only once. Every check comes before the request is counted in: an
	// atomic addition holds up the processor until it is done.
	g := rt.gate.Current()
	if g == nil {
		return nil, turnAway(req)
	}
	alert := rt.gate.Alert()
	if alert != nil && alert.Covers(evidence.AuthorityOf(req.URL)) || g.Ended() {
		return rt.calls.Do(req)
	}
	if !body.IsPlainGet(req) || rt.cfg.Replay == body.Unsent {
		if replay, watch := rt.watches(req); watch {
			return rt.calls.Watched(req, replay, g, alert)
		}
	}
	if rt.gate.Waits.Accompanies(req.Context()) {
		return rt.calls.Accompanied(req, g, alert)
	}
	began := rt.gate.Clock()
	s := g.Enter(req)
	if s == nil {
		return rt.calls.Do(req) // the generation was retired in between
	}
	resp, err := g.RoundTrip(req, s)
	if err != nil {
		return rt.calls.Resume(req, g, began, resp, err)
	}
	if rt.gate.Alert() != nil {
		rt.calls.Answered(req, g, began, alert)
	}
	return s.Track(req, resp), nil
}

// watches reports whether req has to be watched from its first attempt, as the
// client and req's own context have it, and if so, how req may be sent again.
func (rt *RecoveringRoundTripper) watches(req *http.Request) (replay body.Replay, watch bool) {
	if !rt.cfg.Replay.NeedsWatch(req) {
		return 0, false
	}
	replay = rt.cfg.ReplayOf(req)
	return replay, replay.NeedsWatch(req)
}

// turnAway returns the error of a request after Close, and closes the request's body.
func turnAway(req *http.Request) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return ErrClosed
}

// CloseIdleConnections closes the idle connections of the transport in service. If that
// transport has no such method, those of the transport that it wraps
// (WrappedRoundTripper) are closed. The pool of [http.DefaultTransport] behind a
// wrapper is left alone. [http.Client.CloseIdleConnections] calls it.
func (rt *RecoveringRoundTripper) CloseIdleConnections() {
	g := rt.gate.Current()
	if g == nil {
		return
	}
	if c, ok := g.Transport.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
		return
	}
	build.CloseIdle(g.Transport)
}

// WrappedRoundTripper returns the transport in service, or after Close the last one,
// for code that unwraps RoundTrippers, as Kubernetes does. The transport may be retired
// at any time: do not keep it. The result is nil for the zero value, and until there is
// a transport.
func (rt *RecoveringRoundTripper) WrappedRoundTripper() http.RoundTripper {
	if g := rt.gate.Last(); g != nil && g.Number > 0 {
		return g.Transport
	}
	return nil
}

// Recreate replaces the transport now, whatever the backoff says: after a rotation of
// credentials, for example, or on SIGHUP. It blocks until the fresh transport is in
// service or was rejected; simultaneous calls share one recreation. If nothing is in
// flight, the fresh transport is promoted without proof. Otherwise an answer must prove
// it. A copy of the next request that can be copied (GET, HEAD, OPTIONS or TRACE without
// a body) is sent on it, while the transport in service answers the caller. If no such
// request comes for half of [WithRecreateTimeout], the next other request is sent on the
// fresh transport first. If there is no proof by the end of WithRecreateTimeout,
// the fresh transport is promoted all the same, unless the transport in service
// answered a request that the fresh one did not.
//
// A call that joins a recreation whose factory is already running gets the transport of
// that run. If the factory's input, for example a certificate, may have changed since
// it started, call Recreate again.
//
// When Recreate returns, [RecoveringRoundTripper.Recreations] has the record of the
// recreation. Its span, log lines and metrics may come a moment later: an exporter or a
// logger that blocks does not hold up Recreate.
//
// A non-nil error means that the current transport stays, unless ctx ended first and
// another call shares the recreation, which then goes on. The error is the factory's, the
// trial's, ctx's, or [ErrClosed]. Recreate is safe for concurrent use.
func (rt *RecoveringRoundTripper) Recreate(ctx context.Context) error {
	return rt.gate.Recreate(ctx)
}

// Close retires the transport: later requests get [ErrClosed], requests in flight
// finish, and then the transport is closed. Close does not wait for requests in flight.
// If there are none, the transport is closed by the time Close returns; if the
// transport's own Close hangs, or a logger, a tracer or a meter does, Close returns after a
// second. Close may be called more than once: only the first call waits for anything. Its
// error is always nil.
func (rt *RecoveringRoundTripper) Close() error {
	if told := rt.shut(); told != nil {
		rt.gate.Settle(told)
	}
	return nil
}

// Shutdown closes the client as [RecoveringRoundTripper.Close] does, and then waits
// until all requests in flight have finished, including those on transports that were
// replaced before, and until the transports' own Close has returned. If ctx ends first,
// Shutdown returns ctx's error; requests in flight still finish, and [WithDrainTimeout]
// bounds how long that takes. Shutdown may be called more than once, also after Close, and
// is safe for concurrent use.
func (rt *RecoveringRoundTripper) Shutdown(ctx context.Context) error {
	return rt.gate.Wait(ctx, rt.shut())
}

// shut closes the client. told is closed when that has been reported; nil: the client was
// closed before.
func (rt *RecoveringRoundTripper) shut() (told <-chan struct{}) {
	reported := rt.gate.Close()
	if reported == nil {
		return nil
	}
	rt.telemetry.unname()
	done := make(chan struct{})
	go func() { // a provider that is collecting holds it up, and may be what called Close
		defer close(done)
		rt.telemetry.close()
		<-reported
	}()
	return done
}
