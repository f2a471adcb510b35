package respawn

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// A simLink is one simulated transport: a dialer, a pool, and what befalls
// them. Its fields are guarded by simWorld.mu.
type simLink struct {
	w      *simWorld
	number int // -1 is the fallback
	kind   simKind
	ill    simIllness
	born   time.Duration
	self   http.RoundTripper

	pool    []*simConn
	wires   []*simWire    // of a real one
	open    int           // requests and bodies
	trial   *simTry       // the one under way
	trying  int           // trials under way
	failed  *simTry       // the last of them that did
	over    chan struct{} // closed when it has ended for good
	ended   bool
	closes  int
	dropped bool // the library did not take it from the factory
	dialed  int  // connections got
	answers int  // first bytes

	served  bool // has been in service
	retired bool
	off     time.Duration // when it was retired
}

// The transports differ in what they can do besides RoundTrip.
type (
	simSilentTransport struct{ *simLink }
	simPoolTransport   struct{ *simLink }
	simQUICTransport   struct{ *simLink }
	simSessTransport   struct{ *simLink }
)

func (t *simPoolTransport) CloseIdleConnections() { t.closeIdle() }
func (t *simQUICTransport) CloseIdleConnections() { t.closeIdle() }
func (t *simQUICTransport) Close() error          { return t.close() }
func (t *simSessTransport) Close() error          { return t.close() }
func (t *simSessTransport) Err() error            { return t.err() }

// newLink makes the next transport.
func (w *simWorld) newLink() *simLink {
	w.mu.Lock()
	n := len(w.links)
	l := &simLink{w: w, number: n, kind: w.plan.kind, over: make(chan struct{}), born: w.now()}
	if ill := w.plan.ills[n%len(w.plan.ills)]; l.born+ill.at < w.plan.storm {
		l.ill = ill
	}
	w.links = append(w.links, l)
	w.mu.Unlock()
	l.transport()
	if l.ill.what != simHale {
		go l.fallIll()
	}
	return l
}

// transport is the link as the client sees it.
func (l *simLink) transport() http.RoundTripper {
	if l.self == nil {
		switch l.kind {
		case simNetHTTP1, simNetHTTP2:
			l.self = l.netHTTP()
		case simHTTP1, simHTTP2:
			l.self = &simPoolTransport{l}
		case simQUIC:
			l.self = &simQUICTransport{l}
		case simSession:
			l.self = &simSessTransport{l}
		default:
			l.self = &simSilentTransport{l}
		}
	}
	return l.self
}

func (l *simLink) String() string {
	if l.number < 0 {
		return "fallback"
	}
	return fmt.Sprintf("t%d", l.number)
}

// fallIll waits for its time to come. Nobody is told.
func (l *simLink) fallIll() {
	if !l.w.pause(l.ill.at) {
		return
	}
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(l.String(), "falls ill: %v", l.ill.what)
	switch l.ill.what {
	case simTunnel:
		for _, c := range l.pool {
			c.lose()
		}
		for _, c := range l.wires {
			c.lose()
		}
		l.pool = nil
	case simBlack:
		for _, c := range l.wires {
			c.goDark()
		}
		for _, c := range l.pool {
			c.black = true
		}
	case simEnded:
		l.end()
	}
}

func (l *simLink) end() {
	if !l.ended {
		l.ended = true
		close(l.over)
	}
}

// sick reports whether the link has fallen ill with one of these.
func (l *simLink) sick(ills ...simIll) bool {
	for _, ill := range ills {
		if l.ill.what == ill && l.w.now() >= l.born+l.ill.at {
			return true
		}
	}
	return false
}

var errSimSession = errors.New("session closed")

func (l *simLink) err() error {
	l.w.free("Err")
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.ended {
		return errSimSession
	}
	return nil
}

func (l *simLink) closeIdle() {
	w := l.w
	w.free("CloseIdleConnections")
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := l.pool[:0]
	for _, c := range l.pool {
		idle := c.streams == 0 || l.kind == simQUIC && c.waiting == 0
		if !idle {
			kept = append(kept, c)
			continue
		}
		c.cut = c.streams > 0
		c.lose()
	}
	l.pool = kept
	w.noteLocked(l.String(), "CloseIdleConnections")
}

func (l *simLink) close() error {
	w := l.w
	w.free("Close")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(l.String(), "Close")
	l.closes++
	w.must(l.closes == 1, "%v is closed twice", l)
	w.must(l.open == 0, "%v is closed with %d in flight", l, l.open)
	w.must(l != w.linkOf(w.rt.current.Load()), "%v is closed in service", l)
	for _, c := range l.pool {
		c.lose()
	}
	l.pool = nil
	l.end()
	return nil
}

// A simConn is a connection to one authority.
type simConn struct {
	link    *simLink
	au      int
	streams int           // requests and bodies on it
	waiting int           // of these, without headers yet
	broken  chan struct{} // closed when it is lost
	lost    bool
	black   bool // swallows everything
	cut     bool // lost by our own hand, with a body open
}

func (c *simConn) lose() {
	if !c.lost {
		c.lost = true
		close(c.broken)
	}
}

// leave takes a stream off the connection. broken ones, and those of HTTP/1
// that are in an unknown state, are not used again. The caller holds w.mu.
func (c *simConn) leave(clean bool) {
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
