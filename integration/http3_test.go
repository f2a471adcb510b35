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

// An http3.Transport that was closed stays closed.
func TestHTTP3TransportClosed(t *testing.T) {
	r := begin(t)
	s := newServer(r)
	ca := newAuthority(t)
	url := "https://" + serveHTTP3(t, s, ca.server()) + "/"
	transports := &maker[*http3.Transport]{make: func(context.Context) (*http3.Transport, error) {
		return &http3.Transport{TLSClientConfig: ca.client()}, nil
	}}

	bare := transports.first(t)
	require.NoError(t, get(bare, url, patience))
	require.NoError(t, bare.Close())
	r.keepsFailing(bare, url, 300*time.Millisecond, patience)

	rt := start(t, transports.first(t), withFactory(transports))
	l := gets(t, rt, url, workers, patience)
	l.awaitSuccesses(50, time.Now())
	require.NoError(t, (*transports.last.Load()).Close())
	curable := time.Now()
	l.awaitSuccesses(200, curable)

	r.take(l, curable, rt)
	require.Zero(t, r.failed, "a GET was lost")
	require.Equal(t, 2, r.built, "one fault, one fresh transport")
}

// A quicTransport is HTTP/3 over a UDP socket of the program's own, as one has
// that must choose its port or its interface.
type quicTransport struct {
	*http3.Transport
	quic   *quic.Transport
	socket *net.UDPConn
}

func (t *quicTransport) Close() error {
	return errors.Join(t.Transport.Close(), t.quic.Close(), t.socket.Close())
}

// The UDP socket is closed under QUIC. It dials again, for ever, on the closed
// socket.
func TestHTTP3SocketClosed(t *testing.T) {
	r := begin(t)
	s := newServer(r)
	ca := newAuthority(t)
	url := "https://" + serveHTTP3(t, s, ca.server()) + "/"
	transports := &maker[*quicTransport]{make: func(context.Context) (*quicTransport, error) {
		socket := listenUDP(t)
		q := &quic.Transport{Conn: socket}
		dial := func(ctx context.Context, addr string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			to, err := net.ResolveUDPAddr("udp", addr)
			if err != nil {
				return nil, err
			}
			return q.DialEarly(ctx, to, tlsConfig, config)
		}
		return &quicTransport{&http3.Transport{TLSClientConfig: ca.client(), Dial: dial}, q, socket}, nil
	}}
	const deadline = time.Second

	bare := transports.first(t)
	require.NoError(t, get(bare, url, patience))
	require.NoError(t, bare.socket.Close())
	r.keepsFailing(bare, url, 300*time.Millisecond, deadline)
	_ = bare.Close()

	rt := start(t, transports.first(t), withFactory(transports))
	l := gets(t, rt, url, workers, deadline)
	l.awaitSuccesses(50, time.Now())
	require.NoError(t, (*transports.last.Load()).socket.Close())
	curable := time.Now()
	l.awaitSuccesses(200, curable)

	r.take(l, curable, rt)
	require.Zero(t, r.failed, "a GET was lost")
	require.Equal(t, 2, r.built, "one fault, one fresh transport")
}
