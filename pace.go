package respawn

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// A pace spaces recreations.
type pace struct {
	policy    backoff.BackOff // used only by the recreation that is being settled
	interval  time.Duration   // the last one; 0 when fresh
	notBefore time.Time
}

// defaultBackOff never gives up: a policy that did would leave the process as
// stuck as the outage this package exists for.
func defaultBackOff() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Second),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxInterval(30*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
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
