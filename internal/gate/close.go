package gate

import (
	"context"
	"slices"
	"time"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/generation"
)

// closeLimit is how long Settle waits for a transport's own Close.
const closeLimit = time.Second

// Close ends everything except the requests in flight. It reports whether this call did
// so: it returns false if the gate was closed before.
func (g *Gate) Close() bool {
	if g.current.Load() == nil {
		return false
	}
	var old *generation.Generation
	g.do(context.Background(), func(c *core.Client, now time.Time) {
		c.Close(now)
		if old = g.current.Swap(nil); old != nil {
			g.retired[old] = now
		}
	})
	if old != nil {
		g.Waits.Close()
		g.retire(old)
	}
	return old != nil
}

// Settle closes the transports that have nothing in flight, and waits until they are
// closed. It does not wait for long, since a transport's Close may hang.
func (g *Gate) Settle() {
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	for _, r := range g.View().Retired {
		if !r.Hurry() {
			continue
		}
		select {
		case <-r.Closed():
		case <-limit.C:
			return
		}
	}
}

// Wait waits until all retired transports are closed, or until ctx ends.
func (g *Gate) Wait(ctx context.Context) error {
	for {
		open := g.open()
		if open == nil {
			return nil
		}
		open.Hurry()
		select {
		case <-open.Closed():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// open returns a generation that was retired and is not closed; nil if there is none.
func (g *Gate) open() *generation.Generation {
	retired := g.View().Retired
	i := slices.IndexFunc(retired, func(r Retired) bool {
		select {
		case <-r.Closed():
			return false
		default:
			return true
		}
	})
	if i < 0 {
		return nil
	}
	return retired[i].Generation
}
