package gate

import (
	"context"
	"fmt"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
)

// ErrClosed is what requests get once the gate is closed.
var ErrClosed = build.NewKindError("closed", "respawn: the RoundTripper is closed")

// An order is a call of Recreate.
type order struct {
	core.Order
	done chan struct{}
	err  error // written before done is closed
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
	o := &order{done: make(chan struct{})}
	o.Ticket = o
	g.do(ctx, func(c *core.Client, now time.Time) { c.Recreate(now, &o.Order) })
	select {
	case <-o.done:
	case <-ctx.Done():
		err := notRecreated(context.Cause(ctx))
		g.do(ctx, func(c *core.Client, now time.Time) {
			if _, done := o.Done(); done {
				err = o.err // it was over first
				return
			}
			c.Abandon(now, &o.Order)
		})
		return err
	}
	return o.err
}

func notRecreated(err error) error { return fmt.Errorf("respawn: recreate: %w", err) }

// answerLocked says to those who ordered what came of it.
func (g *Gate) answerLocked(done []*core.Order) {
	for _, d := range done {
		o := d.Ticket.(*order)
		if kind, _ := d.Done(); kind != "" {
			o.err = rejection(kind, g.recreations[d.Candidate()])
		}
	}
}

// rejection is what whoever ordered a candidate hears of its rejection.
func rejection(kind string, r *Recreation) error {
	text, ours := texts[kind]
	switch {
	case kind == core.ClosedMeanwhile:
		return ErrClosed
	case ours:
		return notRecreated(build.NewKindError(kind, text))
	case r != nil && r.fault != nil:
		return notRecreated(r.fault)
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
	core.GivenUp:          "the Recreate that asked for it was given up",
}
