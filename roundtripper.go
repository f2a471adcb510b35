package respawn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Version is the version of this package, as its telemetry reports it.
const Version = "0.1.0"

// ErrClosed is what requests get after [RecoveringRoundTripper.Close].
var ErrClosed error = &kindError{"closed", "the RecoveringRoundTripper is closed"}

// A RecoveringRoundTripper is an [http.RoundTripper] that replaces the
// transport under it when that is dead. It is made by [New], safe for
// concurrent use, and meant to be shared for the life of the process.
type RecoveringRoundTripper struct {
	cfg       config  // read-only after New
	factory   Factory // likewise
	telemetry *telemetry

	// All that the healthy path reads: the generation in service, nil once
	// closed, and whether anything at all is suspected or under way.
	current atomic.Pointer[generation]
	alert   atomic.Bool

	// clock orders attempts, counted failures and recreations causally. It
	// advances under mu.
	clock atomic.Uint64

	producing atomic.Int32 // calls of the factory that have not returned

	// mu guards all below, and the recreation and the streaks they point to.
	// It is held for loads and stores only: never across I/O, the factory, a
	// callback of any kind, or a log.
	mu      sync.Mutex
	closed  bool
	streaks streakTable
	running *recreation // at most one
	retired map[*generation]struct{}

	// When the next recreation may be.
	pace        pace      // of the client: promotions and failing factories
	spacedUntil time.Time // of everybody, after an upstream's rejection
	settledAt   time.Time
	ageTimer    *time.Timer

	// What Health tells.
	last          *generation // after Close
	promotions    int
	rejections    int
	lastFailure   failureNote
	lastRejection rejection
}

type failureNote struct {
	at        time.Time
	authority authority
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
		base = newDefaultTransport()
	}
	if isNil(base) {
		return nil, fmt.Errorf("respawn: New: base is a nil %T: pass a transport, or a plain nil for the default", base)
	}
	if sameInstance(base, cfg.fallback) {
		return nil, errors.New("respawn: New: WithFallback: the fallback is base itself: it would be closed with it")
	}
	factory := cfg.factory
	if factory == nil {
		t, ok := base.(*http.Transport)
		if !ok {
			return nil, fmt.Errorf("respawn: New: a %T cannot be built again: say how with WithFactory", base)
		}
		factory = func(context.Context) (http.RoundTripper, error) { return cloneTransport(t), nil }
	}
	rt := &RecoveringRoundTripper{cfg: cfg, factory: factory, retired: make(map[*generation]struct{})}
	if rt.telemetry, err = newTelemetry(rt); err != nil {
		return nil, fmt.Errorf("respawn: New: %w", err)
	}
	g := newGeneration(base, cfg.drainTimeout)
	g.number = 1
	rt.current.Store(g)
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.refreshAlert()
	rt.armAge(g.born, false)
	return rt, nil
}

// newDefaultTransport has the pool of the session whose outage started this
// package (LiteLLM: 300 connections, 50 per host, keep-alive 120 s).
func newDefaultTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          300,
		MaxIdleConnsPerHost:   50,
		IdleConnTimeout:       120 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// cloneTransport is Clone without its two traps, both about HTTP/2.
func cloneTransport(t *http.Transport) *http.Transport {
	clone := t.Clone() // first: it also completes t.TLSNextProto
	switch _, shared := clone.TLSNextProto["h2"]; {
	case shared:
		// x/net's http2.ConfigureTransports was here. This entry leads to the
		// connection pool of t: the clone would dial, throw the connection
		// away and use the dead one.
		delete(clone.TLSNextProto, "h2")
		if len(clone.TLSNextProto) == 0 {
			clone.TLSNextProto = nil
		}
		clone.ForceAttemptHTTP2 = true
	case clone.TLSNextProto == nil && t.TLSNextProto["h2"] != nil:
		// net/http enabled HTTP/2 on t by itself, which left a TLSClientConfig
		// that offers it; the clone would take that for a custom one, offer
		// HTTP/2 and not speak it (golang/go#79418).
		clone.ForceAttemptHTTP2 = true
	}
	return clone
}

// RoundTrip implements [http.RoundTripper]. It returns the transport's own
// response and error. It blocks as long as the transport does, and after a
// failure until the trial of a fresh transport has its verdict, but never past
// the request's context.
func (rt *RecoveringRoundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	g, slot, ok := rt.enter()
	if !ok {
		closeBody(req)
		return nil, ErrClosed
	}
	// The healthy path: no lock, no clock, no httptrace and no copy, but for a
	// body that could not be sent twice.
	if rt.alert.Load() || g.hasEnded() || rt.cfg.replay.needsShield(req) {
		g.leave(slot)
		return rt.newCall(req).run()
	}
	resp, err := g.transport.RoundTrip(req)
	if err != nil {
		g.leave(slot)
		c := rt.newCall(req)
		c.lent, c.sent = true, 1
		if err := c.served(&attempt{gen: g, req: req, err: err}); err != nil {
			return nil, err
		}
		return c.run()
	}
	if rt.alert.Load() {
		rt.succeeded(req.Context(), g, authorityOf(req.URL))
	}
	return g.track(resp, slot, nil), nil
}

