package gate

import (
	"math"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
)

// defaultInterval is used if the user's policy gives no interval.
const defaultInterval = time.Second

// A policy is the user's backoff policy for one pace, until the pace starts over.
type policy struct {
	epoch   uint64
	backoff backoff.BackOff // nil: none yet, or a draw has it
	last    time.Duration
}

// drawInterval asks the user's policy for an interval, never under the lock: each draw
// takes the policy out of the gate and brings it back.
func (g *Gate) drawInterval(planned bool, epoch uint64) time.Duration {
	p := &g.policies[0]
	if planned {
		p = &g.policies[1]
	}
	g.mu.Lock()
	mine := *p
	p.backoff = nil
	g.mu.Unlock()
	if mine.epoch != epoch {
		mine = policy{epoch: epoch}
	}
	mine.draw(g.cfg.NewBackOff)
	g.mu.Lock()
	*p = mine
	g.mu.Unlock()
	return mine.last
}

// draw takes the next interval. A policy that gives up, panics or ends its goroutine
// is overruled: respawn would be the outage that it is meant to end.
func (p *policy) draw(fresh func() backoff.BackOff) {
	interval := backoff.Stop
	build.Safely(func() {
		if p.backoff == nil {
			p.backoff = fresh()
		}
		interval = p.backoff.NextBackOff()
	})
	if interval < 0 {
		interval = max(p.last, defaultInterval)
	}
	p.last = interval
}

// drawPatience is within a fifth of WithPatience: a fleet whose upstream slows down
// is not to lose its patience at one instant. It is no more than what the core learns
// of an authority, and none where stalls are turned off.
func (g *Gate) drawPatience() time.Duration {
	if g.cfg.Stalls == 0 {
		return 0
	}
	return min(g.spread(g.cfg.Patience, 0.2), core.MostPatience)
}

// drawAge is how long a generation may serve: within a tenth of WithMaxAge, so that
// a fleet does not move in lockstep.
func (g *Gate) drawAge() time.Duration { return g.spread(g.cfg.MaxAge, 0.1) }

// spread draws a duration within that share of d. 0 stays 0.
func (g *Gate) spread(d time.Duration, share float64) time.Duration {
	if d == 0 {
		return 0
	}
	drawn := float64(d) * (1 - share + 2*share*g.cfg.Chance())
	if drawn >= math.MaxInt64 { // "never", in the longest duration that there is
		return math.MaxInt64
	}
	return time.Duration(drawn)
}
