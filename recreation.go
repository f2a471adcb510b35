package respawn

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/streak"
)

// A recreation is one run from the trip to promotion or rejection.
type recreation struct {
	trigger   string
	authority core.Authority // whose trip it was; zero when planned
	planned   bool           // by hand, by age or ahead of requests: nobody waits to be the trial
	proof     streak.Proof
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
	trace  trace.TraceID // of span

	// The candidate waits in the baton, and whoever takes it makes the trial:
	// so there is one at a time, however many would like to.
	baton   chan *generation.Generation
	tried   time.Time     // when it was first taken; only for whoever holds it
	doubted bool          // likewise: it let a deadline pass without a connection, of an authority that is well
	done    chan struct{} // closed at the verdict, when it has been told, too

	// Guarded by rt.mu; err can be read without it after done.
	candidate *generation.Generation // nil while the factory is at work
	expiry    *time.Timer            // of its wait in the baton
	settled   bool
	err       error // nil for a promotion
}

// newRecreation makes r the running recreation; the caller holds rt.mu, has
// seen that there is none, and starts rt.build(r) in a goroutine of its own.
func (rt *RecoveringRoundTripper) newRecreation(parent context.Context, trigger string) *recreation {
	r := &recreation{
		trigger:    trigger,
		clock:      rt.clock.Add(1),
		start:      time.Now(),
		generation: rt.current.Load().Number,
		baton:      make(chan *generation.Generation, 1),
		done:       make(chan struct{}),
	}
	// A caller who gives up does not take the recreation with it.
	r.ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(parent))
	rt.running = r
	rt.refreshAlert()
	return r
}

// newTrial is newRecreation for a tripped authority.
func (rt *RecoveringRoundTripper) newTrial(parent context.Context, s *streak.Streak) *recreation {
	r := rt.newRecreation(parent, s.Trigger)
	r.authority, r.since, r.links = s.Authority, s.Since, s.Links
	r.proof, r.toBeat = s.Proof, s.ToBeat
	r.failures = max(s.Failures, s.Stalls)
	r.first = s.Rejections == 0
	r.delay = max(rt.pace.Interval, s.Pace.Interval)
	return r
}

var (
	errTrialTimeout  = newKindError("trial_timeout", "the fresh transport did not prove itself within WithRecreateTimeout")
	errTrialPanicked = newKindError("trial_panic", "the fresh transport panicked")
	errGivenUp       = newKindError("given_up", "the Recreate that asked for it was given up")
	errUntried       = newKindError("untried", "nobody was left to try the fresh transport")
	errUpstreamSlow  = newKindError("upstream_slow", "the fresh transport was no faster: the upstream is slow")
	errRecovered     = newKindError("recovered", "the current transport recovered by itself")
	errSuperseded    = newKindError("superseded", "a newer transport was asked for")
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
	r.trace = r.span.SpanContext().TraceID()
	product, err := rt.builder.Build(r.ctx)
	if err != nil {
		rt.settle(r, err)
		return
	}
	candidate := generation.New(product, rt.cfg.DrainTimeout)
	rt.mu.Lock()
	r.candidate = candidate
	rt.mu.Unlock()
	if err := context.Cause(r.ctx); err != nil {
		rt.settle(r, err) // called off meanwhile
		return
	}
	r.baton <- candidate
	// Where nobody waits to be the trial, the next request is one; where none
	// comes, there is nothing to prove a planned candidate by. Another one is in
	// nobody's way.
	patience := readyFor
	if r.planned {
		patience = rt.cfg.RecreateTimeout
		if r.trigger == evidence.TriggerEnded || r.trigger == evidence.TriggerManual && rt.idle() {
			rt.untried(r)
		}
	}
	rt.expire(r, patience)
}

// readyFor is how long a candidate waits for somebody to try it. It is long, since
// seldom used authorities must recover, too, and no longer than what it has
// dialed can be expected to be kept alive unused.
const readyFor = 5 * time.Minute