// enter counts a request in on the generation in service.
func (rt *RecoveringRoundTripper) enter() (*generation, uint32, bool) {
	for {
		g := rt.current.Load()
		if g == nil {
			return nil, 0, false
		}
		if slot, ok := g.enter(); ok {
			return g, slot, true
		}
		// It was retired in between, so its successor is in place.
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// A call is one RoundTrip off the healthy path, over all its attempts.
type call struct {
	rt        *RecoveringRoundTripper
	req       *http.Request // the caller's, never changed
	authority authority

	shot *oneShot // shields a body that cannot be sent twice; nil if there is none
	lent bool     // an attempt has had the body

	sent    int      // attempts, trials among them
	last    *attempt // the latest that failed on the transport in service
	verdict Verdict  // of last
	err     error    // the caller's, if nothing better comes

	hadVerdict bool      // has seen a recreation through that was rejected
	readyBy    time.Time // WithWaitForReady: until when; zero before the first wait
}

func (rt *RecoveringRoundTripper) newCall(req *http.Request) *call {
	c := &call{rt: rt, req: req, authority: authorityOf(req.URL)}
	if rt.cfg.replay.needsShield(req) {
		c.shot = &oneShot{body: req.Body}
	}
	return c
}

// A step is what a call does next.
type step int

const (
	stepSend     step = iota // on the transport in service
	stepTrial                // on the candidate
	stepVerdict              // wait for the running recreation
	stepWindow               // wait out the backoff
	stepFallback             // on the fallback, and be done
	stepGiveUp               // return c.err
	stepClosed
)

// run takes the call through its attempts.
func (c *call) run() (*http.Response, error) {
	defer c.settleBody()
	for {
		var resp *http.Response
		var err error
		switch step, w := c.next(); step {
		case stepSend:
			resp, err = c.sendOn(w)
		case stepTrial:
			resp, err = c.try(w.recreation, w.candidate)
		case stepVerdict:
			w.candidate, err = c.awaitVerdict(w)
			if w.candidate != nil {
				resp, err = c.try(w.recreation, w.candidate)
			}
		case stepWindow:
			err = c.awaitWindow(w)
		case stepFallback:
			return c.sendFallback()
		case stepGiveUp:
			return nil, c.err
		case stepClosed:
			return nil, ErrClosed
		}
		if resp != nil || err != nil {
			return resp, err
		}
	}
}

// A way is what the next step needs to know.
type way struct {
	watch      bool // the authority is under suspicion
	recreation *recreation
	candidate  *generation
	limited    bool          // wait only as long as WithWaitForReady says
	until      time.Time     // the end of the backoff window
	over       chan struct{} // closed when the trip ends
}

// next decides the next step. It is where the rules are: who is the trial, who
// waits, who is left alone.
func (c *call) next() (step, way) {
	rt := c.rt
	first := c.last == nil // nothing failed on the transport in service
	g := rt.current.Load()
	if g == nil {
		return stepClosed, way{}
	}
	ended := g.hasEnded()
	if ended {
		rt.tripEnded(c, g)
	}
	if first && !rt.alert.Load() {
		return stepSend, way{}
	}

	now := time.Now()
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.closed {
		return stepClosed, way{}
	}
	rt.streaks.forget(now)
	s, r := rt.streaks.get(c.authority), rt.running
	w := way{watch: s != nil, recreation: r}
	spent := c.sent > rt.cfg.threshold // threshold + 1 attempts for one request

	// The authority is well, or is not known to be bad yet.
	if s == nil || !s.tripped {
		switch {
		case spent:
			return stepGiveUp, w
		case r != nil && r.planned && w.take():
			return stepTrial, w // on its way anyway: it proves the planned candidate
		case first, c.last.gen != rt.current.Load(), c.verdict != Stall:
			return stepSend, w
		}
		return stepGiveUp, w // a slow upstream is not asked twice as often
	}

	// It is tripped. One attempt makes the trial, when it is time.
	waits := rt.cfg.waitForReady > 0 && (c.readyBy.IsZero() || now.Before(c.readyBy))
	w.over, w.until = s.over, rt.dueAt(s)
	if !spent && (!c.hadVerdict || waits) {
		switch {
		case r != nil && w.take():
			return stepTrial, w
		case r == nil && rt.due(s, now):
			w.recreation = rt.newTrial(c.req.Context(), s)
			go rt.build(w.recreation)
			return stepVerdict, w
		case r != nil && (c.mayWait(r) || ended && first):
			return stepVerdict, w
		case r != nil && waits && !first:
			w.limited = true
			return stepVerdict, w
		case r == nil && waits && (!first || ended):
			return stepWindow, w
		}
	}

	// No trial for this one: as if respawn were not there, or the fallback.
	switch {
	case rt.cfg.fallback != nil:
		return stepFallback, w
	case first && !spent:
		return stepSend, w
	}
	return stepGiveUp, w
}

// take takes the baton if the candidate lies ready.
func (w *way) take() bool {
	select {
	case w.candidate = <-w.recreation.baton:
		return true
	default:
		return false
	}
}

// mayWait reports whether a request that failed waits for the verdict of r.
// The first trial of an outage is worth waiting for. Later ones only if the
// wait runs beside the attempt and not after it, so that during an outage
// nobody's wait is doubled.
func (c *call) mayWait(r *recreation) bool {
	return c.last != nil && (r.first || c.last.began >= r.clock)
}

// sendOn makes an attempt on the transport in service.
func (c *call) sendOn(w way) (*http.Response, error) {
	g, slot, ok := c.rt.enter()
	if !ok {
		return nil, ErrClosed
	}
	a := &attempt{gen: g, began: c.rt.clock.Load()}
	resp, err := c.send(a, slot, w.watch, nil)
	if err != nil {
		return nil, err
	}
	if a.err != nil {
		return nil, c.served(a)
	}
	if c.rt.alert.Load() {
		c.rt.succeeded(c.req.Context(), g, c.authority)
	}
	return resp, nil
}

// served judges a failed attempt on the transport in service. It returns the
// error that the caller gets, or nil if the call may go on.
func (c *call) served(a *attempt) error {
	c.last, c.err = a, a.err
	c.verdict = c.rt.cfg.classify(a.req, a.err)
	if c.verdict == Neutral {
		if gone, _ := callerGone(c.req); a.watched && !gone {
			c.rt.cleared(c, a)
		}
		return a.err
	}
	c.rt.failed(c, a, c.verdict)
	if !c.mayGoOn(a) {
		return a.err
	}
	return nil
}

// mayGoOn reports whether the caller is still there and sending again is safe.
func (c *call) mayGoOn(a *attempt) bool {
	if gone, _ := callerGone(c.req); gone {
		return false
	}
	return c.rt.cfg.replay.replayable(c.req, a) && c.bodyLeft()
}

// try makes the trial. A nil response with a nil error means that the call
// goes on elsewhere.
func (c *call) try(r *recreation, candidate *generation) (*http.Response, error) {
	rt := c.rt
	slot, ok := candidate.enter()
	if !ok {
		return nil, nil // called off in the meantime
	}
	limit := time.AfterFunc(rt.trialLimit(r), func() { rt.settle(r, errTrialTimeout) })
	defer limit.Stop()
	a := &attempt{gen: candidate, began: rt.clock.Load()}
	resp, err := c.send(a, slot, true, func(p phase) { rt.proved(r, a, p) })
	if err != nil {
		rt.disproved(r, a, false)
		return nil, err
	}
	if a.err == nil {
		rt.proved(r, a, phaseAnswered) // for those that fire no httptrace
		rt.succeeded(c.req.Context(), candidate, c.authority)
		return resp, nil
	}
	if rt.current.Load() == candidate {
		return nil, c.served(a) // promoted by its connection; this is the next story
	}

	gone, _ := callerGone(c.req)
	rt.disproved(r, a, !gone && !(r.planned && rt.suspects(c.authority)))
	c.hadVerdict = true
	if !c.mayGoOn(a) {
		return nil, a.err
	}
	if c.last == nil {
		c.err = a.err
	}
	return nil, nil
}

func (rt *RecoveringRoundTripper) suspects(a authority) bool {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.streaks.get(a) != nil
}

// awaitVerdict waits for the candidate or, if another attempt has it, for what
// becomes of it.
func (c *call) awaitVerdict(w way) (*generation, error) {
	var limit <-chan time.Time
	if w.limited {
		timer := time.NewTimer(c.patience())
		defer timer.Stop()
		limit = timer.C
	}
	select {
	case candidate := <-w.recreation.baton:
		return candidate, nil
	case <-w.recreation.done:
		if w.recreation.err != nil {
			c.hadVerdict = true
		}
	case <-limit:
	case <-c.req.Context().Done():
		return nil, c.gaveUp()
	case <-c.req.Cancel:
		return nil, c.gaveUp()
	}
	return nil, nil
}

// awaitWindow waits until the next trial may be made, or the trip is over.
func (c *call) awaitWindow(w way) error {
	timer := time.NewTimer(min(time.Until(w.until), c.patience()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.over:
	case <-c.req.Context().Done():
		return c.gaveUp()
	case <-c.req.Cancel:
		return c.gaveUp()
	}
	return nil
}

// patience is what is left of WithWaitForReady, counted from the first wait.
func (c *call) patience() time.Duration {
	if c.readyBy.IsZero() {
		c.readyBy = time.Now().Add(c.rt.cfg.waitForReady)
	}
	return time.Until(c.readyBy)
}

var errCanceled = errors.New("respawn: request canceled while waiting for a fresh transport")

// gaveUp is the error for a caller that left while the call was waiting.
func (c *call) gaveUp() error {
	if c.err != nil {
		return c.err
	}
	if err := context.Cause(c.req.Context()); err != nil {
		return err
	}
	return errCanceled
}

// sendFallback makes the last attempt, off the books.
func (c *call) sendFallback() (*http.Response, error) {
	req, err := c.dress()
	if err != nil {
		return nil, err
	}
	c.resent()
	resp, err := c.rt.cfg.fallback.RoundTrip(req)
	return c.undress(resp, req), err
}

// send makes attempt a with a request of its own. The transport's error is in
// a.err; an error returned means that nothing could be sent.
func (c *call) send(a *attempt, slot uint32, watch bool, proved func(phase)) (*http.Response, error) {
	req, err := c.dress()
	if err != nil {
		a.gen.leave(slot)
		return nil, err
	}
	var after func()
	if a.gen.cut != nil {
		req, after = a.gen.severable(req)
	}
	if watch {
		req = a.watch(req, proved)
	}
	a.req = req
	c.resent()
	c.sent++
	resp, err := a.gen.transport.RoundTrip(req)
	if resp == nil && err == nil {
		err = fmt.Errorf("respawn: %T returned a nil *Response with a nil error", a.gen.transport)
	}
	if err != nil {
		a.err = err
		a.gen.leave(slot)
		if after != nil {
			after()
		}
		return nil, nil
	}
	return a.gen.track(c.undress(resp, req), slot, after), nil
}

// dress returns the request for one attempt: the caller's own, or a copy with
// a body that can be read.
func (c *call) dress() (*http.Request, error) {
	body := c.req.Body
	switch {
	case c.shot != nil:
		lent, ok := c.shot.lend()
		if !ok {
			return nil, c.err
		}
		body = lent
	case !c.lent || !hasBody(c.req):
		c.lent = true
		return c.req, nil
	default:
		again, err := c.req.GetBody()
		if err != nil {
			return nil, c.err // the transport's, which the caller can do more with
		}
		body = again
	}
	c.lent = true
	req := c.req.WithContext(c.req.Context())
	req.Body = body
	return req, nil
}

// undress gives the caller its own request back.
func (c *call) undress(resp *http.Response, sent *http.Request) *http.Response {
	if resp != nil && resp.Request == sent {
		resp.Request = c.req
	}
	return resp
}

// bodyLeft reports whether the body can be had once more.
func (c *call) bodyLeft() bool {
	switch {
	case !hasBody(c.req) || c.req.GetBody != nil:
		return true
	case c.shot != nil:
		return c.shot.unread()
	}
	return !c.lent
}

// settleBody leaves the caller's body closed, or to the transport to close.
func (c *call) settleBody() {
	switch {
	case c.shot != nil:
		c.shot.release()
	case !c.lent:
		closeBody(c.req)
	}
}

// resent counts an attempt that is not the request's first.
func (c *call) resent() {
	if c.sent > 0 {
		c.rt.telemetry.resent(c.req.Context(), c.sent)
	}
}

// CloseIdleConnections closes the idle connections of the transport in
// service, if it can. [http.Client.CloseIdleConnections] calls it.
func (rt *RecoveringRoundTripper) CloseIdleConnections() {
	if g := rt.current.Load(); g != nil {
		g.closeIdle()
	}
}

// WrappedRoundTripper returns the transport in service, or the last one after
// Close, for code that unwraps RoundTrippers as Kubernetes does. It may be
// retired at any time: do not keep it.
func (rt *RecoveringRoundTripper) WrappedRoundTripper() http.RoundTripper {
	if g := rt.current.Load(); g != nil {
		return g.transport
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.last.transport
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
	for _, s := range rt.streaks.m {
		rt.streaks.end(s)
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
	return rt.telemetry.close()
}
