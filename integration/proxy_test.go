package integration

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A proxy stands between a client and a TCP server and does what networks do:
// it drops connections, or it goes dark.
type proxy struct {
	listener net.Listener
	target   string
	all      sync.WaitGroup

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
	p := &proxy{listener: listen(t), target: target, links: map[*link]struct{}{}}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		require.NoError(t, p.listener.Close())
		p.sever()
		p.all.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		l := &link{client: client, server: server}
		p.mu.Lock()
		p.links[l] = struct{}{}
		p.mu.Unlock()
		p.all.Go(func() {
			// A dark link tells the client nothing of the server's end. The
			// server hears when the client lets go, so that its count of open
			// connections is the client's.
			l.pump(server, client)
			server.Close()
		})
		p.all.Go(func() {
			l.pump(client, server)
			if !l.dark.Load() {
				client.Close()
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if !l.dark.Load() {
				delete(p.links, l)
			}
		})
	}
}

// pump copies until the source ends. What arrives in the dark is lost.
func (l *link) pump(to, from net.Conn) {
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
