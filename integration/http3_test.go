package integration

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// An http3Server can be restarted on its port. Its connections count as the
// server's others do.
type http3Server struct {
	*server
	config *tls.Config
	addr   *net.UDPAddr
	idle   time.Duration // when either end gives a silent connection up
	socket *net.UDPConn
	h3     *http3.Server
	ended  chan struct{}
}

// serveHTTP3 serves HTTP/3 on loopback.
func serveHTTP3(t *testing.T, s *server, config *tls.Config, idle time.Duration) *http3Server {
	t.Helper()
	h := &http3Server{
		server: s, config: http3.ConfigureTLSConfig(config), addr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, idle: idle,
	}
	h.start(t)
	s.closers = append(s.closers, h)
	return h
}

func (h *http3Server) start(t *testing.T) {
	t.Helper()
	var err error
	h.socket, err = net.ListenUDP("udp", h.addr)
	require.NoError(t, err)
	h.addr = h.socket.LocalAddr().(*net.UDPAddr)
	h3 := &http3.Server{
		Handler:    h.Handler,
		TLSConfig:  h.config,
		QUICConfig: &quic.Config{MaxIdleTimeout: h.idle},
		ConnContext: func(ctx context.Context, conn *quic.Conn) context.Context {
			h.open.Add(1)
			context.AfterFunc(conn.Context(), func() { h.open.Add(-1) })
			return ctx
		},
	}
	socket, ended := h.socket, make(chan struct{})
	h.h3, h.ended = h3, ended
	h.serving.Go(func() {
		_ = h3.Serve(socket) // how it ends is up to the test
		close(ended)
	})
}

// Close says goodbye to the clients.
func (h *http3Server) Close() error {
	err := h.h3.Close()
	return errors.Join(err, h.socket.Close())
}

// restarted kills the server, so that its clients hear nothing, and starts it again on its port at
// once.
func (h *http3Server) restarted(t *testing.T, _ http.RoundTripper) {
	require.NoError(t, h.socket.Close())
	_ = h.h3.Close()
	<-h.ended
	h.start(t)
}

// relieved restarts the server after it has said goodbye to its clients.
func (h *http3Server) relieved(t *testing.T, _ http.RoundTripper) {
	require.NoError(t, h.Close())
	<-h.ended
	h.start(t)
}

func listenUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	return socket
}

// found is an idle timeout that is short enough for a server to find out, before the test stops
// waiting for that, that a client's socket is gone.
const found = 2 * time.Second

// newHTTP3World is an upstream that speaks HTTP/3.
func newHTTP3World(r *report, idle time.Duration) (*world, *http3Server) {
	s := newServer(r)
	ca := newAuthority(r.t)
	h := serveHTTP3(r.t, s, ca.server(), idle)
	return &world{
		r: r, server: s, url: "https://" + h.addr.String() + "/",
		build: factory(func(context.Context) (*quicTransport, error) { return newQUICTransport(r.t, ca.client(), idle), nil }),
	}, h
}

// A quicTransport is HTTP/3 over a UDP socket of the program's own, as one has
// that must choose its port or its interface.
type quicTransport struct {
	*http3.Transport
	quic   *quic.Transport
	socket *net.UDPConn
}

func newQUICTransport(t *testing.T, config *tls.Config, idle time.Duration) *quicTransport {
	socket := listenUDP(t)
	q := &quic.Transport{Conn: socket}
	dial := func(ctx context.Context, addr string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
		to, err := net.ResolveUDPAddr("udp", addr)
		if err != nil {
			return nil, err
		}
		return q.DialEarly(ctx, to, tlsConfig, config)
	}
	return &quicTransport{
		&http3.Transport{TLSClientConfig: config, QUICConfig: &quic.Config{MaxIdleTimeout: idle}, Dial: dial}, q, socket,
	}
}

func (t *quicTransport) Close() error {
	return errors.Join(t.Transport.Close(), t.quic.Close(), t.socket.Close())
}

// An http3.Transport that was closed stays closed.
func TestHTTP3TransportClosed(t *testing.T) {
	r := begin(t, "http3.Transport closed")
	w, _ := newHTTP3World(r, found)
	w.undergo(ordeal{fault: transportClosed})
	r.healed()
}

func transportClosed(t *testing.T, inService http.RoundTripper) {
	require.NoError(t, inService.(*quicTransport).Transport.Close())
}

// The UDP socket is closed under QUIC. It dials again, for ever, on the closed
// socket.
func TestHTTP3SocketClosed(t *testing.T) {
	r := begin(t, "UDP socket under HTTP/3 closed")
	w, _ := newHTTP3World(r, found)
	w.undergo(ordeal{fault: socketClosed})
	r.healed()
}

func socketClosed(t *testing.T, inService http.RoundTripper) {
	require.NoError(t, inService.(*quicTransport).socket.Close())
}

// The server is killed and started again on its port. QUIC hears nothing of it
// and waits for its idle timeout, 30 s by default, before it dials again.
func TestHTTP3ServerRestarted(t *testing.T) {
	const deadline = 250 * time.Millisecond
	t.Run("QUIC waits", func(t *testing.T) {
		r := begin(t, "HTTP/3 server killed and started again")
		w, h := newHTTP3World(r, 30*time.Second)
		w.blackHole(h.restarted)
	})
	// If QUIC redials before the stall rule trips, or is told that the server
	// leaves, respawn does not interfere: there is nothing to swap.
	t.Run("QUIC redials", func(t *testing.T) {
		r := begin(t, "HTTP/3 server killed and started again, idle timeout 0.5 s")
		w, h := newHTTP3World(r, 500*time.Millisecond)
		// Where the machine stands still for half a second, that is after the second by which the
		// rule trips by default.
		rule := respawn.WithStallThreshold(3, patience)
		rt := w.undergo(ordeal{fault: h.restarted, deadline: deadline, heals: true, linger: 2 * time.Second, opts: []respawn.Option{rule}})
		require.Equal(t, 1, r.Built, "QUIC's own redial was fought")
		require.Equal(t, r.Late, r.Failed, "a GET failed before its deadline")
		require.LessOrEqual(t, r.Failed, mostLate(workers, deadline))
		require.Equal(t, respawn.StateHealthy, rt.Health().State)
	})
	t.Run("QUIC is told", func(t *testing.T) {
		// Requests that redial at once can part http3 from a connection that
		// it has just made; the server finds out by the idle timeout.
		r := begin(t, "HTTP/3 server restarted, with a goodbye")
		const idle = 5 * time.Second
		w, h := newHTTP3World(r, idle)
		w.undergo(ordeal{fault: h.relieved, heals: true, linger: 2 * time.Second})
		require.Zero(t, r.Failed, "a GET was lost")
		require.Less(t, r.Recovery, idle, "it was not told, but gave the connection up")
		require.Equal(t, 1, r.Built, "QUIC's own redial was fought")
	})
}
