package test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// Why not simply ...? Each of these is the usual advice for a client that is
// stuck, put to the same two faults. The figures are README's.

// lostInBlackHole counts the requests lost to a black-holed HTTP/2 connection
// at 10 requests/s with 1 s deadlines, and the time until the first answer.
func lostInBlackHole(t *testing.T, make func(n *testnet.Network) http.RoundTripper, every func(http.RoundTripper)) (lost int64, down time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		a := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
		rt := make(n)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		for _, l := range a.Links() {
			l.BlackHole()
		}
		begin := time.Now()
		var failed, answered atomic.Int64
		var wg sync.WaitGroup
		for range 600 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := get(ctx, rt, "http://a.test/"); err != nil {
					failed.Add(1)
				} else {
					answered.CompareAndSwap(0, int64(time.Since(begin)))
				}
			})
			time.Sleep(100 * time.Millisecond)
			if every != nil {
				every(rt)
			}
		}
		wg.Wait()
		lost, down = failed.Load(), time.Duration(answered.Load())
		if c, ok := rt.(io.Closer); ok {
			c.Close()
		}
		rt.(interface{ CloseIdleConnections() }).CloseIdleConnections()
		time.Sleep(10 * time.Second) // the sweeps of what retired
	})
	return lost, down
}

func TestWhyNotInABlackHole(t *testing.T) {
	bare := func(n *testnet.Network) http.RoundTripper { return n.HTTP2() }
	closeIdle := func(rt http.RoundTripper) { rt.(*http.Transport).CloseIdleConnections() }
	pings := func(n *testnet.Network) http.RoundTripper {
		t := n.HTTP2()
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}
		return t
	}
	recovering := func(n *testnet.Network) http.RoundTripper {
		rt, err := respawn.New(n.HTTP2(), respawn.WithName("black hole"), respawn.WithLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		return rt
	}

	lost, down := lostInBlackHole(t, bare, nil)
	t.Logf("net/http alone:         lost %3d, down %v", lost, down)
	assert.EqualValues(t, 250, lost, "until the connection's streams are used up")

	lost, down = lostInBlackHole(t, bare, closeIdle)
	t.Logf("CloseIdleConnections:   lost %3d, down %v", lost, down)
	assert.EqualValues(t, 250, lost, "a connection with requests on it is not idle")

	lost, down = lostInBlackHole(t, pings, nil)
	t.Logf("SendPingTimeout = 10 s: lost %3d, down %v", lost, down)
	assert.InDelta(t, 150, lost, 1)

	lost, down = lostInBlackHole(t, recovering, nil)
	t.Logf("respawn:                lost %3d, down %v", lost, down)
	assert.InDelta(t, 11.5, lost, 0.5) // the twelfth deadline passes at the moment of the swap
	assert.Equal(t, 2*time.Second, down)
}

// A clone keeps the dead dialer.
func TestWhyNotClone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shutdown := errors.New("session shutdown")
		base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, shutdown }}
		for range 10 {
			_, err := get(t.Context(), base.Clone(), "http://a.test/")
			assert.ErrorIs(t, err, shutdown)
		}
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		rt := start(t, base, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return n.HTTP1(), nil }))
		_, err := get(t.Context(), rt, "http://a.test/")
		assert.NoError(t, err)
		rt.Close()
		time.Sleep(10 * time.Second) // the sweeps of what retired
	})
}
