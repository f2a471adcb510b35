package integration

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
)

// A world is an upstream, the way to it, and how transports to it are built.
type world struct {
	r      *report
	server *server
	url    string
	way    *respawntest.Host // that clients connect to; nil where that is a real socket
	build  respawn.Factory
	cloned bool // respawn needs no factory: it clones what build made first
}

// first builds what a client starts from.
func (w *world) first(t *testing.T) http.RoundTripper {
	t.Helper()
	transport, err := w.build(t.Context())
	require.NoError(t, err)
	return transport
}

// start puts respawn on a first transport.
func (w *world) start(t *testing.T, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	t.Helper()
	if !w.cloned {
		opts = append([]respawn.Option{respawn.WithFactory(w.build)}, opts...)
	}
	return w.r.start(t, w.first(t), opts...)
}

// A fault breaks the transport in service, or what that stands on.
type fault func(t *testing.T, inService http.RoundTripper)

// reset resets all connections of the way.
func (w *world) reset(*testing.T, http.RoundTripper) { w.way.Reset() }

// dark makes the connections that are open now lose everything that is sent. New ones are served.
func (w *world) dark(*testing.T, http.RoundTripper) { w.way.BlackHoleConnections() }

// closed closes the transport itself.
func closed(t *testing.T, inService http.RoundTripper) {
	require.NoError(t, inService.(io.Closer).Close())
}

// An ordeal is a fault and how it is met.
type ordeal struct {
	fault    fault
	deadline time.Duration // of each GET; patience if zero
	window   time.Duration // how long the bare transport is watched; 300 ms if zero
	linger   time.Duration // how long respawn is watched on, after it has recovered
	heals    bool          // the bare transport recovers by itself: count what that costs
	opts     []respawn.Option
}

// undergo shows what the fault does to a bare transport, and lets respawn meet
// it under a load of GETs. It fills in the report.
func (w *world) undergo(o ordeal) *respawn.RecoveringRoundTripper {
	r, t := w.r, w.r.t
	t.Helper()
	if o.deadline == 0 {
		o.deadline = patience
	}
	if o.window == 0 {
		o.window = 300 * time.Millisecond
	}
	meet := func(rt, inService http.RoundTripper) (*load, time.Time) {
		l := client{RoundTripper: rt, url: w.url, deadline: o.deadline}.gets(t, workers)
		l.awaitSuccesses(50, time.Now())
		o.fault(t, inService)
		curable := time.Now()
		l.awaitSuccesses(200, curable)
		return l, curable
	}

	bare := w.first(t)
	if o.heals {
		l, _ := meet(bare, bare)
		r.takeBare(l)
	} else {
		c := client{RoundTripper: bare, url: w.url, deadline: o.deadline}
		require.NoError(t, c.get())
		o.fault(t, bare)
		require.Eventually(t, func() bool { return c.get() != nil }, patience, time.Millisecond, "the fault breaks nothing")
		r.keepsFailing(c, o.window)
	}
	w.discard(bare)

	rt := w.start(t, o.opts...)
	l, curable := meet(rt, rt.WrappedRoundTripper())
	if o.linger > 0 {
		l.awaitSuccesses(1, time.Now().Add(o.linger))
	}
	r.take(curable, rt, l)
	return rt
}

// discard closes a bare transport and all its connections.
func (w *world) discard(bare http.RoundTripper) {
	if w.way != nil {
		w.way.Reset() // or a black hole would stay in the pool for minutes
	}
	if c, ok := bare.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	if c, ok := bare.(io.Closer); ok {
		_ = c.Close() // most faults have closed it
	}
}

// factory makes a Factory of a function that builds one type of transport.
func factory[T http.RoundTripper](build func(context.Context) (T, error)) respawn.Factory {
	return func(ctx context.Context) (http.RoundTripper, error) {
		transport, err := build(ctx)
		if err != nil {
			return nil, err // a nil pointer in an interface is not nil
		}
		return transport, nil
	}
}

// healed asserts that the fault has cost nothing that could be sent again, and
// one fresh transport.
func (r *report) healed() {
	r.t.Helper()
	require.Zero(r.t, r.Failed, "a replayable request was lost")
	require.Equal(r.t, 2, r.Built, "one fault, one fresh transport")
	require.Equal(r.t, 1, r.Promoted)
}
