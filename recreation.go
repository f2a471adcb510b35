package respawn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/trace"
)

// A proof is what a candidate must show to be promoted: to get past the point
// where the attempts before it failed. An upstream that accepts and resets
// gives everyone a connection, so after such failures only an answer counts.
type proof int

const (
	proofConnection proof = iota
	proofAnswer
	proofFaster // an answer sooner than the stalled attempts had waited
)

// A recreation is one run from the trip to promotion or rejection.
type recreation struct {
	trigger   string
	authority authority // whose trip it was; zero when planned
	planned   bool      // by hand, by age or ahead of requests: nobody waits to be the trial
	proof     proof
	toBeat    time.Duration
	first     bool   // no trial of this outage has been rejected yet
	clock     uint64 // rt.clock at its start

	start      time.Time
	since      time.Time     // the outage's start; zero when there is none
	delay      time.Duration // the backoff interval that held it back
	failures   int
	generation uint64 // in service at its start
	links      []trace.SpanContext

	ctx    context.Context // carries the span once building has begun
	cancel context.CancelCauseFunc
	span   trace.Span

	// The candidate waits in the baton, and whoever takes it makes the trial:
	// so there is one at a time, however many would like to.
	baton chan *generation
	done  chan struct{} // closed at the verdict, when it has been told, too

	// Guarded by rt.mu; err can be read without it after done.
	candidate *generation // nil while the factory is at work
	settled   bool
	err       error // nil for a promotion
}

// newRecreation makes r the running recreation; the caller holds rt.mu, has
// seen that there is none, and starts rt.build(r) when it has let go of it.
func (rt *RecoveringRoundTripper) newRecreation(parent context.Context, trigger string) *recreation {
	r := &recreation{
		trigger:    trigger,
		clock:      rt.clock.Add(1),
		start:      time.Now(),
		generation: rt.current.Load().number,
		baton:      make(chan *generation, 1),
		done:       make(chan struct{}),
	}
	// A caller who gives up does not take the recreation with it.
	r.ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(parent))
	rt.running = r
	rt.refreshAlert()
	return r
}

// newTrial is newRecreation for a tripped authority.
func (rt *RecoveringRoundTripper) newTrial(parent context.Context, s *streak) *recreation {
	r := rt.newRecreation(parent, s.trigger)
	r.authority, r.since, r.links = s.authority, s.since, s.links
	r.proof, r.toBeat = s.proof, s.toBeat
	r.failures = max(s.failures, s.stalls)
	r.first = s.rejections == 0
	r.delay = max(rt.pace.interval, s.pace.interval)
	return r
}

// due reports whether the backoff allows s a recreation. It is reset when a
// generation has stayed healthy for at least the last interval.
func (rt *RecoveringRoundTripper) due(s *streak, now time.Time) bool {
	if s.since.Sub(rt.settledAt) >= rt.pace.interval {
		rt.pace = pace{}
	}
	return !now.Before(rt.dueAt(s))
}

func (rt *RecoveringRoundTripper) dueAt(s *streak) time.Time {
	at := rt.pace.notBefore
	for _, t := range []time.Time{s.pace.notBefore, rt.spacedUntil} {
		if t.After(at) {
			at = t
		}
	}
	return at
}

var (
	errFactoryTimeout = newKindError("factory_timeout", "the factory took longer than WithRecreateTimeout allows")
	errFactoryStuck   = newKindError("factory_stuck", "earlier calls of the factory have not returned: make it heed its context")
	errFactoryNil     = newKindError("factory_nil", "the factory returned a nil transport and no error")
	errFactoryReused  = newKindError("factory_reused", "the factory returned a transport that is in service already: return a new one each time")
	errFactoryShared  = newKindError("factory_shared", "the factory returned http.DefaultTransport, which belongs to the whole process: return a clone of it")
	errFactoryEnded   = newKindError("factory_ended", "the factory returned a transport that has ended already")
	errTrialTimeout   = newKindError("trial_timeout", "the fresh transport did not prove itself within WithRecreateTimeout")
	errUpstreamSlow   = newKindError("upstream_slow", "the fresh transport was no faster: the upstream is slow")
	errRecovered      = newKindError("recovered", "the current transport recovered by itself")
	errSuperseded     = newKindError("superseded", "a Recreate called for a newer transport")
)

