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

// Close ends it all but what is in flight. It reports whether it did: not if the
// gate was closed before.
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

// Settle closes what has nothing in flight, and waits for that; not for long, since a
// transport's Close may hang.
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

// Wait waits until all that was retired is closed, or for the end of ctx.
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
