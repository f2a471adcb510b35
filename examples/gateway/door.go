package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// A door is a TCP listener on the loopback that can fail as networks do. Each
// client of the show comes through a door of its own, so that nothing one does
// helps or hurts the other. The network of package respawntest does the same for tests,
// but a program must not link package testing, which that package imports.
type door struct {
	address  string
	accepted atomic.Int64

	mu       sync.Mutex
	listener net.Listener  // nil while the door is shut
	changed  chan struct{} // closed, and made anew, when listener changes
	closed   bool
	conns    map[*doorConn]struct{}
}

// openDoor listens on a free port of the loopback.
func openDoor(ctx context.Context) (*door, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot listen on the loopback: %w", err)
	}
	return &door{
		address:  l.Addr().String(),
		listener: l,
		changed:  make(chan struct{}),
		conns:    make(map[*doorConn]struct{}),
	}, nil
}

// Accept implements [net.Listener]. It waits while the door is shut, so the
// server behind it need not know.
func (d *door) Accept() (net.Conn, error) {
	for {
		d.mu.Lock()
		l, changed, closed := d.listener, d.changed, d.closed
		d.mu.Unlock()
		switch {
		case closed:
			return nil, net.ErrClosed
		case l == nil:
			<-changed
			continue
		}
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			continue // shut or closed: look again
		case err != nil:
			return nil, err
		}
		if c := d.admit(l, conn); c != nil {
			return c, nil
		}
	}
}

func (d *door) admit(l net.Listener, conn net.Conn) net.Conn {
	c := &doorConn{Conn: conn, door: d, over: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener != l { // shut while the connection was on its way
		c.reset()
		return nil
	}
	d.accepted.Add(1)
	d.conns[c] = struct{}{}
	return c
}

// silence makes a black hole of every connection there is now: nothing gets
// through any more, in either direction, and neither end is told. New
// connections are well.
func (d *door) silence() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		c.silent.Store(true)
	}
}

// shut stops listening and resets every connection, as a host does whose
// server has crashed: clients are refused.
func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener == nil {
		return
	}
	_ = d.listener.Close()
	d.listener = nil
	for c := range d.conns {
		c.reset()
	}
}

// reopen listens again, on the same port. It does nothing for an open door.
func (d *door) reopen(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener != nil || d.closed {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.address)
	if err != nil {
		return fmt.Errorf("the upstream cannot come back on its port: %w", err)
	}
	d.listener = l
	d.wake()
	return nil
}

// wake tells Accept to look again; the caller holds d.mu.
func (d *door) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Close implements [net.Listener]. Connections are their server's to close,
// but for the silent ones, whose server cannot reach them.
func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.wake()
	for c := range d.conns {
		if c.silent.Load() {
			c.reset()
		}
	}
	if d.listener == nil {
		return nil
	}
	return d.listener.Close()
}

// Addr implements [net.Listener].
func (d *door) Addr() net.Addr {
	address, err := net.ResolveTCPAddr("tcp", d.address)
	if err != nil {
		panic("unreachable: the address is a listener's own: " + err.Error())
	}
	return address
}

// A doorConn is the server's end of a connection.
type doorConn struct {
	net.Conn
	door   *door
	silent atomic.Bool
	over   chan struct{} // closed when the server has closed it
	once   sync.Once
}

// Read swallows what comes in on a silent connection, its end included.
func (c *doorConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if !c.silent.Load() {
			return n, err
		}
		if err != nil {
			<-c.over
			return 0, net.ErrClosed
		}
	}
}

// Write pretends, on a silent connection.
func (c *doorConn) Write(p []byte) (int, error) {
	if c.silent.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Close closes the connection, unless it is silent: then the client must not
// learn of it, and the door keeps the socket until it is closed itself.
func (c *doorConn) Close() error {
	c.once.Do(func() { close(c.over) })
	if c.silent.Load() {
		return nil
	}
	c.door.mu.Lock()
	delete(c.door.conns, c)
	c.door.mu.Unlock()
	return c.Conn.Close()
}

// reset closes the socket so that the client gets an RST.
func (c *doorConn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Conn.Close()
}
