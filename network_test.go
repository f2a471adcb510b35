package respawn

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
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

	mu     sync.Mutex
	down   bool // refuses connections
	silent bool // drops the first packet of a connection
	dials  int
	open   map[*wire]struct{}
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
	client, server := newWires()
	client.host = h
	h.mu.Lock()
	h.open[client] = struct{}{}
	h.mu.Unlock()
	h.accept <- server
	return client, nil
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
		w.in.goDark()
		w.out.goDark()
		delete(h.open, w)
	}
}

// A wire is one end of a connection that can go dark. Unlike net.Pipe it has
// a buffer, as a network has.
type wire struct {
	in, out *half
	host    *host // of the client's end
}

func newWires() (client, server *wire) {
	there, back := newHalf(), newHalf()
	return &wire{in: back, out: there}, &wire{in: there, out: back}
}

func (w *wire) Read(p []byte) (int, error)         { return w.in.read(p) }
func (w *wire) Write(p []byte) (int, error)        { return w.out.write(p) }
func (w *wire) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (w *wire) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (w *wire) SetDeadline(t time.Time) error      { return w.SetReadDeadline(t) }
func (w *wire) SetWriteDeadline(t time.Time) error { return nil }

func (w *wire) SetReadDeadline(t time.Time) error {
	w.in.setDeadline(t)
	return nil
}

func (w *wire) Close() error {
	w.in.close(net.ErrClosed)
	w.out.close(io.EOF)
	if w.host != nil {
		w.host.mu.Lock()
		delete(w.host.open, w)
		w.host.mu.Unlock()
	}
	return nil
}

// A half is one direction of a connection.
type half struct {
	mu       sync.Mutex
	buf      bytes.Buffer
	err      error // what a read gets at the end
	dark     bool
	deadline time.Time
	changed  chan struct{} // closed and renewed at every change
}

func newHalf() *half { return &half{changed: make(chan struct{})} }

// change runs f under the lock and wakes the reader.
func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *half) goDark()                 { h.change(func() { h.dark = true; h.buf.Reset() }) }
func (h *half) setDeadline(t time.Time) { h.change(func() { h.deadline = t }) }

func (h *half) close(err error) {
	h.change(func() {
		if h.err == nil && (!h.dark || err == net.ErrClosed) {
			h.err = err
		}
	})
}

func (h *half) write(p []byte) (n int, err error) {
	h.change(func() {
		switch {
		case h.err != nil:
			err = syscall.EPIPE
		case h.dark:
			n = len(p)
		default:
			n, err = h.buf.Write(p)
		}
	})
	return n, err
}

func (h *half) read(p []byte) (int, error) {
	for {
		h.mu.Lock()
		n, _ := h.buf.Read(p)
		err, changed, deadline := h.err, h.changed, h.deadline
		h.mu.Unlock()
		switch {
		case n > 0 || len(p) == 0:
			return n, nil
		case err != nil:
			return 0, err
		case deadline.IsZero():
			<-changed
			continue
		case !time.Now().Before(deadline):
			return 0, os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// settle lets the sweeps of retired generations run, so that a leak would show
// as a goroutine that the bubble waits for.
func settle() { time.Sleep(10 * time.Second) }
