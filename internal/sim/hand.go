package sim

import (
	"context"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// lend makes a call that is no caller's request, such as Recreate or Close.
func (w *world) lend(h hand) {
	if !w.pause(h.at) {
		return
	}
	switch h.what {
	case recreates:
		w.note("hand", "Recreate within %v", h.limit)
		w.guard(func() { w.recreate(h.limit) }, nil)
	case closesIdle:
		if w.plan.kind != quic { // where it cuts bodies, as documented there
			w.note("hand", "CloseIdleConnections")
			w.guard(w.rt.CloseIdleConnections, nil)
		}
	case middleware:
		w.note("hand", "a request comes in")
		w.guard(w.comeIn, nil)
	case closes:
		w.close()
	}
}

func (w *world) recreate(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	w.mu.Lock()
	before, began := len(w.services), w.now()
	w.mu.Unlock()
	err := w.rt.Recreate(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked("hand", "Recreate: %v", err)
	w.must(err != nil || len(w.services) > before, "Recreate returns nil, and %v is still in service", w.serving())
	w.must(err != respawn.ErrClosed || w.shutting, "Recreate says that the client is closed, which it is not")
	w.must(w.now() <= began+limit+time.Millisecond, "Recreate returns after its context's end")
}

// comeIn serves a request through respawn.Middleware, whose handler must find the client.
func (w *world) comeIn() {
	began, served := w.now(), false
	respawn.Middleware(w.rt)(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		client, ok := respawn.ClientFromContext(req.Context())
		served = ok && client.Transport == w.rt
	})).ServeHTTP(nil, testkit.Request(context.Background(), http.MethodGet, "http://in.sim/", nil))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(served, "the middleware does not hand on the client")
	w.must(w.now() == began, "the middleware waits for %v", w.now()-began)
}

// shutDown calls Close, or Shutdown, which waits until nothing is in flight any more.
func (w *world) shutDown() {
	limit := w.plan.shutdown
	if limit == 0 {
		_ = w.rt.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	w.mu.Lock()
	w.serving().retire() // its drain begins at once
	w.mu.Unlock()
	err := w.rt.Shutdown(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked("hand", "Shutdown within %v: %v", limit, err)
	took, open := w.now()-w.closedAt, 0
	for _, l := range w.links {
		open += l.open
	}
	switch err {
	case nil:
		w.must(open == 0 || w.plan.kind.real(), "Shutdown returns, and %d are in flight", open)
		w.must(took <= limit, "Shutdown returns after its context's end")
	default:
		w.must(err == context.DeadlineExceeded && took >= limit, "Shutdown returns %v after %v of %v", err, took, limit)
	}
}

func (w *world) close() {
	w.note("hand", "Close")
	w.mu.Lock()
	w.shutting, w.closedAt = true, w.now()
	w.mu.Unlock()
	w.guard(w.shutDown, nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = true
	w.serving().retire()
	w.noteLocked("hand", "Close done")
}
