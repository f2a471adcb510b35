// Package gate is the shell of the core: the one lock, the one timer, and the
// transports. It takes events to the core under the lock, and performs what the core
// asks for without it. It decides nothing.
package gate

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/patience"
)

// A Gate keeps one client's transports. All its methods are safe for concurrent
// use.
type Gate struct {
	cfg      *config.Config
	client   http.RoundTripper // the client that owns the gate; a factory's product must not be or wrap it
	builder  build.Builder     // read-only, as those above
	listener Listener

	// These fields are all that the healthy path reads.
	current atomic.Pointer[generation.Generation] // in service; nil once closed
	alert   atomic.Pointer[Alert]                 // nil: nothing is suspected or under way
	clock   atomic.Uint64                         // the core's
	served  atomic.Uint64                         // when the latest attempt began whose answer the core was not told of

	Waits patience.Registry // the requests that wait for an answer; it has locks of its own

	lingering atomic.Bool // it was told that generations drain for minutes

	// mu guards all fields below. It is held for loads and stores only, never across
	// I/O, the factory, a callback of any kind, or a log; do takes it for every event.
	mu          sync.Mutex
	core        core.Client
	covered     cover                  // by alert
	recreations map[uint64]*Recreation // by candidate, until its transport is in service or retired
	last        *generation.Generation // in service, or when the gate was closed
	retired     map[*generation.Generation]time.Time
	orders      []*order  // that wait
	policies    [2]policy // of need, and of what was planned
	timer       *time.Timer
	armed       time.Time // when timer fires; zero: it does not
	told        queue
	entered     uint64 // flights, which it spreads over a generation's stripes
	failure     Failure
	unbuilt     error // why the factory gave none, while there is no transport yet
}

// Open makes g the gate of client, which serves from base, or from [build.Nothing] until
// the first transport is built. The listener is told of all that happens after Open. A gate
// that was not opened is closed.
func (g *Gate) Open(cfg *config.Config, client, base http.RoundTripper, l Listener) {
	now := time.Now()
	g.cfg, g.client, g.listener = cfg, client, l
	g.recreations, g.retired = make(map[uint64]*Recreation), make(map[*generation.Generation]time.Time)
	g.builder = build.Builder{
		Factory: cfg.Factory, Limit: cfg.RecreateTimeout, InService: g.inService, Discard: g.discard,
	}
	rules := core.Rules{
		Threshold: cfg.Threshold, Stalls: cfg.Stalls, StallSpan: cfg.StallSpan, Patience: g.drawPatience(),
		RecreateTimeout: cfg.RecreateTimeout, Fallback: cfg.Fallback != nil,
	}
	g.last = generation.New(base, cfg.DrainTimeout)
	g.last.ID = 1
	if _, none := base.(build.Nothing); none {
		g.core = *core.NewAbsent(rules, now)
	} else {
		g.core, g.last.Number = *core.New(rules, now, g.drawAge()), 1
	}
	g.Waits.Open(rules.Patience, g.patience)
	g.current.Store(g.last)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.publishLocked()
	g.armLocked(now)
}

// Current returns the generation in service; nil once the gate is closed.
func (g *Gate) Current() *generation.Generation { return g.current.Load() }

// Last returns the generation in service, or the one that was when the gate was
// closed.
func (g *Gate) Last() *generation.Generation {
	if gen := g.current.Load(); gen != nil {
		return gen
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

// Absent returns the reason why nobody can be served while there is no transport yet;
// nil once there has been one.
func (g *Gate) Absent() error {
	g.mu.Lock()
	served, why := g.last.Number > 0, g.unbuilt
	g.mu.Unlock()
	switch {
	case served:
		return nil
	case why == nil:
		return build.ErrNothing
	}
	return fmt.Errorf("%w: %w", build.ErrNothing, why) // reads an error of the user's
}

// Clock returns the core's clock, which an attempt on the healthy path notes before it
// begins.
func (g *Gate) Clock() core.Instant { return core.Instant(g.clock.Load()) }

// Served notes an answer that the core does not hear of, to an attempt that began at
// the given instant. Such an answer comes from an authority that is well, on the
// healthy path while something else is suspected, or from the fallback. Most calls cost
// one load.
func (g *Gate) Served(began core.Instant) {
	for {
		latest := g.served.Load()
		if latest >= uint64(began) || g.served.CompareAndSwap(latest, uint64(began)) {
			return
		}
	}
}

// do takes an event to the core, and performs what the core asks for. ctx is the context of
// the event. The reports come last: a logger that blocks then holds up no request that waits
// for a verdict.
func (g *Gate) do(ctx context.Context, event func(c *core.Client, now time.Time)) {
	if g.act(ctx, event) {
		g.deliver()
	}
}

// doAside is do for a caller that no logger and no tracer may hold up: it may be called by
// one, and may have promised to return in time. told is closed when the reports have been
// delivered; at once, if another goroutine is delivering already, which takes these along.
func (g *Gate) doAside(ctx context.Context, event func(c *core.Client, now time.Time)) (told <-chan struct{}) {
	done := make(chan struct{})
	if !g.act(ctx, event) {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		g.deliver()
	}()
	return done
}

// act is the only way into the core: it takes an event there under the lock, and then
// performs what the core asks for without the lock. It returns true if the reports are left
// to its caller, who must deliver them.
func (g *Gate) act(ctx context.Context, event func(c *core.Client, now time.Time)) (deliver bool) {
	now := time.Now()
	g.mu.Lock()
	event(&g.core, now)
	w := g.takeLocked(ctx, now)
	g.mu.Unlock()
	g.perform(w)
	return w.deliver
}

// tick is the timer's event. Time alone may promote a planned candidate, so tick first
// looks whether that has ended.
func (g *Gate) tick() {
	var spoiled uint64
	build.Safely(func() { // an Err that does not return must not stop the clock
		if candidate := g.candidate(); candidate != nil && candidate.Ended() {
			spoiled = candidate.ID
		}
	})
	g.do(context.Background(), func(c *core.Client, now time.Time) {
		g.armed = time.Time{}
		if spoiled != 0 {
			c.Spoiled(now, spoiled)
		}
		c.Served(core.Instant(g.served.Load()))
		c.Tick(now)
	})
}

// armLocked sets the timer to the core's deadline.
func (g *Gate) armLocked(now time.Time) {
	at := g.core.Deadline()
	if at.Equal(g.armed) {
		return
	}
	g.armed = at
	switch {
	case at.IsZero():
		g.timer.Stop()
	case g.timer == nil:
		g.timer = time.AfterFunc(at.Sub(now), weakly(g, (*Gate).tick))
	default:
		g.timer.Reset(at.Sub(now))
	}
}
