package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAClosedSessionSaysSo(t *testing.T) {
	s := newSession(sessionConfig{})
	require.NoError(t, s.Err())
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Err(), errSessionClosed)

	body := &closeRecorder{Reader: strings.NewReader("x")}
	req, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:1", body)
	require.NoError(t, err)
	_, err = s.RoundTrip(req)
	require.ErrorIs(t, err, errSessionClosed)
	require.True(t, body.closed, "RoundTrip closes the body on errors too")
}

func TestFaultsHitTheLatestSession(t *testing.T) {
	l := &link{sessions: &sessions{}}
	first := l.sessions.next()
	second, err := l.sessions.build(t.Context())
	require.NoError(t, err)
	require.NotSame(t, first, second)
	l.inject(faultClosed)
	require.NoError(t, first.Err())
	require.ErrorIs(t, second.(*session).Err(), errSessionClosed)
}

type closeRecorder struct {
	*strings.Reader
	closed bool
}

func (c *closeRecorder) Close() error {
	c.closed = true
	return nil
}

func TestADeadTunnelCutsItsConnectionsAndDialsNoMore(t *testing.T) {
	d := echo(t)
	tun := newTunnel()
	conn, err := tun.DialContext(t.Context(), "tcp", d.address)
	require.NoError(t, err)
	gone, err := tun.DialContext(t.Context(), "tcp", d.address)
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	require.Len(t, tun.conns, 1, "closed connections are forgotten")
	require.NoError(t, ping(conn))

	tun.shutdown()
	require.Error(t, ping(conn))
	_, err = tun.DialContext(t.Context(), "tcp", d.address)
	require.ErrorIs(t, err, errSessionShutdown)
	_ = conn.Close() // whose tunnel keeps no list any more
}
