package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// errSessionShutdown is what yamux says once its session has gone: an error
// with no type, no errno and no way back.
var errSessionShutdown = errors.New("session shutdown")

// A tunnel stands for whatever a dialer may lead through: an SSH or yamux
// session, a WireGuard device. While it lives it dials; once it is shut down
// every connection through it is cut and every dial fails for ever.
type tunnel struct {
	dialer net.Dialer

	mu    sync.Mutex
	down  bool
	conns map[*tunnelConn]struct{}
}

func newTunnel() *tunnel {
	return &tunnel{
		dialer: net.Dialer{Timeout: 10 * time.Second},
		conns:  make(map[*tunnelConn]struct{}),
	}
}

// DialContext has the form of http.Transport.DialContext.
func (t *tunnel) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if t.isDown() {
		return nil, errSessionShutdown
	}
	conn, err := t.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err // as it is: respawn and net/http go by its type
	}
	c := &tunnelConn{Conn: conn, tunnel: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.down { // while we dialed
		_ = conn.Close()
		return nil, errSessionShutdown
	}
	t.conns[c] = struct{}{}
	return c, nil
}

func (t *tunnel) isDown() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.down
}

// shutdown ends the tunnel for good, and all connections through it.
func (t *tunnel) shutdown() {
	t.mu.Lock()
	conns := t.conns
	t.down, t.conns = true, nil
	t.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close()
	}
}

// A tunnelConn takes itself off its tunnel's list when it is closed.
type tunnelConn struct {
	net.Conn
	tunnel *tunnel
}

func (c *tunnelConn) Close() error {
	c.tunnel.mu.Lock()
	delete(c.tunnel.conns, c)
	c.tunnel.mu.Unlock()
	return c.Conn.Close()
}
