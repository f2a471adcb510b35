package respawn

import (
	"fmt"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/streak"
)

// An attempt is one RoundTrip on one generation.
type attempt struct {
	evidence.Watch

	gen   *generation.Generation
	began uint64        // rt.clock when it began; 0 is before any failure now in the streak table
	req   *http.Request // as it was sent; nil for the caller's own
	err   error
	after func() // releases what the attempt holds when it has failed and was judged; nil for most

	// What this one must show, if it is a trial.
	proof  streak.Proof
	toBeat time.Duration
}

// finish must be called for a failed attempt once it has been judged: until
// then its request's context tells whether it was cut.
func (a *attempt) finish() {
	if a.after != nil {
		a.after()
	}
}

// unsent reports whether nothing of the request can have reached the server.
func (a *attempt) unsent() bool { return a.Unsent(a.err) }

// sendOn makes an attempt on the transport in service.
func (c *call) sendOn(w way) (*http.Response, error) {
	g, s := c.rt.enter(c.req)
	if s == nil {
		return nil, c.closed()
	}
	a := &attempt{gen: g, began: c.rt.clock.Load()}
	resp, err := c.send(a, s, w.watch, nil)
	if err != nil {
		return nil, err
	}
	if a.err != nil {
		return nil, c.served(a)
	}
	if c.rt.alert.Load() {
		c.rt.succeeded(c.req.Context(), g, c.authority, a.began)
	}
	return resp, nil
}

