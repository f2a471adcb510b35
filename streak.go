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

// failed takes note of a failed attempt on the generation it was seen on.
func (rt *RecoveringRoundTripper) failed(c *call, a *attempt, v evidence.Verdict) {
	now := time.Now()
	trigger := evidence.TriggerOf(a.err)
	switch v {
	case evidence.Stall:
		trigger = evidence.TriggerStall
	case evidence.Ended:
		trigger = evidence.TriggerEnded
	}

	sc := trace.SpanContextFromContext(c.req.Context())
	rt.mu.Lock()
	if rt.current.Load() != a.gen {
		rt.mu.Unlock()
		return // stale: it says nothing about the generation in service
	}
	s := rt.streaks.Open(c.authority, now)
	// What the transport has said of itself says more than any error since.
	ended := s.Tripped && s.Trigger == evidence.TriggerEnded
	trip := false
	switch v {
	case evidence.Failure:
		if s.Fail(&a.Watch, a.began, rt.clock.Load()+1) {
			rt.clock.Add(1)
			if s.Failures >= rt.cfg.Threshold && !ended {
				s.Proof = streak.ProofAnswer
				if a.unsent() && a.Reached() < evidence.Connected {
					s.Proof = streak.ProofConnection
				}
			}
		}
		trip = s.Failures >= rt.cfg.Threshold
	case evidence.Stall:
		s.Stall(&a.Watch, now)
		if rt.cfg.Stalls > 0 && s.ToBeat > 0 && s.Stalls >= rt.cfg.Stalls && now.Sub(s.FirstStall) >= rt.cfg.StallSpan {
			trip = true
			if !ended {
				s.Proof = streak.ProofFaster
			}
		}
	case evidence.Ended:
		s.Proof = streak.ProofConnection
		trip = true
	}
	if !ended {
		s.Trigger = trigger
	}
	s.Last = now
	s.Link(sc)
	rt.lastFailure = failureNote{at: now, authority: s.Authority, trigger: s.Trigger}
	trip = trip && !s.Tripped
	if trip {
		s.Tripped, s.Queued = true, now
	}
	note := streak.Streak{Authority: s.Authority, Trigger: s.Trigger, Failures: s.Failures, Stalls: s.Stalls}
	rt.refreshAlert()
	rt.mu.Unlock()

	rt.telemetry.failed(c.req.Context(), trigger)
	if trip {
		rt.telemetry.tripped(c.req.Context(), &note, a.gen.Number)
	}
}

// tripEnded trips an authority whose request met a transport that says itself
// that it has ended.
func (rt *RecoveringRoundTripper) tripEnded(c *call, g *generation.Generation) {
	now := time.Now()
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.current.Load() != g {
		return
	}
	s := rt.streaks.Open(c.authority, now)
	s.Last = now
	s.Proof = streak.ProofConnection
	if !s.Tripped {
		s.Tripped, s.Queued, s.Trigger = true, now, evidence.TriggerEnded
		rt.lastFailure = failureNote{at: now, authority: s.Authority, trigger: evidence.TriggerEnded}
	}
	rt.refreshAlert()
}

// cleared takes note of a watched attempt that ended with a neutral error: if
// it was only an unwatched one that raised the suspicion, there was none.
func (rt *RecoveringRoundTripper) cleared(c *call, a *attempt) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	s := rt.streaks.Get(c.authority)
	if s != nil && rt.current.Load() == a.gen && s.Unconfirmed() {
		rt.streaks.End(s)
		rt.refreshAlert()
	}
}

// succeeded takes note of an answer on g to an attempt that began at the given
// clock: it ends the authority's streak, and its trip with no swap if there was
// one. An attempt that began before the last failure says nothing about what
// is since: its answer may come from a connection that outlived the dialer.
func (rt *RecoveringRoundTripper) succeeded(ctx context.Context, g *generation.Generation, au core.Authority, began uint64) {
	now := time.Now()
	rt.mu.Lock()
	s := rt.streaks.Get(au)
	if s == nil || rt.current.Load() != g || s.Late(began) {
		rt.mu.Unlock()
		return
	}
	rt.streaks.End(s)
	needless := rt.running
	if needless != nil && (needless.planned || needless.authority != au || needless.trigger == evidence.TriggerEnded) {
		needless = nil
	}
	rt.refreshAlert()
	rt.mu.Unlock()

	if needless != nil {
		rt.abandon(needless, errRecovered)
	}
	if s.Outage() {
		if s.Recovery != nil {
			ctx = s.Recovery
		}
		rt.telemetry.recovered(ctx, s, now)
	}
}

// paceOf returns the pace that the end of r advances, nil for none, and whether
// it holds back everybody for a first interval. The caller holds rt.mu.
func (rt *RecoveringRoundTripper) paceOf(r *recreation, err error) (p *streak.Pace, spaces bool) {
	switch {
	case err == errRecovered:
		return nil, true
	case calledOff(err), err == nil && r.planned && r.trigger != evidence.TriggerEnded:
		return nil, false // it was asked for: an outage's first recreation is still at once
	case err != nil && r.candidate != nil && !r.planned:
		// What its upstream refused holds back the one authority, and all
		// others only for a first interval: one dead upstream must not keep
		// a dead tunnel to another waiting, nor a flood of names build a
		// transport each.
		if s := rt.streaks.Get(r.authority); s != nil {
			return &s.Pace, true
		}
		return nil, true
	}
	return &rt.pace, false // promotions, and factories that fail
}

// due reports whether s may have a recreation now: whether the backoff allows it
// and it is its turn. The backoff is reset when a generation has stayed healthy
// for at least the last interval.
func (rt *RecoveringRoundTripper) due(s *streak.Streak, now time.Time) bool {
	rt.relax(s.Since)
	return !now.Before(rt.dueAt(s)) && !now.Before(rt.turnAt(s))
}

// relax resets the client's pace if the generation that was promoted last had
// been healthy for its interval at t.
func (rt *RecoveringRoundTripper) relax(t time.Time) {
	if rt.pacedWell && t.Sub(rt.pacedAt) >= rt.pace.Interval {
		rt.pace = streak.Pace{}
	}
}

func (rt *RecoveringRoundTripper) dueAt(s *streak.Streak) time.Time {
	return later(rt.pace.NotBefore, later(s.Pace.NotBefore, rt.spacedUntil))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// turnAt is when s need not leave the next recreation to others. Those that
// follow an upstream's rejection are few, whoever asks: the authority that has
// waited longest comes first, if it was asked for in vain since. Names that an
// attacker invents would else always be there before a host that matters.
func (rt *RecoveringRoundTripper) turnAt(s *streak.Streak) time.Time {
	for o := range rt.streaks.All() {
		if o.Tripped && o.Queued.Before(s.Queued) && o.TurnedAway.After(o.Queued) && !o.Pace.NotBefore.After(rt.spacedUntil) {
			return rt.spacedUntil.Add(rt.spacedUntil.Sub(rt.spacedFrom)) // for as long again
		}
	}
	return time.Time{}
}
