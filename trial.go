package respawn

import (
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
)

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
	if s := rt.streaks.get(au); !r.settled && !r.planned && r.authority != au && s != nil {
		r.authority, r.proof, r.toBeat, r.first = s.authority, s.proof, s.toBeat, s.rejections == 0
		r.trigger, r.since, r.failures = s.trigger, s.since, max(s.failures, s.stalls)
	}
}

func (rt *RecoveringRoundTripper) suspects(a core.Authority) bool {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.streaks.get(a) != nil
}

// proved is told how far the trial got, and promotes as early as it may.
func (rt *RecoveringRoundTripper) proved(r *recreation, a *attempt, p evidence.Phase) {
	switch {
	case a.proof == proofConnection && p >= evidence.Connected,
		a.proof == proofAnswer && p >= evidence.Answered:
		rt.settle(r, nil)
	case a.proof == proofFaster && p >= evidence.Answered:
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
	slow := a.proof == proofFaster && a.Unanswered() >= a.toBeat
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
