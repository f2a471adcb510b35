package gate

import (
	"context"
	"time"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/generation"
)

// A Caller makes a core.Call, and is the call's Ticket. None of its methods may block.
type Caller interface {
	Context() context.Context  // its request's
	Wake()                     // a wait is over: it asks Next
	Recall(*core.Attempt)      // cancel it; the call asks Next if it has nothing else under way
	Part()                     // the flights under way go on, and the call asks Next meanwhile
	Copy(f Flight, trial bool) // send a copy of the request, on the candidate if it is a trial
}

// A Flight is an attempt, counted in on its generation.
type Flight struct {
	*core.Attempt
	Generation *generation.Generation
	Stripe     *generation.Stripe
}

// flightLocked counts an attempt in. The lock is held, so that its generation cannot
// be retired before.
func (g *Gate) flightLocked(a *core.Attempt) Flight {
	gen := g.last
	if r := g.recreations[a.On]; r != nil {
		gen = r.generation
	}
	g.entered++
	return Flight{a, gen, gen.EnterBy(g.entered)}
}

// Next asks the core what q does next. For Send and Try the flight is counted in.
func (g *Gate) Next(ctx context.Context, q *core.Call) (step core.Step, f Flight) {
	g.do(ctx, func(c *core.Client, now time.Time) {
		step = c.Next(now, q)
		if step.Attempt != nil {
			f = g.flightLocked(step.Attempt)
		}
	})
	return step, f
}

// Answered tells the core of an answer. It reports whether the answer counts: it does
// not if the attempt was called back.
func (g *Gate) Answered(ctx context.Context, a *core.Attempt) (counts bool) {
	g.do(ctx, func(c *core.Client, now time.Time) { counts = c.Answered(now, a) })
	return counts
}

// Failed tells the core of an attempt's error, from which o was derived. If the error
// counts, an operator, or whoever ordered the candidate, will want to know of it.
func (g *Gate) Failed(ctx context.Context, a *core.Attempt, o core.Outcome, err error) (fate core.Fate) {
	g.do(ctx, func(c *core.Client, now time.Time) {
		r, serving := g.recreations[a.On], c.Current() // as they are before it ends either
		fate = c.Failed(now, a, o)
		switch {
		case !fate.Counts || !o.IsFailure():
		case r != nil:
			r.fault = err
		case a.On == serving:
			g.failure = Failure{now, a.Call.Authority.Clone(), o.Trigger}
		}
	})
	return fate
}

// Flying reports whether an attempt of q is under way for its caller.
func (g *Gate) Flying(q *core.Call) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return q.Flying()
}

// Goes tells the core that an attempt is about to be given to its transport. It reports whether that
// may be: the attempt may have been called back.
func (g *Gate) Goes(a *core.Attempt) (goes bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.core.Goes(a)
}

// Handed tells the core that the transport of an attempt gets it.
func (g *Gate) Handed(a *core.Attempt) {
	g.do(context.Background(), func(c *core.Client, now time.Time) { c.Handed(now, a) })
}

// Asks tells the core that an attempt looks for a connection, and for a place first if queued.
func (g *Gate) Asks(a *core.Attempt, queued bool) {
	g.do(context.Background(), func(c *core.Client, _ time.Time) { c.Asks(a, queued) })
}

// Placed tells the core that an attempt waits for no place any more.
func (g *Gate) Placed(a *core.Attempt) {
	g.do(context.Background(), func(c *core.Client, now time.Time) { c.Placed(now, a) })
}

// Moves tells the core that a request of a, which it does not know, has a place in service.
func (g *Gate) Moves(a core.Authority) {
	g.do(context.Background(), func(c *core.Client, now time.Time) { c.Moves(now, a) })
}

// Connected tells the core that something of an attempt may have been sent.
func (g *Gate) Connected(a *core.Attempt) {
	g.do(context.Background(), func(c *core.Client, now time.Time) { c.Connected(now, a) })
}

// Silent tells the core that an attempt has waited for another patience.
func (g *Gate) Silent(ctx context.Context, a *core.Attempt) {
	g.do(ctx, func(c *core.Client, now time.Time) { c.Silent(now, a) })
}

// Condemned tells the core of an attempt that waits on a transport that was replaced.
func (g *Gate) Condemned(ctx context.Context, a *core.Attempt) {
	g.do(ctx, func(c *core.Client, now time.Time) { c.Condemned(now, a) })
}

// patience asks the core how long an answer may take.
func (g *Gate) patience(a core.Authority, since time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.core.Patience(time.Now(), since, a)
}

// Leave: q's caller has gone while it waited.
func (g *Gate) Leave(q *core.Call) {
	g.do(context.Background(), func(c *core.Client, _ time.Time) { c.Leave(q) })
}

// Spoiled: the flight's candidate reports that it has ended, before anything was
// sent on it.
func (g *Gate) Spoiled(ctx context.Context, f Flight) {
	g.do(ctx, func(c *core.Client, now time.Time) {
		c.Asks(f.Attempt, false)
		c.Spoiled(now, f.On)
		c.NotSent(now, f.Attempt) // it may have been promoted, or called off, in between
	})
}

// Ended: gen, which is or was in service, reports that it has ended. Whether the
// candidate has is asked before, without the lock.
func (g *Gate) Ended(ctx context.Context, gen *generation.Generation) {
	fit := true
	if candidate := g.candidate(); candidate != nil {
		fit = !candidate.Ended()
	}
	g.do(ctx, func(c *core.Client, now time.Time) { c.Ended(now, gen.ID, fit) })
}

// Prepare builds the successor of a transport that reports that it has ended, if
// that is due.
func (g *Gate) Prepare(ctx context.Context) {
	if gen := g.Current(); gen != nil && gen.Ended() {
		g.Ended(ctx, gen)
		g.do(ctx, func(c *core.Client, now time.Time) { c.Prepare(now) })
	}
}

// candidate returns the generation that can be tried; nil: there is none.
func (g *Gate) candidate() *generation.Generation {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.candidateLocked()
}

func (g *Gate) candidateLocked() *generation.Generation {
	if r := g.recreations[g.core.Candidate()]; r != nil {
		return r.generation
	}
	return nil
}
