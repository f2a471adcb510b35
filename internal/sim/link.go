package sim

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// A link is one simulated transport: a dialer, a pool, and what befalls
// them. Its fields are guarded by world.mu.
type link struct {
	w      *world
	number int // -1 is the fallback
	kind   kind
	ill    illness
	born   time.Duration
	self   http.RoundTripper

	pool    []*conn
	wires   []*wire       // a real transport's connections
	open    int           // requests and bodies
	over    chan struct{} // closed when it has ended for good
	ended   bool
	closes  int
	dropped bool // the library did not take it from the factory
	dialed  int  // connections got

	tries   []*try
	made    time.Duration // when the factory returned it
	run     *run          // the recreation that built it; nil for base, and if it came too late
	endedAt time.Duration
	served  bool // has been in service
	retired bool
	off     time.Duration // when it was retired
}

// The transports differ in what they can do besides RoundTrip.
type (
	silentTransport  struct{ *link }
	poolTransport    struct{ *link }
	quicTransport    struct{ *link }
	sessionTransport struct{ *link }
)

func (t *poolTransport) CloseIdleConnections() { t.closeIdle() }
func (t *quicTransport) CloseIdleConnections() { t.closeIdle() }
func (t *quicTransport) Close() error          { return t.close() }
func (t *sessionTransport) Close() error       { return t.close() }
func (t *sessionTransport) Err() error         { return t.err() }

// newLink makes the next transport.
func (w *world) newLink() *link {
	w.mu.Lock()
	n := len(w.links)
	l := &link{w: w, number: n, kind: w.plan.kind, over: make(chan struct{}), born: w.now()}
	if ill := w.plan.ills[n%len(w.plan.ills)]; l.born+ill.at < w.plan.storm {
		l.ill = ill
	}
	w.links = append(w.links, l)
	w.mu.Unlock()
	l.transport()
	if l.ill.what != hale {
		go l.fallIll()
	}
	return l
}

// transport is the link as the client sees it.
func (l *link) transport() http.RoundTripper {
	if l.self == nil {
		switch l.kind {
		case netHTTP1, netHTTP2:
			l.self = l.netHTTP()
		case http1, http2:
			l.self = &poolTransport{l}
		case quic:
			l.self = &quicTransport{l}
		case session:
			l.self = &sessionTransport{l}
		default:
			l.self = &silentTransport{l}
		}
	}
	return l.self
}

func (l *link) String() string {
	if l.number < 0 {
		return "fallback"
	}
	return fmt.Sprintf("t%d", l.number)
}

// fallIll lets the link fall ill when the time for it has come. Nobody is told.
func (l *link) fallIll() {
	if !l.w.pause(l.ill.at) {
		return
	}
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(l.String(), "falls ill: %v", l.ill.what)
	switch l.ill.what {
	case deadTunnel:
		for _, c := range l.pool {
			c.lose()
		}
		for _, c := range l.wires {
			c.lose()
		}
		l.pool = nil
	case blackHole:
		for _, c := range l.wires {
			c.goDark()
		}
		for _, c := range l.pool {
			c.black = true
		}
	case sessionOver:
		l.end()
	}
}

func (l *link) end() {
	if !l.ended {
		l.ended, l.endedAt = true, l.w.now()
		close(l.over)
	}
}

// sick reports whether the link has fallen ill with one of these.
func (l *link) sick(ills ...ill) bool {
	for _, ill := range ills {
		if l.ill.what == ill && l.w.now() >= l.born+l.ill.at {
			return true
		}
	}
	return false
}

var errSession = errors.New("session closed")

func (l *link) err() error {
	w := l.w
	if l.number >= 0 && !inFree() {
		// All calls within a tenth of a second have the same mood.
		w.mood("Err", l.number, int(w.now()/(100*time.Millisecond)))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.ended {
		return errSession
	}
	return nil
}

func (l *link) closeIdle() {
	w := l.w
	w.free()
	w.mu.Lock()
	kept := l.pool[:0]
	for _, c := range l.pool {
		idle := c.streams == 0 || l.kind == quic && c.waiting == 0
		if !idle {
			kept = append(kept, c)
			continue
		}
		c.cut = c.streams > 0
		c.lose()
	}
	l.pool = kept
	w.noteLocked(l.String(), "CloseIdleConnections")
	w.mu.Unlock()
	w.mood("CloseIdleConnections", l.number, int(w.now()))
}

func (l *link) close() error {
	w := l.w
	w.free()
	w.mu.Lock()
	w.noteLocked(l.String(), "Close")
	l.closes++
	w.must(l.closes == 1, "%v is closed twice", l)
	w.must(l.open == 0, "%v is closed with %d in flight", l, l.open)
	w.must(w.shutting || l != w.serving(), "%v is closed in service", l)
	for _, c := range l.pool {
		c.lose()
	}
	l.pool = nil
	l.end()
	w.mu.Unlock()
	w.mood("Close", l.number)
	return nil
}

// servedAt is when it was put in service.
func (l *link) servedAt() time.Duration {
	for _, s := range l.w.services {
		if s.link == l {
			return s.at
		}
	}
	return -1
}

// retire notes that the client has no more use for the transport; the caller holds
// w.mu.
func (l *link) retire() {
	if !l.retired {
		l.retired, l.off = true, l.w.now()
	}
}

// A conn is a connection to one authority.
type conn struct {
	link    *link
	au      int
	streams int           // requests and bodies on it
	waiting int           // of these, without headers yet
	broken  chan struct{} // closed when it is lost
	lost    bool
	black   bool // swallows everything
	cut     bool // closed by CloseIdleConnections with a body open
}

func (c *conn) lose() {
	if !c.lost {
		c.lost = true
		close(c.broken)
	}
}

// leave takes a stream off the connection. A connection is not used again if it is lost, or if it
// carries one request at a time and the last exchange did not end cleanly. The caller holds w.mu.
func (c *conn) leave(clean bool) {
	c.streams--
	if !c.lost && (clean || c.link.kind.shares()) {
		if c.link.closes > 0 {
			c.lose()
		}
		return
	}
	c.lose()
	pool := c.link.pool[:0]
	for _, other := range c.link.pool {
		if other != c {
			pool = append(pool, other)
		}
	}
	c.link.pool = pool
}
