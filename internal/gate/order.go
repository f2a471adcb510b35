package gate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
)

// ErrClosed is the error of requests once the gate is closed.
var ErrClosed = build.NewKindError("closed", "respawn: the RoundTripper is closed")

// An order is a call of Recreate.
type order struct {
	core.Order
	ctx   context.Context // its caller's
	done  chan struct{}
	fault error // behind the rejection; written before done is closed
}

// answer is the order's outcome, once it is done. It reads the fault, which is the
// user's, so that nobody may ask for it under the lock.
func (o *order) answer() error {
	kind, _ := o.Done()
	if kind == "" {
		return nil
	}
	return rejection(kind, o.fault)
}

// Recreate asks for a fresh transport, and waits until it is in service or was
// rejected, or for the end of ctx. Only the gate's own ErrClosed is returned as it
// is: a factory, or a context's cause, may be that error, too.
func (g *Gate) Recreate(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return notRecreated(err)
	}
	if g.current.Load() == nil {
		return ErrClosed // or never opened
	}
	o := &order{ctx: ctx, done: make(chan struct{})}
	o.Ticket = o
	g.doAside(ctx, func(c *core.Client, now time.Time) {
		g.orders = append(g.orders, o)
		c.Recreate(now, &o.Order)
	})
	select {
	case <-o.done:
	case <-ctx.Done():
		over := false
		g.doAside(ctx, func(c *core.Client, now time.Time) {
			if _, over = o.Done(); !over {
				g.dropLocked(o)
				c.Abandon(now, &o.Order)
			}
		})
		if !over {
			return notRecreated(context.Cause(ctx))
		}
	}
	return o.answer()
}

func notRecreated(err error) error { return fmt.Errorf("respawn: recreate: %w", err) }

// answerLocked tells the callers of Recreate the outcome.
func (g *Gate) answerLocked(done []*core.Order) {
	for _, d := range done {
		o := d.Ticket.(*order)
		g.dropLocked(o)
		if r := g.recreations[d.Candidate()]; r != nil {
			o.fault = r.fault
		}
	}
}

// dropLocked forgets an order that is over.
func (g *Gate) dropLocked(o *order) {
	g.orders = slices.DeleteFunc(g.orders, func(p *order) bool { return p == o })
}

// originLocked returns the context of whoever asked for b. The event with which a build begins
// may be anybody's: an order waits until another planned candidate is over, and a request that is
// silent until a copy of it is due. ctx is that of the event.
func (g *Gate) originLocked(ctx context.Context, b *core.Build) context.Context {
	switch {
	case b.Asked != nil:
		return b.Asked.Ticket.(Caller).Context()
	case !b.Planned:
		return ctx
	}
	for _, o := range g.orders {
		if o.Candidate() == b.ID {
			return o.ctx
		}
	}
	return context.Background() // its age asked for it
}

// rejection is the error that Recreate returns when the candidate is rejected.
func rejection(kind string, fault error) error {
	text, ours := texts[kind]
	switch {
	case kind == core.ClosedMeanwhile:
		return ErrClosed
	case ours:
		return notRecreated(build.NewKindError(kind, text))
	case fault != nil:
		return notRecreated(fault)
	}
	return notRecreated(build.NewKindError(kind, "the fresh transport was rejected: "+kind))
}

// texts are what the core's own kinds of rejection mean.
var texts = map[string]string{
	core.CurrentRecovered: "the current transport recovered by itself",
	core.UpstreamSlow:     "the fresh transport was no faster: the upstream is slow",
	core.TrialTimeout:     "the fresh transport did not prove itself within WithRecreateTimeout",
	core.Untried:          "nobody was left to try the fresh transport",
	core.Superseded:       "a newer transport was asked for",
	core.GivenUp:          "the caller of Recreate gave up",
}
