package integration

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// A proxy stands between a client and a TCP server and does what networks do:
// it drops connections, or it goes dark.
//
// Toxiproxy would not do: its toxics are a proxy's, not a connection's, so new
// connections are as dark as those of now, and taking a toxic away closes them
// all.
type proxy struct {
	listener net.Listener
	dial     func() (net.Conn, error)
	pump     func(l *link, to, from net.Conn)
	all      sync.WaitGroup
	pings    atomic.Int64 // answered in the dark

	mu    sync.Mutex
	links map[*link]struct{}
}

// A link is one connection through the proxy.
type link struct {
	client, server net.Conn
	dark           atomic.Bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p := &proxy{
		listener: listen(t),
		dial:     func() (net.Conn, error) { return net.Dial("tcp", target) },
		pump:     pump,
		links:    map[*link]struct{}{},
	}
	p.run(t)
	return p
}

// newFrozenProxy returns a proxy for HTTP/2 over TLS whose dark connections
// still answer PINGs, as a server does that hangs behind its network code.
func newFrozenProxy(t *testing.T, target string, ca *authority) *proxy {
	t.Helper()
	toClient, toServer := ca.server(), ca.client()
	toClient.NextProtos, toServer.NextProtos = []string{"h2"}, []string{"h2"}
	p := &proxy{
		listener: tls.NewListener(listen(t), toClient),
		dial:     func() (net.Conn, error) { return tls.Dial("tcp", target, toServer) },
		links:    map[*link]struct{}{},
	}
	p.pump = p.pumpFrames
	p.run(t)
	return p
}

func (p *proxy) run(t *testing.T) {
	p.all.Go(p.accept)
	t.Cleanup(func() {
		require.NoError(t, p.listener.Close())
		p.sever()
		p.all.Wait()
	})
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := p.dial()
		if err != nil {
			client.Close()
			continue
		}
		l := &link{client: client, server: server}
		p.mu.Lock()
		p.links[l] = struct{}{}
		p.mu.Unlock()
		p.all.Go(func() {
			// The server hears when the client lets go, in the dark too, so
			// that its count of open connections is the client's.
			p.pump(l, server, client)
			server.Close()
			client.Close()
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.links, l)
		})
		p.all.Go(func() {
			// A dark link tells the client nothing of the server's end.
			p.pump(l, client, server)
			if !l.dark.Load() {
				client.Close()
			}
		})
	}
}

// pump copies until the source ends. What arrives in the dark is lost.
func pump(l *link, to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !l.dark.Load() {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pumpFrames copies frame by frame. In the dark it answers PINGs, and all else
// is lost.
func (p *proxy) pumpFrames(l *link, to, from net.Conn) {
	in := bufio.NewReader(from)
	if from == l.client {
		if _, err := io.CopyN(to, in, int64(len(http2.ClientPreface))); err != nil {
			return
		}
	}
	onward, back := http2.NewFramer(to, nil), http2.NewFramer(from, nil)
	for {
		h, err := http2.ReadFrameHeader(in)
		if err != nil {
			return
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(in, payload); err != nil {
			return
		}
		switch {
		case !l.dark.Load():
			err = onward.WriteRawFrame(h.Type, h.Flags, h.StreamID, payload)
		case from == l.client && h.Type == http2.FramePing && !h.Flags.Has(http2.FlagPingAck):
			p.pings.Add(1)
			err = back.WritePing(true, [8]byte(payload))
		}
		if err != nil {
			return
		}
	}
}

// goDark makes the connections of now swallow everything, both ways. New ones
// are served.
func (p *proxy) goDark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.dark.Store(true)
	}
}

// sever closes the connections of now. New ones are served.
func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.client.Close()
		l.server.Close()
		delete(p.links, l)
	}
}
