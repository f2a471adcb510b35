package gate

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
)

// A Recreation is one candidate, from its build to its promotion or rejection.
type Recreation struct {
	core.Build
	Start time.Time
	Ctx   context.Context // that of the event that led to it, without its end; then the one that Begin returned
	Seen  any             // the listener's

	begun      chan struct{} // closed when Begin has returned: Ctx and Seen are written
	cancel     context.CancelCauseFunc
	generation *generation.Generation // once it is built
	over       bool                   // there is no transport, and will be none
	fault      error                  // the factory's, or of the latest trial that failed
}

// Begun reports whether Begin has returned, so that Ctx and Seen can be read.
func (r *Recreation) Begun() bool {
	select {
	case <-r.begun:
		return true
	default:
		return false
	}
}

// protocol returns the protocol version of the candidate's latest answer.
func (r *Recreation) protocol() string {
	if r.generation == nil {
		return ""
	}
	return r.generation.Protocol()
}

// beginLocked notes a build, which the caller starts without the lock.
func (g *Gate) beginLocked(ctx context.Context, now time.Time, b core.Build) *Recreation {
	r := &Recreation{Build: b, Start: now, begun: make(chan struct{})}
	// A caller that gives up does not end the recreation.
	r.Ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	g.recreations[b.ID] = r
	return r
}

// build runs the factory, on the recreation's own goroutine. Whatever the user's functions
// do to that goroutine, the core is told that the build has ended.
func (g *Gate) build(r *Recreation) {
	var product http.RoundTripper
	err := build.ErrExited
	draw := core.Draw{Interval: defaultInterval}
	defer func() { // also when a callback has ended this goroutine
		g.built(r, product, err, draw)
		r.cancel(nil)
	}()
	g.begin(r)
	draw = core.Draw{Interval: g.drawInterval(r.Planned, r.Epoch), MaxAge: g.drawAge()}
	g.do(r.Ctx, func(c *core.Client, _ time.Time) { c.Drawn(r.ID, draw) })
	product, err = g.builder.Build(r.Ctx)
}

// begin tells the listener that r has begun, and lets the report of its end, which waits
// for that, go on.
func (g *Gate) begin(r *Recreation) {
	defer close(r.begun)
	build.Safely(func() { r.Ctx = g.listener.Begin(r) }) // a tracer that does not return costs its span
}

// built tells the core that a build has ended.
func (g *Gate) built(r *Recreation, product http.RoundTripper, err error, d core.Draw) {
	kind := factoryKind(err)
	var gen *generation.Generation
	if err == nil {
		gen = generation.New(product, g.cfg.DrainTimeout) // it asks what the product wraps
	}
	g.do(r.Ctx, func(c *core.Client, now time.Time) {
		if err != nil {
			if c.Candidate() == r.ID { // else the build was called off, and err comes of that
				r.fault, g.unbuilt = err, err
			}
			c.NotBuilt(now, r.ID, kind, d)
			r.over = true
			return
		}
		r.generation, gen.ID = gen, r.ID
		c.Built(now, r.ID, g.last.InFlight() == 0, d)
	})
}

// factoryKind names a factory's fault; "" if there is none. An error of the factory's
// own dials is not the upstream's, so it has a name of its own. The name that a user's
// error gives itself may be anything, so it is not reported. An error that panics when
// it is inspected, as a nil pointer may, has no kind.
func factoryKind(err error) (kind string) {
	if err == nil {
		return ""
	}
	kind = "factory_error"
	build.Safely(func() {
		if fault := build.Fault(err); fault != "" {
			kind = fault
		} else if trigger := evidence.TriggerOf(err); trigger != evidence.TriggerOther {
			kind = "factory_" + trigger
		}
	})
	return kind
}

// inService reports whether a factory's product is not fresh: closing it, or a
// transport that it wraps, would break one that somebody else uses. Any client is one of those.
func (g *Gate) inService(product http.RoundTripper) bool {
	for layer := range build.Layers(product) {
		if reflect.TypeOf(layer) == reflect.TypeOf(g.client) {
			return true
		}
	}
	for _, ours := range append(g.transports(), g.client, g.cfg.Fallback) {
		if build.Shares(product, ours) {
			return true
		}
	}
	return false
}

// transports returns those that are in service, on trial, or not closed yet: a factory call
// that hung may return one of them late. What they wrap must be asked without the lock,
// since the method is the user's.
func (g *Gate) transports() []http.RoundTripper {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := []http.RoundTripper{g.last.Transport}
	for _, r := range g.recreations {
		if r.generation != nil {
			all = append(all, r.generation.Transport)
		}
	}
	for gen := range g.retired {
		all = append(all, gen.Transport)
	}
	return all
}
