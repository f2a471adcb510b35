package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// A wire is what lies between a client and the server of the recovery
// workload: it counts connections, and breaks. The network of package respawntest does
// the same for tests, but a program must not link package testing, which that package
// imports.
type wire struct {
	dials     atomic.Int64 // of all transports
	deadDials atomic.Int64 // of those, through a dead session
	built     atomic.Int64 // transports

	mu   sync.Mutex
	open map[*conn]struct{}
}

func newWire() *wire { return &wire{open: map[*conn]struct{}{}} }

func (w *wire) openConns() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.dials.Add(1)
	var d net.Dialer
	inner, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, wire: w, closed: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[c] = struct{}{}
	return c, nil
}

// goDark makes all open connections swallow what is sent, and bring nothing.
func (w *wire) goDark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		c.dark.Store(true)
	}
}

// A conn is the client's end of a connection.
type conn struct {
	net.Conn
	wire   *wire
	dark   atomic.Bool
	once   sync.Once
	closed chan struct{}
}

func (c *conn) Write(p []byte) (int, error) {
	if c.dark.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.dark.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.wire.mu.Lock()
		delete(c.wire.open, c)
		c.wire.mu.Unlock()
	})
	return c.Conn.Close()
}

var errSessionShutdown = errors.New("session shutdown") // yamux says this

// A session is a transport over a tunnel, as over SSH or yamux: when the tunnel
// has died, its connections are gone and every dial fails.
type session struct {
	*http.Transport
	wire *wire
	dead atomic.Bool
}

func newSession(w *wire) *session {
	w.built.Add(1)
	s := &session{wire: w}
	s.Transport = &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: 64}
	return s
}

func (s *session) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if s.dead.Load() {
		s.wire.dials.Add(1)
		s.wire.deadDials.Add(1)
		return nil, errSessionShutdown
	}
	return s.wire.dial(ctx, network, addr)
}

// die is the fault.
func (s *session) die() {
	s.dead.Store(true)
	s.CloseIdleConnections()
}

func (s *session) Close() error {
	s.die()
	return nil
}

// A tellingSession also says that it has died, if one asks.
type tellingSession struct{ *session }

func (s tellingSession) Err() error {
	if s.dead.Load() {
		return errSessionShutdown
	}
	return nil
}