// A kindError names its own error.type, as semconv's ErrorType asks for.
type kindError struct{ kind, text string }

func newKindError(kind, text string) error { return &kindError{kind, text} }
func (e *kindError) Error() string         { return "respawn: " + e.text }
func (e *kindError) ErrorType() string     { return e.kind }

// A panicError is a panic of the factory.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string     { return fmt.Sprintf("respawn: the factory panicked: %v", e.value) }
func (e *panicError) ErrorType() string { return "factory_panic" }

// build runs the factory and lays the candidate ready. It is the recreation's
// own goroutine.
func (rt *RecoveringRoundTripper) build(r *recreation) {
	defer r.cancel(nil)
	r.ctx, r.span = rt.telemetry.startSpan(r)
	candidate, err := rt.produce(r.ctx)
	if err != nil {
		rt.settle(r, err)
		return
	}
	rt.mu.Lock()
	r.candidate = candidate
	rt.mu.Unlock()
	if err := context.Cause(r.ctx); err != nil {
		rt.settle(r, err) // called off meanwhile
		return
	}
	if !r.planned {
		r.baton <- candidate
		return
	}

	// Nobody waits to be the trial. Where requests are on their way the next
	// one is; where there are none, there is nothing to prove it by.
	patience := rt.cfg.recreateTimeout
	if r.trigger == triggerEnded || r.trigger == triggerManual && rt.idle() {
		patience = 0
	}
	r.baton <- candidate
	if patience == 0 {
		rt.promoteUntried(r)
		return
	}
	time.AfterFunc(patience, func() { rt.promoteUntried(r) })
}

func (rt *RecoveringRoundTripper) idle() bool {
	g := rt.current.Load()
	return g == nil || g.inFlight() == 0
}

// promoteUntried promotes a planned candidate that no attempt has taken.
func (rt *RecoveringRoundTripper) promoteUntried(r *recreation) {
	select {
	case <-r.baton:
		rt.settle(r, nil)
	default:
	}
}

// maxStuck bounds the goroutines that a factory which ignores its context can
// hold.
const maxStuck = 8