// served judges a failed attempt on the transport in service. It returns the
// error that the caller gets, or nil if the call may go on.
func (c *call) served(a *attempt) error {
	defer a.finish()
	c.last, c.err = a, a.err
	c.verdict = c.rt.cfg.Classify(a.req, a.err)
	if c.verdict == evidence.Neutral {
		if gone, _ := evidence.CallerGone(c.req); a.Watched() && !gone {
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
	if gone, _ := evidence.CallerGone(c.req); gone {
		return false
	}
	return c.rt.cfg.Replay.Allows(c.req, a.unsent()) && c.body.Left()
}

// sendFallback makes the last attempt, off the books.
func (c *call) sendFallback() (*http.Response, error) {
	req, ok := c.body.Lend()
	if !ok {
		return nil, c.err
	}
	c.resent()
	resp, err := c.rt.cfg.Fallback.RoundTrip(req)
	return c.body.Restore(resp, req), err
}

// send makes attempt a with a request of its own. The transport's error is in
// a.err; an error returned means that nothing could be sent.
func (c *call) send(a *attempt, s *generation.Stripe, watch bool, proved func(evidence.Phase)) (*http.Response, error) {
	req, ok := c.body.Lend()
	if !ok {
		s.Leave()
		return nil, c.err
	}
	req, after := a.gen.Severable(req)
	if watch {
		req = a.Begin(req, a.gen.Transport, proved)
	}
	a.req = req
	c.resent()
	c.sent++
	c.sentAt = time.Now()
	panicked := true
	defer func() {
		if panicked {
			s.Leave()
			if after != nil {
				after()
			}
		}
	}()
	resp, err := a.gen.Transport.RoundTrip(req)
	panicked = false
	if resp == nil && err == nil {
		err = fmt.Errorf("respawn: %T returned a nil *Response with a nil error", a.gen.Transport)
	}
	if err != nil {
		a.err, a.after = err, after
		s.Leave()
		return nil, nil
	}
	return s.Track(c.body.Restore(resp, req), after), nil
}

// resent counts an attempt that is not the request's first.
func (c *call) resent() {
	if c.sent > 0 {
		c.rt.telemetry.resent(c.req.Context(), c.sent)
	}
}

// try makes the trial. A nil response with a nil error means that the call
// goes on elsewhere.
func (c *call) try(r *recreation, candidate *generation.Generation) (*http.Response, error) {
	rt := c.rt
	if err := candidate.Fit(); err != nil {
		rt.settle(r, err)
		c.hadVerdict = true
		return nil, nil
	}
	s := candidate.Enter(c.req)
	if s == nil {
		return nil, nil // called off in the meantime
	}
	rt.rehome(r, c.authority)
	if r.tried.IsZero() {
		r.tried = time.Now()
	}
	limit := time.AfterFunc(rt.trialLimit(r), func() { rt.settle(r, errTrialTimeout) })
	returned := false
	defer func() {
		limit.Stop()
		if !returned {
			rt.settle(r, errTrialPanicked) // or no other trial would ever be made
		}
	}()
	// A hook may fire when the next trial of this candidate is under way.
	a := &attempt{gen: candidate, began: rt.clock.Load(), proof: r.proof, toBeat: r.toBeat}
	resp, err := c.send(a, s, true, func(p evidence.Phase) { rt.proved(r, a, p) })
	if err != nil {
		rt.disproved(r, a, false)
		returned = true
		return nil, err
	}
	if a.err == nil {
		rt.proved(r, a, evidence.Answered) // for those that fire no httptrace
		returned = true
		rt.succeeded(c.req.Context(), candidate, c.authority, a.began)
		return resp, nil
	}
	if g := rt.current.Load(); g != nil && g.Ended() && candidate.Fit() == nil {
		rt.settle(r, nil) // anything is better than what has ended
	}
	if rt.current.Load() == candidate {
		returned = true
		return nil, c.served(a) // promoted by its connection; this is the next story
	}

	defer a.finish()
	gone, late := evidence.CallerGone(c.req)
	fault := rt.cfg.Classify(a.req, a.err) == evidence.Neutral && (a.Reached() < evidence.Connected || body.Broke(a.req, a.err))
	suspect := r.planned && rt.suspects(c.authority)
	r.doubted = r.doubted || late && a.Reached() < evidence.Connected && !suspect
	rt.disproved(r, a, !gone && !fault && !suspect)
	returned = true
	c.hadVerdict = true
	if !c.mayGoOn(a) {
		return nil, a.err
	}
	if c.last == nil {
		c.err = a.err
	}
	return nil, nil
}

// rehome makes the trial the one of the authority whose request makes it: it
// must show what that one needs, and its end says nothing about another.
func (rt *RecoveringRoundTripper) rehome(r *recreation, au core.Authority) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if s := rt.streaks.Get(au); !r.settled && !r.planned && r.authority != au && s != nil {
		r.authority, r.proof, r.toBeat, r.first = s.Authority, s.Proof, s.ToBeat, s.Rejections == 0
		r.trigger, r.since, r.failures = s.Trigger, s.Since, max(s.Failures, s.Stalls)
	}
}

func (rt *RecoveringRoundTripper) suspects(a core.Authority) bool {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.streaks.Get(a) != nil
}

// proved is told how far the trial got, and promotes as early as it may.
func (rt *RecoveringRoundTripper) proved(r *recreation, a *attempt, p evidence.Phase) {
	switch {
	case a.proof == streak.ProofConnection && p >= evidence.Connected,
		a.proof == streak.ProofAnswer && p >= evidence.Answered:
		rt.settle(r, nil)
	case a.proof == streak.ProofFaster && p >= evidence.Answered:
		if a.Waited() < a.toBeat {
			rt.settle(r, nil)
		} else {
			rt.settle(r, errUpstreamSlow)
		}
	}
}

// disproved takes the error of a trial that was not proven. decisive is false
// when the error says nothing about the candidate.
func (rt *RecoveringRoundTripper) disproved(r *recreation, a *attempt, decisive bool) {
	slow := a.proof == streak.ProofFaster && a.Unanswered() >= a.toBeat
	patience := readyFor
	if r.planned {
		patience = rt.cfg.RecreateTimeout - time.Since(r.tried)
	}
	switch {
	case slow:
		rt.settle(r, errUpstreamSlow)
	case decisive:
		rt.settle(r, a.err)
	case time.Since(r.tried) < rt.cfg.RecreateTimeout:
		r.baton <- r.candidate // its caller gave up first: the next one goes on
		rt.expire(r, patience)
	case r.planned && !r.doubted:
		rt.settle(r, nil)
	default:
		rt.settle(r, errTrialTimeout)
	}
}

// trialLimit is how long one trial may wait for its proof. It holds the gate
// for everybody meanwhile, so that what patient callers have waited for a
// stalled answer counts only up to a minute.
func (rt *RecoveringRoundTripper) trialLimit(r *recreation) time.Duration {
	return max(rt.cfg.RecreateTimeout, min(r.toBeat, time.Minute))
}
