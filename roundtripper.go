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
// request is tried on a freshly built candidate, and on the transport in service
// as well: the control. Only where the control fails, or stays silent, and the
// candidate answers, is there a swap: the candidate becomes the current
// transport, and the old one retires: what is in flight on it finishes. Where the
// control is answered the transport was not dead; where both fail the upstream is
// down. Then all pooled connections stay, and the next trial waits for the
// backoff. Requests that failed meanwhile wait for the verdict and are sent again
// if that is safe.
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

// ErrClosed is what requests get after [RecoveringRoundTripper.Close].
var ErrClosed error = gate.ErrClosed

// ErrDrained is what requests and bodies get that [WithDrainTimeout] cuts. One whose
// caller has given up gets the transport's own error.
var ErrDrained error = generation.ErrDrained

// A RecoveringRoundTripper is an [http.RoundTripper] that replaces the
// transport under it when that is dead. It is made by [New], safe for
// concurrent use, and meant to be shared for the life of the process. The zero
// value is closed.
type RecoveringRoundTripper struct {
	cfg       config // read-only after New, as all but the gate
	gate      gate.Gate
	calls     call.Maker
	started   time.Time
	telemetry *telemetry
	records   records
}

// New returns a RoundTripper that serves from base until base is dead, and
// from what the factory builds after that. Without options it is right for
// most [*http.Transport] bases.
//
// A nil base is [NewTransport]. With [WithFactory] it is what the factory gives, so
// that nothing goes around a tunnel: there is no transport until the first request,
// [RecoveringRoundTripper.Recreate] or [Middleware] has it built. Requests wait for
// that; where the factory fails they get its error, until the backoff lets the next one
// try. [RecoveringRoundTripper.Health] has generation 0 until then. It is a start, no
// outage: its trigger is [TriggerStart], and no warning is logged unless it fails.
//
// Base belongs to respawn from then on, which closes its idle connections, and
// base itself if it has a Close, once it is replaced. Only the pool of
// [http.DefaultTransport] is left alone.
//
// Without [WithFactory] a fresh transport is a clone of base with an HTTP/2
// pool of its own. Settings made through golang.org/x/net/http2 cannot be carried
// over: a base that has any is cloned with the pings of NewTransport in place of a
// ReadIdleTimeout, which is logged. Protocols added by RegisterProtocol are not carried
// over, either. Base itself is never changed; New logs, at Info, that one has no
// HTTP/2 pings. A base that is no
// *http.Transport cannot be cloned and is an error without a factory: put respawn
// beneath a wrapper such as otelhttp's, or say how with WithFactory. Errors, too, are
// every option that makes no sense, and a base or a fallback that goes through a
// RecoveringRoundTripper already, where that can be seen (WrappedRoundTripper).
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
	case build.SameInstance(base, cfg.Fallback):
		return nil, errors.New("respawn: New: WithFallback: the fallback is base itself: it would be closed with it")
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
	for layer := range build.Layers(t) {
		if rt, ok := layer.(*RecoveringRoundTripper); ok {
			return rt
		}
	}
	return nil
}

// RoundTrip implements [http.RoundTripper]. It returns the transport's own
// response and error. It blocks as long as the transport does, and after a
// failure until the trial of a fresh transport has its verdict, but never past
// the request's context.
func (rt *RecoveringRoundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	// The healthy path: no lock, no clock, no httptrace and no copy, but for what
	// can be sent only once. Every check comes before the request is counted in: an
	// atomic addition holds up the processor until it is done.
	g := rt.gate.Current()
	if g == nil {
		return nil, shut(req)
	}
	if rt.gate.Alert() != nil && rt.suspects(req) || g.Ended() {
		return rt.calls.Do(req)
	}
	if (!body.IsPlainGet(req) || rt.cfg.Replay == body.Unsent) && rt.watches(req) {
		return rt.calls.Watched(req, g)
	}
	if rt.gate.Waits.Accompanies(req.Context()) {
		return rt.calls.Accompanied(req, g)
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
		rt.calls.Answered(req, g, began)
	}
	return s.Track(req, resp), nil
}

// watches reports whether req has to be watched from its first attempt, as the
// client and req's own context have it.
func (rt *RecoveringRoundTripper) watches(req *http.Request) bool {
	return rt.cfg.Replay.NeedsWatch(req) && rt.cfg.ReplayOf(req).NeedsWatch(req)
}

// suspects reports whether req has to ask the core: its authority is not known to
// be well, or something is under way that concerns everybody.
func (rt *RecoveringRoundTripper) suspects(req *http.Request) bool {
	a := rt.gate.Alert()
	return a != nil && a.Covers(evidence.AuthorityOf(req.URL))
}

// shut is what a request gets after Close.
func shut(req *http.Request) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return ErrClosed
}

// CloseIdleConnections closes the idle connections of the transport in
// service, or of what it wraps (WrappedRoundTripper) if it cannot itself; the pool of
// [http.DefaultTransport] behind a wrapper is left alone.
// [http.Client.CloseIdleConnections] calls it.
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

// WrappedRoundTripper returns the transport in service, or the last one after
// Close, for code that unwraps RoundTrippers as Kubernetes does. It may be
// retired at any time: do not keep it. It is nil for the zero value, and as long as
// there is no transport yet.
func (rt *RecoveringRoundTripper) WrappedRoundTripper() http.RoundTripper {
	if g := rt.gate.Last(); g != nil && g.Number > 0 {
		return g.Transport
	}
	return nil
}

// Recreate replaces the transport now, whatever the backoff says: after
// credentials were rotated, on SIGHUP. It blocks until the fresh transport is
// in service or was rejected; calls at the same time make one. If nothing is in
// flight the fresh transport is promoted as it is. Otherwise an answer must prove
// it: that of a copy of a request that can be copied (GET, HEAD, OPTIONS or TRACE
// without a body) while the transport in service answers the caller. Where none
// such comes for half of [WithRecreateTimeout], one other request is sent on the
// fresh transport first. Where nobody proves it by the end of
// WithRecreateTimeout, it is promoted all the same, unless the transport in
// service answered what it did not.
//
// A call that joins one whose factory is at work already gets what that one
// builds: if what it reads, a certificate say, may have changed since, call
// again.
//
// A non-nil error means that the current transport stays: the factory's or the
// trial's error, ctx's, or [ErrClosed]. Recreate is safe for concurrent use.
func (rt *RecoveringRoundTripper) Recreate(ctx context.Context) error {
	return rt.gate.Recreate(ctx)
}

// Close retires the transport: later requests get [ErrClosed], those in flight
// finish, and then the transport is closed. Close does not wait for that. With
// nothing in flight the transport is closed when Close returns; one whose own Close
// hangs is left behind after a second. Close may be called more than once, and its
// error is always nil.
func (rt *RecoveringRoundTripper) Close() error {
	if rt.shut() {
		rt.gate.Settle()
	}
	return nil
}

// Shutdown is [RecoveringRoundTripper.Close], and waits: until all that is in flight,
// on transports that were replaced before, too, has finished, and those transports'
// own Close has returned. If ctx ends first Shutdown returns its error, and what is in
// flight still finishes; [WithDrainTimeout] bounds that. It may be called more than
// once, also after Close, and is safe for concurrent use.
func (rt *RecoveringRoundTripper) Shutdown(ctx context.Context) error {
	rt.shut()
	return rt.gate.Wait(ctx)
}

// shut closes the client, and reports whether it was open.
func (rt *RecoveringRoundTripper) shut() bool {
	closes := rt.gate.Close()
	if closes {
		rt.telemetry.close()
	}
	return closes
}
