package integration

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/respawnhttp/respawn/respawntest"
)

// A freezer is a server whose handlers hang while its HTTP/2 code works on: on a frozen
// connection PINGs are answered, and requests are not. No fault of a network does that, so
// respawntest has no such fault.
type freezer struct {
	*server
	pings atomic.Int64 // answered on frozen connections
}

// newFrozenWorld is an upstream that speaks HTTP/2 over TLS and can freeze. configure
// is that of newHTTP2World.
func newFrozenWorld(r *report, configure func(*testing.T, *http.Transport)) (*world, *freezer) {
	n := respawntest.NewNetwork(r.t) // before the server, which closes its listener itself
	f := &freezer{server: newServer(r)}
	f.Handler = f.hang(f.Handler)
	f.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, freezableKey{}, conn)
	}
	// TLS ends in the listener, so that the server's frames can be seen.
	f.Protocols = new(http.Protocols)
	f.Protocols.SetUnencryptedHTTP2(true)
	ca := newAuthority(r.t)
	config := ca.server()
	config.NextProtos = []string{"h2"}
	way := n.Listen("api.test:443")
	f.serve(r.t, freezableListener{tls.NewListener(way, config), f})
	return &world{
		r: r, server: f.server, url: "https://api.test/", way: way, cloned: true,
		build: buildHTTP2(r.t, n, ca.pool, configure),
	}, f
}

// freeze makes the server hang on the connections that are open now. New ones are served.
func (f *freezer) freeze(*testing.T, http.RoundTripper) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		conn.(*freezable).frozen.Store(true)
	}
}

// hang lets requests on frozen connections wait until their clients give up.
func (f *freezer) hang(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Context().Value(freezableKey{}).(*freezable).frozen.Load() {
			<-req.Context().Done()
			return
		}
		next.ServeHTTP(w, req)
	})
}

type freezableKey struct{}

// A freezableListener accepts the connections of a freezer.
type freezableListener struct {
	net.Listener
	f *freezer
}

func (l freezableListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	frames, sent := io.Pipe()
	c := &freezable{Conn: conn, sent: sent}
	l.f.serving.Go(func() { l.f.watch(c, frames) })
	return c, nil
}

// A freezable is the server's end of a connection.
type freezable struct {
	net.Conn
	frozen atomic.Bool
	sent   *io.PipeWriter // gets a copy of what the server sends
}

func (c *freezable) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	_, _ = c.sent.Write(p[:n]) // fails once c is closed
	return n, err
}

func (c *freezable) Close() error {
	c.sent.Close()
	return c.Conn.Close()
}

// watch counts the answers to PINGs among the frames that a connection sends while
// it is frozen.
func (f *freezer) watch(c *freezable, frames io.Reader) {
	for {
		h, err := http2.ReadFrameHeader(frames)
		if err != nil {
			return
		}
		if c.frozen.Load() && h.Type == http2.FramePing && h.Flags.Has(http2.FlagPingAck) {
			f.pings.Add(1)
		}
		if _, err := io.CopyN(io.Discard, frames, int64(h.Length)); err != nil {
			return
		}
	}
}
