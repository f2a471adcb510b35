package respawn

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
)

// Recreate replaces the transport now, whatever the backoff says: after
// credentials were rotated, on SIGHUP. It blocks until the fresh transport is
// in service or was rejected; calls at the same time make one. If requests
// are in flight the next one must prove the fresh transport; if none come
// within [WithRecreateTimeout], or nothing is in flight, it is promoted as it
// is.
//
// A call that joins one whose factory is at work already gets what that one
// builds: if what it reads, a certificate say, may have changed since, call
// again.
//
// A non-nil error means that the current transport stays: the factory's or the
// trial's error, ctx's, or [ErrClosed]. Recreate is safe for concurrent use.
func (rt *RecoveringRoundTripper) Recreate(ctx context.Context) error {
	asked := rt.clock.Load()
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
			r, mine = rt.newRecreation(ctx, evidence.TriggerManual), true
			r.planned = true
		case r.trigger == evidence.TriggerManual && (r.candidate == nil || r.clock > asked):
			join = true
		}
		rt.mu.Unlock()
		if mine {
			go rt.build(r)
		}
		var untried <-chan *generation.Generation
		if !mine && !join {
			// What is under way was built before this call and may hold the
			// old credentials. If nobody tries it, it gives way.
			untried = r.baton
		}
		select {
		case <-untried:
			rt.settle(r, errSuperseded)
		case <-r.done:
		case <-ctx.Done():
			if mine {
				rt.abandon(r, errGivenUp)
				if <-r.done; r.err == nil {
					return nil // it came just in time
				}
			}
			return fmt.Errorf("respawn: recreate: %w", context.Cause(ctx))
		}
		switch {
		case !mine && !join:
			continue
		case r.err == nil:
			return nil
		case r.err == errSuperseded, join && r.err == errGivenUp:
			continue // by a later call, which this one joins; or the call that was joined gave up
		}
		return fmt.Errorf("respawn: recreate: %w", r.err)
	}
}

// replaceEnded replaces a transport that says itself that it has ended, before
// a request is lost on it. It blocks for the verdict, at most until ctx ends or
// WithRecreateTimeout is over.
func (rt *RecoveringRoundTripper) replaceEnded(ctx context.Context) {
	g := rt.current.Load()
	if g == nil || !g.Ended() {
		return
	}
	rt.mu.Lock()
	if rt.current.Load() != g {
		rt.mu.Unlock()
		return
	}
	r := rt.running
	if now := time.Now(); r == nil {
		rt.relax(now)
		if !now.Before(rt.pace.NotBefore) {
			r = rt.newRecreation(ctx, evidence.TriggerEnded)
			r.planned = true
			r.delay = rt.pace.Interval
			go rt.build(r)
		}
	}
	rt.mu.Unlock()
	if r == nil {
		return
	}
	limit := time.NewTimer(rt.cfg.RecreateTimeout)
	defer limit.Stop()
	select {
	case candidate := <-r.baton: // anything is better than what has ended
		rt.settle(r, candidate.Fit())
	case <-r.done:
	case <-limit.C: // another's trial takes its time
	case <-ctx.Done():
	}
}

// agePause is the least time from one replacement by age that was rejected to the
// next: no request paces them, and a policy may have no pause at all.
const agePause = 100 * time.Millisecond

// armAge sets the timer for the next replacement by age; the caller holds
// rt.mu. rejected is what has just been, or nil: it is the backoff's turn then.
func (rt *RecoveringRoundTripper) armAge(now time.Time, rejected *recreation) {
	if rt.cfg.MaxAge == 0 || rt.closed {
		return
	}
	if rt.ageTimer != nil {
		rt.ageTimer.Stop()
	}
	age := time.Duration(float64(rt.cfg.MaxAge) * (0.9 + 0.2*rt.cfg.Chance()))
	rt.agedAt = rt.current.Load().Born.Add(age)
	if rejected != nil {
		rt.agedAt = later(rt.agedAt, rt.pace.NotBefore)
		if rejected.trigger == evidence.TriggerMaxAge {
			rt.agedAt = later(rt.agedAt, now.Add(agePause))
		}
	}
	rt.ageTimer = time.AfterFunc(rt.agedAt.Sub(now), rt.replaceAged)
}

func (rt *RecoveringRoundTripper) replaceAged() {
	rt.mu.Lock()
	r := rt.running
	switch {
	case rt.closed, time.Now().Before(rt.agedAt): // another came first
		rt.mu.Unlock()
		return
	case r == nil:
		r = rt.newRecreation(context.Background(), evidence.TriggerMaxAge)
		r.planned = true
		go rt.build(r)
	}
	rt.mu.Unlock()
	if r.planned {
		return // a planned one is young enough
	}
	// A running recreation arms the timer when it settles. One that waits for
	// somebody to try it gives way.
	select {
	case <-r.baton:
		rt.settle(r, errSuperseded)
	default:
	}
}

func (rt *RecoveringRoundTripper) idle() bool {
	g := rt.current.Load()
	return g == nil || g.InFlight() == 0
}

// untried ends a recreation whose candidate no attempt has taken: a planned one
// is promoted as it is, any other is given up.
func (rt *RecoveringRoundTripper) untried(r *recreation) {
	select {
	case candidate := <-r.baton:
		err := candidate.Fit()
		switch {
		case err != nil:
		case !r.planned:
			err = errUntried
		case r.doubted:
			err = errTrialTimeout
		}
		rt.settle(r, err)
	default:
	}
}

// retire lets g finish what is in flight, and closes it.
func (rt *RecoveringRoundTripper) retire(g *generation.Generation) {
	rt.mu.Lock()
	rt.retired[g] = time.Now()
	rt.mu.Unlock()
	g.Retire(rt.cfg.DrainTimeout, func() { rt.drained(g) }, func() {
		rt.mu.Lock()
		delete(rt.retired, g)
		rt.mu.Unlock()
	})
}

// inService reports whether a factory's product is not fresh: it would be closed
// under somebody else's feet.
func (rt *RecoveringRoundTripper) inService(product http.RoundTripper) bool {
	if build.SameInstance(product, rt) || build.SameInstance(product, rt.cfg.Fallback) {
		return true
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if g := rt.current.Load(); g != nil && build.SameInstance(product, g.Transport) {
		return true
	}
	if r := rt.running; r != nil && r.candidate != nil && build.SameInstance(product, r.candidate.Transport) {
		return true // a late product of a call that hung
	}
	for g := range rt.retired {
		if build.SameInstance(product, g.Transport) {
			return true
		}
	}
	return false
}

// drained notes that the last request has left g.
func (rt *RecoveringRoundTripper) drained(g *generation.Generation) {
	now := time.Now()
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.history.Drained(g, func(r *RecreationRecord, since time.Time) {
		r.DrainTime, r.Draining = now.Sub(since), false
	})
}
