package gate

import (
	"context"
	"slices"
	"time"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/generation"
)

// closeLimit is how long Settle waits for what is the user's: for a transport's own Close,
// and for whoever is told of it.
const closeLimit = time.Second

// Close ends everything except the requests in flight. told is closed when the reports of that
// have been delivered; nil: the gate was closed before this call.
func (g *Gate) Close() (told <-chan struct{}) {
	if g.current.Load() == nil {
		return nil
	}
	var old *generation.Generation
	told = g.doAside(context.Background(), func(c *core.Client, now time.Time) {
		c.Close(now)
		if old = g.current.Swap(nil); old != nil {
			g.retired[old] = now
		}
	})
	if old == nil {
		return nil
	}
	g.Waits.Close()
	g.retire(old)
	return told
}

// Settle closes the transports that have nothing in flight, and waits until they are closed
// and until told is. It does not wait for long, since either may hang.
func (g *Gate) Settle(told <-chan struct{}) {
	limit, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	for _, r := range g.View().Retired {
		if r.Hurry() || r.InFlight() == 0 { // the latter if whoever replaced it has still to retire it
			await(limit, r.Closed())
		}
	}
	await(limit, told)
}

// Wait waits until all retired transports are closed, or until ctx ends; and for told, as
// Settle does.
func (g *Gate) Wait(ctx context.Context, told <-chan struct{}) error {
	limit, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	for {
		open := g.open()
		if open == nil {
			await(limit, told)
			return nil
		}
		open.Hurry()
		if !await(ctx, open.Closed()) {
			return context.Cause(ctx)
		}
	}
}

// await waits until done is closed, and returns false if ctx ends first. A nil done is not
// waited for.
func await(ctx context.Context, done <-chan struct{}) bool {
	if done == nil {
		return true
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
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