// produce calls the factory under its time limit. A product that comes too
// late is closed.
func (rt *RecoveringRoundTripper) produce(ctx context.Context) (*generation, error) {
	if rt.producing.Add(1) > maxStuck {
		rt.producing.Add(-1)
		return nil, errFactoryStuck
	}
	ctx, cancel := context.WithTimeoutCause(ctx, rt.cfg.recreateTimeout, errFactoryTimeout)
	defer cancel()
	made := make(chan *generation)
	var err error // written before made is closed
	go func() {
		defer rt.producing.Add(-1)
		defer close(made)
		var product http.RoundTripper
		if product, err = callFactory(ctx, rt.factory); err != nil {
			return
		}
		if err = rt.inspect(product); err != nil {
			return // not ours: nothing to close
		}
		g := newGeneration(product, rt.cfg.drainTimeout)
		select {
		case made <- g:
		case <-ctx.Done():
			rt.retire(g)
		}
	}()
	select {
	case g, ok := <-made:
		if !ok {
			return nil, err
		}
		return g, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func callFactory(ctx context.Context, f Factory) (product http.RoundTripper, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f(ctx)
}

// inspect refuses products that would be closed under somebody else's feet.
func (rt *RecoveringRoundTripper) inspect(product http.RoundTripper) error {
	switch {
	case isNil(product):
		return errFactoryNil
	case sameInstance(product, http.DefaultTransport):
		return errFactoryShared
	case sameInstance(product, rt), sameInstance(product, rt.cfg.fallback), rt.inService(product):
		return errFactoryReused
	}
	if e, ok := product.(interface{ Err() error }); ok && e.Err() != nil {
		return errFactoryEnded
	}
	return nil
}

func (rt *RecoveringRoundTripper) inService(product http.RoundTripper) bool {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if g := rt.current.Load(); g != nil && sameInstance(product, g.transport) {
		return true
	}
	for g := range rt.retired {
		if sameInstance(product, g.transport) {
			return true
		}
	}
	return false
}

// settle ends r: promoted for a nil err, else rejected. The first verdict
// counts; settle reports whether it was this one.
func (rt *RecoveringRoundTripper) settle(r *recreation, err error) bool {
	rt.mu.Lock()
	if r.settled {
		rt.mu.Unlock()
		return false
	}
	r.settled = true
	// What its upstream refused holds back the one authority, and all others
	// only for a first interval: one dead upstream must not keep a dead tunnel
	// to another waiting, nor a flood of names build a transport each.
	p, spaced := &rt.pace, err == errRecovered || err != nil && r.candidate != nil && !r.planned
	if spaced {
		p = &pace{}
		if s := rt.streaks.get(r.authority); s != nil {
			p = &s.pace
		}
	}
	rt.mu.Unlock()

	// r is still running, so nobody else touches the paces' policies. They
	// are callbacks, which are never called under the lock.
	interval := p.next(rt.cfg.newBackOff)
	spacing := time.Duration(0)
	if spaced {
		spacing = (&pace{}).next(rt.cfg.newBackOff)
	}

	now := time.Now()
	var old *generation
	rt.mu.Lock()
	if err == nil && rt.closed {
		err = ErrClosed
	}
	r.err = err
	p.interval, p.notBefore = interval, now.Add(interval)
	rt.spacedUntil = now.Add(spacing)
	rt.settledAt = now
	if err == nil {
		old = rt.current.Load()
		r.candidate.number = old.number + 1
		r.candidate.born = now
		rt.promotions++
		rt.streaks.restart(r.ctx)
		rt.current.Store(r.candidate)
	} else {
		rt.rejections++
		rt.lastRejection = rejection{at: now, kind: errorType(err), unbuilt: r.candidate == nil}
		if s := rt.streaks.get(r.authority); s != nil {
			s.rejections++
		}
	}
	rt.running = nil
	rt.refreshAlert()
	rt.armAge(now, err != nil)
	rt.mu.Unlock()

	// Who hears the verdict finds the span ended and the log written.
	rt.telemetry.settled(r, now)
	close(r.done)
	switch {
	case err == nil:
		rt.retire(old)
	case r.candidate != nil:
		rt.retire(r.candidate)
	}
	return true
}

// abandon rejects r whatever it is doing.
func (rt *RecoveringRoundTripper) abandon(r *recreation, err error) {
	rt.mu.Lock()
	built := r.candidate != nil
	rt.mu.Unlock()
	// The factory's goroutine looks at the context after it has published
	// the candidate, so one of the two sees the other.
	r.cancel(err)
	if built {
		rt.settle(r, err)
	}
}

// proved is told how far the trial got, and promotes as early as it may.
func (rt *RecoveringRoundTripper) proved(r *recreation, a *attempt, p phase) {
	switch {
	case r.proof == proofConnection && p >= phaseConnected,
		r.proof == proofAnswer && p >= phaseAnswered:
		rt.settle(r, nil)
	case r.proof == proofFaster && p >= phaseAnswered:
		if a.waited() < r.toBeat {
			rt.settle(r, nil)
		} else {
			rt.settle(r, errUpstreamSlow)
		}
	}
}

// disproved takes the error of a trial that was not proven. decisive is false
// when the error says nothing about the candidate.
func (rt *RecoveringRoundTripper) disproved(r *recreation, a *attempt, decisive bool) {
	slow := r.proof == proofFaster && a.reached() >= phaseConnected && a.waited() >= r.toBeat
	switch {
	case slow:
		rt.settle(r, errUpstreamSlow)
	case decisive:
		rt.settle(r, a.err)
	case time.Since(r.start) < rt.cfg.recreateTimeout:
		r.baton <- r.candidate // its caller gave up first: the next one goes on
	case r.planned:
		rt.settle(r, nil)
	default:
		rt.settle(r, errTrialTimeout)
	}
}

// trialLimit is how long one trial may wait for its proof.
func (rt *RecoveringRoundTripper) trialLimit(r *recreation) time.Duration {
	return max(rt.cfg.recreateTimeout, r.toBeat)
}

// retire lets g finish what is in flight, and closes it.
func (rt *RecoveringRoundTripper) retire(g *generation) {
	rt.mu.Lock()
	rt.retired[g] = struct{}{}
	rt.mu.Unlock()
	g.retire(rt.cfg.drainTimeout, func() {
		rt.mu.Lock()
		delete(rt.retired, g)
		rt.mu.Unlock()
	})
}

// failed takes note of a failed attempt on the generation it was seen on.
func (rt *RecoveringRoundTripper) failed(c *call, a *attempt, v Verdict) {
	now := time.Now()
	trigger := triggerOf(a.err)
	switch v {
	case Stall:
		trigger = triggerStall
	case Ended:
		trigger = triggerEnded
	}

	rt.mu.Lock()
	if rt.current.Load() != a.gen {
		rt.mu.Unlock()
		return // stale: it says nothing about the generation in service
	}
	s := rt.streaks.open(c.authority, now)
	trip := false
	switch v {
	case Failure:
		if s.fail(a, rt.clock.Load()+1) {
			rt.clock.Add(1)
			s.proof = proofAnswer
			if a.unsent() {
				s.proof = proofConnection
			}
		}
		trip = s.failures >= rt.cfg.threshold
	case Stall:
		s.stall(a, now)
		if rt.cfg.stalls > 0 && s.stalls >= rt.cfg.stalls && now.Sub(s.firstStall) >= rt.cfg.stallSpan {
			trip = true
			s.proof = proofFaster
		}
	case Ended:
		s.proof = proofConnection
		trip = true
	}
	s.last, s.trigger = now, trigger
	s.link(c.req)
	rt.lastFailure = failureNote{at: now, authority: c.authority, trigger: trigger}
	trip = trip && !s.tripped
	s.tripped = s.tripped || trip
	note := *s
	rt.refreshAlert()
	rt.mu.Unlock()

	rt.telemetry.failed(c.req.Context(), trigger)
	if trip {
		rt.telemetry.tripped(c.req.Context(), &note, a.gen.number)
	}
}

// tripEnded trips an authority whose request met a transport that says itself
// that it has ended.
func (rt *RecoveringRoundTripper) tripEnded(c *call, g *generation) {
	now := time.Now()
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.current.Load() != g {
		return
	}
	s := rt.streaks.open(c.authority, now)
	s.last = now
	if !s.tripped {
		s.tripped, s.trigger, s.proof = true, triggerEnded, proofConnection
		rt.lastFailure = failureNote{at: now, authority: c.authority, trigger: triggerEnded}
	}
	rt.refreshAlert()
}

// cleared takes note of a watched attempt that ended with a neutral error: if
// it was only an unwatched one that raised the suspicion, there was none.
func (rt *RecoveringRoundTripper) cleared(c *call, a *attempt) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	s := rt.streaks.get(c.authority)
	if s != nil && rt.current.Load() == a.gen && !s.watched && s.stalls == 0 && !s.outage() {
		rt.streaks.end(s)
		rt.refreshAlert()
	}
}

// succeeded takes note of an answer on g: it ends the authority's streak, and
// its trip with no swap if there was one.
func (rt *RecoveringRoundTripper) succeeded(ctx context.Context, g *generation, au authority) {
	now := time.Now()
	rt.mu.Lock()
	s := rt.streaks.get(au)
	if s == nil || rt.current.Load() != g {
		rt.mu.Unlock()
		return
	}
	rt.streaks.end(s)
	needless := rt.running
	if needless != nil && (needless.planned || needless.authority != au || needless.trigger == triggerEnded) {
		needless = nil
	}
	rt.refreshAlert()
	rt.mu.Unlock()

	if needless != nil {
		rt.abandon(needless, errRecovered)
	}
	if s.outage() {
		if s.recovery != nil {
			ctx = s.recovery
		}
		rt.telemetry.recovered(ctx, s, now)
	}
}

// refreshAlert tells the healthy path whether it may be taken; the caller
// holds rt.mu.
func (rt *RecoveringRoundTripper) refreshAlert() {
	rt.alert.Store(len(rt.streaks.m) > 0 || rt.running != nil || rt.cfg.drainTimeout > 0)
}

// A pace spaces recreations.
type pace struct {
	policy    backoff.BackOff // used only by the recreation that is being settled
	interval  time.Duration   // the last one; 0 when fresh
	notBefore time.Time
}

// next asks the policy for the coming interval. A policy that gives up is
// overruled: respawn would be the outage it is meant to end.
func (p *pace) next(newBackOff func() backoff.BackOff) time.Duration {
	if p.policy == nil {
		p.policy = newBackOff()
	}
	if p.policy == nil {
		p.policy = defaultBackOff()
	}
	if d := p.policy.NextBackOff(); d >= 0 {
		return d
	}
	return max(p.interval, time.Second)
}

// Recreate replaces the transport now, whatever the backoff says: after
// credentials were rotated, on SIGHUP. It blocks until the fresh transport is
// in service or was rejected; calls at the same time make one. If requests
// are in flight the next one must prove the fresh transport; if none come
// within [WithRecreateTimeout], or nothing is in flight, it is promoted as it
// is.
//
// A non-nil error means that the current transport stays: the factory's or the
// trial's error, ctx's, or [ErrClosed]. Recreate is safe for concurrent use.
func (rt *RecoveringRoundTripper) Recreate(ctx context.Context) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("respawn: recreate: %w", err)
		}
		rt.mu.Lock()
		if rt.closed {
			rt.mu.Unlock()
			return ErrClosed
		}
		r, mine, join := rt.running, false, false
		switch {
		case r == nil:
			r, mine = rt.newRecreation(ctx, triggerManual), true
			r.planned = true
		case r.trigger == triggerManual && r.candidate == nil:
			join = true
		}
		rt.mu.Unlock()
		if mine {
			go rt.build(r)
		}
		if !mine && !join {
			// What is under way was built before this call and may hold the
			// old credentials. If nobody tries it, it gives way.
			select {
			case <-r.baton:
				rt.settle(r, errSuperseded)
			default:
			}
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			if mine {
				rt.abandon(r, context.Cause(ctx))
			}
			return fmt.Errorf("respawn: recreate: %w", context.Cause(ctx))
		}
		switch {
		case !mine && !join:
			continue
		case r.err == nil:
			return nil
		case join && isGivenUp(r.err):
			continue // the call that was joined gave up, this one has not
		}
		return fmt.Errorf("respawn: recreate: %w", r.err)
	}
}

func isGivenUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// replaceEnded replaces a transport that says itself that it has ended, before
// a request is lost on it. It blocks for the verdict, at most until ctx ends.
func (rt *RecoveringRoundTripper) replaceEnded(ctx context.Context) {
	g := rt.current.Load()
	if g == nil || !g.hasEnded() {
		return
	}
	rt.mu.Lock()
	r := rt.running
	if r == nil && !rt.closed && !time.Now().Before(rt.pace.notBefore) {
		r = rt.newRecreation(ctx, triggerEnded)
		r.planned = true
		r.delay = rt.pace.interval
		go rt.build(r)
	}
	rt.mu.Unlock()
	if r == nil {
		return
	}
	select {
	case <-r.done:
	case <-ctx.Done():
	}
}

// armAge sets the timer for the next replacement by age; the caller holds
// rt.mu. After a rejection it is the backoff's turn.
func (rt *RecoveringRoundTripper) armAge(now time.Time, rejected bool) {
	if rt.cfg.maxAge == 0 || rt.closed {
		return
	}
	if rt.ageTimer != nil {
		rt.ageTimer.Stop()
	}
	age := time.Duration(float64(rt.cfg.maxAge) * (0.9 + 0.2*rt.cfg.chance()))
	left := rt.current.Load().born.Add(age).Sub(now)
	if rejected {
		left = max(left, rt.pace.notBefore.Sub(now))
	}
	rt.ageTimer = time.AfterFunc(max(left, 0), rt.replaceAged)
}

func (rt *RecoveringRoundTripper) replaceAged() {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.closed || rt.running != nil {
		return // a running recreation arms the timer when it settles
	}
	r := rt.newRecreation(context.Background(), triggerMaxAge)
	r.planned = true
	go rt.build(r)
}
