package call

import (
	"context"

	"github.com/respawnhttp/respawn/internal/core"
)

// A Listener is told of events that the core does not report.
type Listener interface {
	Failed(ctx context.Context, a core.Authority, trigger string) // an attempt failed in service
	Resent(ctx context.Context, a core.Authority, n int)          // the request is sent again, for the n-th time
}

// tell calls the listener. The listener's meter or span is the user's: if that panics,
// only this report is lost.
func (c *call) tell(what func(Listener)) {
	defer func() { _ = recover() }()
	what(c.Listener)
}

// count counts an attempt, and says so if it is not the first. A copy is counted on another
// goroutine than its call's. Whoever is telling the listener tells of that one, too: the
// listener hears the numbers in their order, and the request's span keeps the last.
func (c *call) count() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	if c.telling {
		return
	}
	c.telling = true
	defer func() { c.telling = false }() // also where the listener ends the goroutine
	for c.resent < c.sent-1 {
		c.resent++
		c.tellResentUnlocked(c.resent)
	}
}

// tellResentUnlocked lets go of c.mu while it tells.
func (c *call) tellResentUnlocked(n int) {
	c.mu.Unlock()
	defer c.mu.Lock()
	c.tell(func(l Listener) { l.Resent(c.req.Context(), c.core.Authority, n) })
}
