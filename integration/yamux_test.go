package integration

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/stretchr/testify/require"
)

// A yamuxTransport dials streams of one yamux session. A clone of it would
// keep the session; only a factory that opens a new one can replace it.
type yamuxTransport struct {
	*http.Transport
	session *yamux.Session
}

func (t *yamuxTransport) Close() error { return t.session.Close() }

func dialYamux(ctx context.Context, addr string) (*yamuxTransport, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	session, err := yamux.Client(conn, yamuxConfig())
	if err != nil {
		conn.Close()
		return nil, err
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return session.Open() }
	return &yamuxTransport{&http.Transport{DialContext: dial}, session}, nil
}

func yamuxConfig() *yamux.Config {
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	return config
}

// serveYamux serves HTTP on the streams of all sessions that come in at the
// address it returns.
func serveYamux(t *testing.T, s *server) (addr string) {
	l := listen(t)
	var all sync.WaitGroup
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			session, err := yamux.Server(conn, yamuxConfig())
			if err != nil {
				t.Error(err)
				return
			}
			all.Go(func() { _ = s.Serve(session) }) // how it ends is up to the test
			all.Go(func() { <-session.CloseChan(); session.Close() })
		}
	})
	return l.Addr().String()
}

// The session under the dialer is closed. net/http dials it for ever, and
// every dial fails.
func TestYamuxSessionClosed(t *testing.T) {
	r := begin(t)
	s := newServer(r)
	addr := serveYamux(t, s)
	sessions := &maker[*yamuxTransport]{make: func(ctx context.Context) (*yamuxTransport, error) {
		return dialYamux(ctx, addr)
	}}
	const url = "http://behind.the.session/"

	bare := sessions.first(t)
	require.NoError(t, get(bare, url, patience))
	require.NoError(t, bare.Close())
	r.keepsFailing(bare, url, 300*time.Millisecond, patience)

	rt := start(t, sessions.first(t), withFactory(sessions))
	l := gets(t, rt, url, workers, patience)
	l.awaitSuccesses(50, time.Now())
	require.NoError(t, (*sessions.last.Load()).Close())
	curable := time.Now()
	l.awaitSuccesses(200, curable)

	r.take(l, curable, rt)
	require.Zero(t, r.failed, "a GET was lost")
	require.Equal(t, 2, r.built, "one fault, one fresh transport")
}
