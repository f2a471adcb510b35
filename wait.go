package respawn

import (
	"context"
	"errors"
	"time"

	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
)

// mayWait reports whether a request that failed waits for the verdict of r.
// The first trial of an outage is worth waiting for. Later ones only if the
// wait runs beside the attempt and not after it, so that during an outage
// nobody's wait is doubled.
func (c *call) mayWait(r *recreation, s *streak) bool {
	if !r.planned && r.authority != c.authority && (r.proof == proofFaster || s.rejections > 0) {
		return false // another's, which may take long, for what is slow to fail or known to be down
	}
	return c.last != nil && (r.first || c.last.began >= r.clock)
}

// awaitVerdict waits for the candidate or, if another attempt has it, for what
// becomes of it. A call whose wait is limited has failed before, so that an answer
// on the transport in service, which ends the trip, is as good as a promotion.
func (c *call) awaitVerdict(w way) (*generation.Generation, error) {
	var limit <-chan time.Time
	var over <-chan struct{}
	if w.limited {
		timer := time.NewTimer(c.patience())
		defer timer.Stop()
		limit, over = timer.C, w.over
	}
	select {
	case candidate := <-w.recreation.baton:
		return candidate, nil
	case <-w.recreation.done:
		if err := w.recreation.err; err != nil && !calledOff(err) {
			c.hadVerdict = true
		}
	case <-over:
	case <-limit:
	case <-c.req.Context().Done():
		return nil, c.gaveUp()
	case <-evidence.LegacyCancel(c.req):
		return nil, c.gaveUp()
	}
	return nil, nil
}

// restFor is the least time from an attempt to the next of a call that has used up
// those it had and waits for ready: the backoff may have no pause at all, and a
// candidate may be tried in vain without a verdict.
const restFor = time.Second

// awaitWindow waits until the next attempt may be made, or the trip is over.
func (c *call) awaitWindow(w way) error {
	timer := time.NewTimer(min(time.Until(w.until), c.patience()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.over:
	case <-c.req.Context().Done():
		return c.gaveUp()
	case <-evidence.LegacyCancel(c.req):
		return c.gaveUp()
	}
	return nil
}

// patience is what is left of WithWaitForReady, counted from the first wait.
func (c *call) patience() time.Duration {
	if c.readyBy.IsZero() {
		c.readyBy = time.Now().Add(c.rt.cfg.WaitForReady)
	}
	return time.Until(c.readyBy)
}

var errCanceled = errors.New("respawn: request canceled while waiting for a fresh transport")

// gaveUp is the error for a caller that left while the call was waiting.
func (c *call) gaveUp() error {
	if c.err != nil {
		return c.err
	}
	if err := context.Cause(c.req.Context()); err != nil {
		return err
	}
	return errCanceled
}
