package respawn

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/respawnhttp/respawn/internal/evidence"
)

// A pace spaces recreations.
type pace struct {
	policy    backoff.BackOff // used only by the recreation that is being settled
	interval  time.Duration   // the last one; 0 when fresh
	notBefore time.Time
}

// advance takes the policy's next interval.
func (p *pace) advance(newBackOff func() backoff.BackOff) { p.interval = p.next(newBackOff) }

// next asks the policy for the coming interval. A policy that gives up, or
// panics, is overruled: respawn would be the outage it is meant to end.
func (p *pace) next(newBackOff func() backoff.BackOff) (interval time.Duration) {
	defer func() {
		if recover() != nil || interval < 0 {
			interval = max(p.interval, time.Second)
		}
	}()
	if p.policy == nil {
		p.policy = newBackOff()
	}
	return p.policy.NextBackOff()
}

// paceOf returns the pace that the end of r advances, nil for none, and whether
// it holds back everybody for a first interval. The caller holds rt.mu.
func (rt *RecoveringRoundTripper) paceOf(r *recreation, err error) (p *pace, spaces bool) {
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
		if s := rt.streaks.get(r.authority); s != nil {
			return &s.pace, true
		}
		return nil, true
	}
	return &rt.pace, false // promotions, and factories that fail
}

// due reports whether s may have a recreation now: whether the backoff allows it
// and it is its turn. The backoff is reset when a generation has stayed healthy
// for at least the last interval.
func (rt *RecoveringRoundTripper) due(s *streak, now time.Time) bool {
	rt.relax(s.since)
	return !now.Before(rt.dueAt(s)) && !now.Before(rt.turnAt(s))
}

// relax resets the client's pace if the generation that was promoted last had
// been healthy for its interval at t.
func (rt *RecoveringRoundTripper) relax(t time.Time) {
	if rt.pacedWell && t.Sub(rt.pacedAt) >= rt.pace.interval {
		rt.pace = pace{}
	}
}

func (rt *RecoveringRoundTripper) dueAt(s *streak) time.Time {
	return later(rt.pace.notBefore, later(s.pace.notBefore, rt.spacedUntil))
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
func (rt *RecoveringRoundTripper) turnAt(s *streak) time.Time {
	for _, o := range rt.streaks.m {
		if o.tripped && o.queued.Before(s.queued) && o.turnedAway.After(o.queued) && !o.pace.notBefore.After(rt.spacedUntil) {
			return rt.spacedUntil.Add(rt.spacedUntil.Sub(rt.spacedFrom)) // for as long again
		}
	}
	return time.Time{}
}
