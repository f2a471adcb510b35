package streak

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// A Pace spaces recreations.
type Pace struct {
	policy    backoff.BackOff // used only by the recreation that is being settled
	Interval  time.Duration   // the last one; 0 when fresh
	NotBefore time.Time
}

// Advance takes the policy's next interval.
func (p *Pace) Advance(newBackOff func() backoff.BackOff) { p.Interval = p.Next(newBackOff) }

// Next asks the policy for the coming interval. A policy that gives up, or
// panics, is overruled: respawn would be the outage it is meant to end.
func (p *Pace) Next(newBackOff func() backoff.BackOff) (interval time.Duration) {
	defer func() {
		if recover() != nil || interval < 0 {
			interval = max(p.Interval, time.Second)
		}
	}()
	if p.policy == nil {
		p.policy = newBackOff()
	}
	return p.policy.NextBackOff()
}
