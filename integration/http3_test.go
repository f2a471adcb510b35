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
)

// serveHTTP3 serves HTTP/3 on loopback and returns the address. QUIC
// connections count as the server's others do.
func serveHTTP3(t *testing.T, s *server, config *tls.Config) (addr string) {
	t.Helper()
	socket := listenUDP(t)
	h3 := &http3.Server{
		Handler:   s.Handler,
		TLSConfig: http3.ConfigureTLSConfig(config),
		// A client whose socket is gone cannot say goodbye. The server is to
		// find out while the test still looks.
		QUICConfig: &quic.Config{MaxIdleTimeout: 2 * time.Second},
		ConnContext: func(ctx context.Context, conn *quic.Conn) context.Context {
			s.open.Add(1)
			context.AfterFunc(conn.Context(), func() { s.open.Add(-1) })
			return ctx
		},
	}
	s.serving.Go(func() {
		if err := h3.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the HTTP/3 server ended: %v", err)
		}
	})
	s.closers = append(s.closers, h3, socket)
	return socket.LocalAddr().String()
}

func listenUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	return socket
}

// newHTTP3World is an upstream that speaks HTTP/3.
func newHTTP3World(r *report) *world {
	s := newServer(r)
	ca := newAuthority(r.t)
	return &world{
		r: r, server: s, url: "https://" + serveHTTP3(r.t, s, ca.server()) + "/",
		build: factory(func(context.Context) (*quicTransport, error) { return newQUICTransport(r.t, ca.client()), nil }),
	}
}

// A quicTransport is HTTP/3 over a UDP socket of the program's own, as one has
// that must choose its port or its interface.
type quicTransport struct {
	*http3.Transport
	quic   *quic.Transport
	socket *net.UDPConn
}

func newQUICTransport(t *testing.T, config *tls.Config) *quicTransport {
	socket := listenUDP(t)
	q := &quic.Transport{Conn: socket}
	dial := func(ctx context.Context, addr string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
		to, err := net.ResolveUDPAddr("udp", addr)
		if err != nil {
			return nil, err
		}
		return q.DialEarly(ctx, to, tlsConfig, config)
	}
	return &quicTransport{&http3.Transport{TLSClientConfig: config, Dial: dial}, q, socket}
}

func (t *quicTransport) Close() error {
	return errors.Join(t.Transport.Close(), t.quic.Close(), t.socket.Close())
}

// An http3.Transport that was closed stays closed.
func TestHTTP3TransportClosed(t *testing.T) {
	r := begin(t, "http3.Transport closed")
	newHTTP3World(r).undergo(ordeal{fault: func(t *testing.T, inService http.RoundTripper) {
		require.NoError(t, inService.(*quicTransport).Transport.Close())
	}})
	r.healed()
}

// The UDP socket is closed under QUIC. It dials again, for ever, on the closed
// socket.
func TestHTTP3SocketClosed(t *testing.T) {
	r := begin(t, "UDP socket under HTTP/3 closed")
	newHTTP3World(r).undergo(ordeal{fault: socketClosed, deadline: time.Second})
	r.healed()
}

func socketClosed(t *testing.T, inService http.RoundTripper) {
	require.NoError(t, inService.(*quicTransport).socket.Close())
}