// expire ends the wait of a candidate in the baton after patience.
func (rt *RecoveringRoundTripper) expire(r *recreation, patience time.Duration) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if r.settled {
		return
	}
	if r.expiry != nil {
		r.expiry.Stop()
	}
	r.expiry = time.AfterFunc(patience, func() { rt.untried(r) })
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
	p, spaces := rt.paceOf(r, err)
	var work streak.Pace
	if p != nil {
		work = *p
	}
	rt.mu.Unlock()

	// Policies are callbacks, which are never called under the lock. r is
	// still running, so nobody else uses this one.
	if p != nil {
		work.Advance(rt.cfg.NewBackOff)
	}
	spacing := time.Duration(0)
	if spaces {
		spacing = (&streak.Pace{}).Next(rt.cfg.NewBackOff)
	}

	kind := ""
	if err != nil {
		kind = evidence.ErrorType(err)
	}
	now := time.Now()
	var old *generation.Generation
	rt.mu.Lock()
	if err == nil && rt.closed {
		err, kind = ErrClosed, "closed"
	}
	r.err = err
	if r.expiry != nil {
		r.expiry.Stop()
	}
	if p != nil {
		work.NotBefore = now.Add(work.Interval)
		*p = work
	}
	if spaces {
		rt.spacedFrom, rt.spacedUntil = now, now.Add(spacing)
	}
	if p == &rt.pace {
		rt.pacedAt, rt.pacedWell = now, err == nil
	}
	if err == nil {
		old = rt.current.Load()
		r.candidate.Number = old.Number + 1
		r.candidate.Born = now
		rt.promotions++
		rt.streaks.Restart(r.ctx)
		rt.current.Store(r.candidate)
	} else {
		rt.rejections++
		rt.lastRejection = rejection{at: now, kind: kind, unbuilt: r.candidate == nil && !calledOff(err)}
		if s := rt.streaks.Get(r.authority); s != nil && !calledOff(err) {
			s.Rejections++
			s.Queued = now
		}
	}
	rt.remember(r, old, kind, now)
	rt.running = nil
	rt.refreshAlert()
	if err == nil {
		rt.armAge(now, nil)
	} else {
		rt.armAge(now, r)
	}
	rt.mu.Unlock()

	switch {
	case err == nil:
		rt.retire(old)
	case r.candidate != nil:
		rt.retire(r.candidate)
	}
	// Who hears the verdict finds the span ended and the log written, and
	// hears it even if one of those panics.
	defer close(r.done)
	rt.telemetry.settled(r, now)
	return true
}

// remember notes the end of r, whose promotion retired old; nil for a
// rejection. The caller holds rt.mu and has put the candidate in service.
func (rt *RecoveringRoundTripper) remember(r *recreation, old *generation.Generation, kind string, now time.Time) {
	record := RecreationRecord{
		Time:       r.start,
		Duration:   now.Sub(r.start),
		Trigger:    r.trigger,
		Outcome:    outcomeRejected,
		ErrorType:  kind,
		Authority:  r.authority.String(),
		Generation: r.generation,
		Failures:   r.failures,
	}
	if r.trace.IsValid() {
		record.TraceID = r.trace.String()
	}
	if !r.since.IsZero() {
		record.Outage = now.Sub(r.since)
	}
	var draining *generation.Generation
	if old != nil {
		record.Outcome, record.Generation = outcomePromoted, r.candidate.Number
		if record.Drained = old.InFlight(); record.Drained > 0 {
			record.Draining, draining = true, old
		}
	}
	rt.history.Add(record, draining, now)
}

// calledOff reports whether a recreation ended for a reason that says nothing
// about factory, candidate or upstream.
func calledOff(err error) bool {
	return err == errRecovered || err == errSuperseded || err == errGivenUp || err == errUntried || err == ErrClosed
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

// refreshAlert tells the healthy path whether it may be taken; the caller
// holds rt.mu.
func (rt *RecoveringRoundTripper) refreshAlert() {
	rt.alert.Store(!rt.streaks.Empty() || rt.running != nil || rt.cfg.DrainTimeout > 0)
}
