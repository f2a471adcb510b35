package generation

import (
	"io"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
)

// sweeps are the times after the drain at which idle connections are closed
// again: HTTP/2 marks a connection idle only after the last body's end was
// seen, and a dial that lost its caller pools its connection when it is done.
var sweeps = [...]time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second}

// Retire lets no new request in, waits for those in flight without blocking,
// and then closes the transport. drained is called when the last one has left,
// gone when nothing is left to do.
// It must be called once, after another generation has been published.
func (g *Generation) Retire(drainTimeout time.Duration, drained, gone func()) {
	var limit *time.Timer
	if drainTimeout > 0 {
		limit = time.AfterFunc(drainTimeout, g.cutNow)
	}
	g.drain(func() {
		if limit != nil {
			limit.Stop()
			g.cutNow()
		}
		drained()
		g.sweep(0, gone)
	})
	// What is idle can go at once, if it is net/http's: http3 takes a
	// connection for idle whose headers have come, and would cut its body.
	if t, ok := g.Transport.(*http.Transport); ok {
		closeIdle(t)
	}
}

// drain lets no new request in and calls then, once, when the last one in
// flight has left.
func (g *Generation) drain(then func()) {
	g.onDrain = then
	for i := range g.stripes {
		g.stripes[i].n.Add(closedStripe)
	}
	g.closeIfDrained()
}

func (g *Generation) sweep(i int, gone func()) {
	g.closeIdle()
	closer, closes := g.Transport.(io.Closer)
	switch {
	case i > 0 && closes:
		_ = closer.Close() // nobody is left to tell
		gone()
	case i == len(sweeps):
		gone()
	default:
		time.AfterFunc(sweeps[i], func() { g.sweep(i+1, gone) })
	}
}

func (g *Generation) closeIdle() { closeIdle(g.Transport) }

// closeIdle leaves http.DefaultTransport alone when it is base: its pool
// belongs to the whole process.
func closeIdle(rt http.RoundTripper) {
	if build.SameInstance(rt, http.DefaultTransport) {
		return
	}
	if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
