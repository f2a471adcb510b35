package call

import (
	"context"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/gate"
)

// The gate calls these methods on the goroutine that brought the event.

// Wake implements [gate.Caller].
func (c *call) Wake() {
	select {
	case c.woken <- struct{}{}:
	default: // one is enough
	}
}

// Recall implements [gate.Caller].
func (c *call) Recall(a *core.Attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recalled = append(c.recalled, a)
	for _, fl := range c.flights {
		if fl.Attempt == a {
			fl.recall()
		}
	}
}

// Context implements [gate.Caller].
func (c *call) Context() context.Context { return c.req.Context() }

// Part implements [gate.Caller].
func (c *call) Part() {
	c.deputize() // its caller may wait in the transport that was replaced
	c.Wake()
}

// Copy implements [gate.Caller]. Only the control of an answered copy is no trial. It goes on
// without its caller, who has that answer, or is about to have it.
func (c *call) Copy(f gate.Flight, trial bool) {
	c.deputize()
	hold := newLeash
	if !trial {
		hold = newLoose
	}
	var fl *flight // nil: the caller's context panicked
	build.Safely(func() { fl = c.depart(f, c.req, trial, hold(c.req.Context())) })
	go func() {
		airborne := false
		defer func() { // also where Err or whoever is told did not return
			if !airborne {
				c.unsent(fl, f)
			}
		}()
		switch {
		case fl == nil:
			return
		case trial && f.Generation.Ended():
			c.Gate.Spoiled(c.req.Context(), f)
			return
		case !c.Gate.Goes(f.Attempt):
			return
		}
		c.count()
		airborne = true
		fl.alone()
	}()
}

// unsent: an attempt, fl if it has departed, was not sent. Unless it was called back, its call goes
// no further, but for what a copy was beside.
func (c *call) unsent(fl *flight, f gate.Flight) {
	if fl == nil {
		f.Stripe.Leave()
	} else {
		c.arrived(fl)
		fl.bond.Leave()
	}
	c.Gate.Failed(c.req.Context(), f.Attempt, core.Outcome{Left: true, Lost: true}, nil)
	c.Wake() // await may wait for this flight alone
}
