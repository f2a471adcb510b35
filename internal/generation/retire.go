package generation

import (
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
)

// When is the old transport closed? 100 ms after its last request is out, or at once if
// none was in flight when it was replaced (sweep). From its replacement on it lets no new
// request in. A request is out when its response body has come to its end, has failed, or
// is closed; when a Read of the body does not return, since it panics or ends its goroutine, as
// its reader may never close it then; at once where the response has no body; and when it ends in
// an error. An upgraded connection is out only when it is closed (isUpgraded in body.go). Requests that
// still wait for their answer leave earlier if the core calls them back, to send them on the
// new transport or because another attempt of theirs was answered (internal/core/promote.go).
// Nothing else is cut, unless WithDrainTimeout is set: then what is still in flight at that
// time ends with ErrDrained (cutNow).
//
// Closing means two things. The idle connections of the transport's pool are closed: at once
// if it is net/http's, again at the end, and a little later for connections that were pooled
// late. And its own Close is called, once, if it has one. Where nothing is in flight any more,
// the client's Close and Shutdown call that Close without the 100 ms (Hurry). A candidate that
// was rejected is closed in the same way.

// sweeps are the pauses, the first of them after the drain, between which idle connections
// are closed again: HTTP/2 marks a connection idle only after the last body's end was
// seen, and a dial that lost its caller pools its connection when it is done.
var sweeps = [...]time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second}

// An Heir hears of a generation's end. Its methods are called once each, but for
// Broke.
type Heir interface {
	Drained()            // the last request has left
	Gone()               // nothing is left to do
	Broke(method string) // the transport's method panicked
}

// Retire lets no new request in, waits for those in flight without blocking, and
// then closes the transport, in a goroutine of its own, since the transport's methods may
// block. A transport with nothing in flight is closed at once, another a little
// after its last request, whose end it may have to see first. Retire must be called
// once, after another generation has been published.
func (g *Generation) Retire(drainTimeout time.Duration, h Heir) {
	g.heir = h
	g.quiet = g.InFlight() == 0
	var limit *time.Timer
	if drainTimeout > 0 {
		limit = time.AfterFunc(drainTimeout, g.cutNow)
	}
	g.drain(func() {
		if limit != nil {
			limit.Stop()
			g.cutNow()
		}
		h.Drained()
		g.empty.Store(true)
		go g.sweep(0)
	})
	// net/http's idle connections can be closed at once. http3 takes a connection for
	// idle once the headers have come, and would cut the body.
	if !g.quiet {
		go g.attempt("CloseIdleConnections", func() {
			t, _ := build.Outermost[*http.Transport](g.Transport)
			build.CloseIdle(t)
		})
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

// sweep closes the idle connections for the i-th time. It also closes the transport itself:
// the first time if nothing was in flight, else the second time.
func (g *Generation) sweep(i int) {
	closer, all := build.Closer(g.Transport)
	all = all && closer != nil
	shut := g.shut.Load()
	g.attempt("CloseIdleConnections", func() { build.CloseIdle(g.Transport) })
	if shut = shut || g.quiet || i > 0; shut {
		g.Shut()
	}
	if i == len(sweeps) || shut && all {
		g.heir.Gone()
		return
	}
	time.AfterFunc(sweeps[i], func() { g.sweep(i + 1) })
}

// Hurry closes the transport now if nothing is in flight any more, and reports
// whether that is so.
func (g *Generation) Hurry() bool {
	if !g.empty.Load() {
		return false
	}
	if !g.quiet { // which is under way
		go g.Shut()
	}
	return true
}

// Shut closes the transport, once, if it can be closed. It returns when that is done.
func (g *Generation) Shut() {
	if g.shut.Swap(true) {
		<-g.closed
		return
	}
	defer close(g.closed)
	if c, _ := build.Closer(g.Transport); c != nil {
		g.attempt("Close", func() { _ = c.Close() }) // nobody is left to tell
	}
}

// Closed is closed when the transport was.
func (g *Generation) Closed() <-chan struct{} { return g.closed }

// attempt calls a method of the transport's, which may panic or end its goroutine. Whoever
// hears of that does not hold up the rest, and may wait for it.
func (g *Generation) attempt(method string, call func()) {
	done := make(chan struct{})
	returned := false
	go func() {
		defer func() {
			close(done)
			if !returned {
				_ = recover()
				g.heir.Broke(method)
			}
		}()
		call()
		returned = true
	}()
	<-done
}
