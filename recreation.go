package respawn

import (
	"context"
	"time"

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

var (
	errTrialTimeout  = newKindError("trial_timeout", "the fresh transport did not prove itself within WithRecreateTimeout")
	errTrialPanicked = newKindError("trial_panic", "the fresh transport panicked")
	errUpstreamSlow  = newKindError("upstream_slow", "the fresh transport was no faster: the upstream is slow")
	errRecovered     = newKindError("recovered", "the current transport recovered by itself")
	errSuperseded    = newKindError("superseded", "a Recreate called for a newer transport")
)

// A kindError names its own error.type, as semconv's ErrorType asks for.
type kindError struct{ kind, text string }

func newKindError(kind, text string) error { return &kindError{kind, text} }
func (e *kindError) Error() string         { return e.text }
func (e *kindError) ErrorType() string     { return e.kind }

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
	slow := r.proof == proofFaster && a.unanswered() >= r.toBeat
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

// refreshAlert tells the healthy path whether it may be taken; the caller
// holds rt.mu.
func (rt *RecoveringRoundTripper) refreshAlert() {
	rt.alert.Store(len(rt.streaks.m) > 0 || rt.running != nil || rt.cfg.drainTimeout > 0)
}
