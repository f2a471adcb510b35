package respawn

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// A network is what a bubble has instead of the internet: hosts that serve
// HTTP over pipes, and the faults that real ones have.
type network struct {
	t     *testing.T
	mu    sync.Mutex
	hosts map[string]*host
}

type host struct {
	addr   string
	accept chan net.Conn
	server *http.Server

	mu      sync.Mutex
	down    bool // refuses connections
	silent  bool // drops the first packet of a connection
	dials   int
	open    map[*wire]struct{}
	dialled chan struct{} // closed and renewed at each dial
}

func newNetwork(t *testing.T) *network {
	n := &network{t: t, hosts: map[string]*host{}}
	t.Cleanup(func() {
		for _, h := range n.hosts {
			h.server.Close()
		}
	})
	return n
}

// serve adds a host that speaks HTTP/1 and unencrypted HTTP/2.
func (n *network) serve(addr string, handler http.Handler) *host {
	h := &host{addr: addr, accept: make(chan net.Conn), open: map[*wire]struct{}{}}
	h.server = &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	h.server.Protocols.SetHTTP1(true)
	h.server.Protocols.SetUnencryptedHTTP2(true)
	n.mu.Lock()
	n.hosts[addr] = h
	n.mu.Unlock()
	go h.server.Serve(h)
	return h
}

// h1 and h2 return transports on this network.
func (n *network) h1() *http.Transport { return &http.Transport{DialContext: n.dial} }

func (n *network) h2() *http.Transport {
	t := &http.Transport{DialContext: n.dial, Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	h := n.hosts[addr]
	n.mu.Unlock()
	if h == nil {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}}
	}
	h.mu.Lock()
	h.dials++
	down, silent := h.down, h.silent
	h.mu.Unlock()
	switch {
	case down:
		return nil, refused()
	case silent:
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	client, server := net.Pipe()
	dark, closed := make(chan struct{}), make(chan struct{})
	w := &wire{Conn: client, dark: dark, closed: closed, host: h}
	h.mu.Lock()
	h.open[w] = struct{}{}
	h.mu.Unlock()
	h.accept <- &wire{Conn: server, dark: dark, closed: make(chan struct{})}
	return w, nil
}

func (h *host) Accept() (net.Conn, error) {
	c, ok := <-h.accept
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (h *host) Close() error   { close(h.accept); return nil }
func (h *host) Addr() net.Addr { return &net.TCPAddr{} }

func (h *host) set(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

func (h *host) dialCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dials
}

func (h *host) openConns() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// blackhole makes all open connections swallow everything, both ways.
func (h *host) blackhole() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.open {
		close(w.dark)
		delete(h.open, w)
	}
}

// cut closes all open connections.
func (h *host) cut() {
	h.mu.Lock()
	conns := make([]*wire, 0, len(h.open))
	for w := range h.open {
		conns = append(conns, w)
	}
	h.mu.Unlock()
	for _, w := range conns {
		w.Close()
	}
}

// A wire is one end of a connection that can go dark.
type wire struct {
	net.Conn
	dark   chan struct{}
	once   sync.Once
	closed chan struct{}
	host   *host // of the client's end
}

func (w *wire) isDark() bool {
	select {
	case <-w.dark:
		return true
	default:
		return false
	}
}

func (w *wire) Write(p []byte) (int, error) {
	if w.isDark() {
		return len(p), nil
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := w.Conn.Write(p)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return r.n, r.err
	case <-w.dark:
		return len(p), nil
	}
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.isDark() {
		<-w.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	if w.host != nil {
		w.host.mu.Lock()
		delete(w.host.open, w)
		w.host.mu.Unlock()
	}
	return w.Conn.Close()
}

// settle lets the sweeps of retired generations run, so that a leak would show
// as a goroutine that the bubble waits for.
func settle() { time.Sleep(10 * time.Second) }
