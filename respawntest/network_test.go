package respawntest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inBubble runs a test with a host that answers, and a client of it that tells how long
// it took to.
func inBubble(t *testing.T, test func(t *testing.T, n *Network, h *Host, get func() (time.Duration, error))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(t)
		h := n.Serve("api.test:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
		client := &http.Client{Transport: &http.Transport{DialContext: n.DialContext}, Timeout: 30 * time.Second}
		get := func() (time.Duration, error) {
			start := time.Now()
			resp, err := client.Get("http://api.test/")
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			return time.Since(start), err
		}
		took, err := get()
		require.NoError(t, err)
		require.Zero(t, took)
		test(t, n, h, get)
	})
}

func timedOut(t *testing.T, took time.Duration, err error) {
	t.Helper()
	assert.Equal(t, 30*time.Second, took)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestRefuseIsMetByNewConnections(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *Network, h *Host, get func() (time.Duration, error)) {
		h.Refuse()
		_, err := get()
		assert.NoError(t, err, "the connection lives on")
		h.Reset()
		_, err = get()
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		h.Heal()
		_, err = get()
		assert.NoError(t, err)
		assert.Equal(t, 3, h.Dials())
		assert.Equal(t, 1, h.Connections())
	})
}

func TestBlackHoleIsMetByAll(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *Network, h *Host, get func() (time.Duration, error)) {
		h.BlackHole()
		for range 2 { // the second one on a new connection
			took, err := get()
			timedOut(t, took, err)
		}
		h.Heal()
		_, err := get()
		assert.NoError(t, err)
	})
}

func TestBlackHoleConnectionsIsMetByThoseOfTheMoment(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, h *Host, get func() (time.Duration, error)) {
		h.BlackHoleConnections()
		took, err := get()
		timedOut(t, took, err)
		took, err = get()
		assert.NoError(t, err)
		assert.Zero(t, took)

		conn, err := n.DialContext(t.Context(), "tcp", "api.test:80")
		require.NoError(t, err)
		h.BlackHoleConnections()
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		h.Heal()
		b, err := io.ReadAll(conn)
		assert.NoError(t, err, "what was lost arrives all the same")
		assert.True(t, strings.HasSuffix(string(b), "hello"))
	})
}

// A server learns after the fault that its client has let go of a connection.
func TestHealLetsACloseThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(t)
		h := n.Listen("api.test:22")
		conn, err := n.DialContext(t.Context(), "tcp", "api.test:22")
		require.NoError(t, err)
		end, err := h.Accept()
		require.NoError(t, err)
		h.BlackHoleConnections()
		require.NoError(t, conn.Close())
		assert.Zero(t, h.Connections())
		time.Sleep(10 * time.Second)
		h.Heal()
		start := time.Now()
		_, err = end.Read(make([]byte, 1))
		assert.Equal(t, io.EOF, err)
		assert.Less(t, time.Since(start), time.Minute)
		require.NoError(t, end.Close())
	})
}

func TestFreezeTakesConnectionsAndAnswersNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, h *Host, get func() (time.Duration, error)) {
		h.Freeze()
		took, err := get()
		timedOut(t, took, err)
		conn, err := n.DialContext(t.Context(), "tcp", "api.test:80")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		h.Heal()
		_, err = get()
		assert.NoError(t, err)
	})
}

func TestSlowTakesTwiceAsLongForARoundTrip(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *Network, h *Host, get func() (time.Duration, error)) {
		h.Slow(40 * time.Millisecond)
		took, err := get()
		assert.NoError(t, err)
		assert.Equal(t, 80*time.Millisecond, took)
	})
}

func TestServeTLSIsTrustedByRootCAs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(t)
		client := &http.Client{Transport: &http.Transport{
			DialContext: n.DialContext, TLSClientConfig: &tls.Config{RootCAs: n.RootCAs()}, ForceAttemptHTTP2: true,
		}}
		for _, addr := range []string{"api.test:443", "192.0.2.99:443", "[2001:db8::1]:443"} {
			n.ServeTLS(addr, http.NotFoundHandler())
			resp, err := client.Get("https://" + addr)
			require.NoError(t, err)
			resp.Body.Close()
			assert.Equal(t, "HTTP/2.0", resp.Proto)
		}
	})
}

func TestTunnelsEndForGoodAndEachByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(t)
		h := n.Listen("api.test:22")
		dead, well := n.NewTunnel(), n.NewTunnel()
		var ends []net.Conn
		for _, tunnel := range []*Tunnel{dead, well} {
			conn, err := tunnel.DialContext(t.Context(), "tcp", "api.test:22")
			require.NoError(t, err)
			end, err := h.Accept()
			require.NoError(t, err)
			ends = append(ends, conn, end)
		}
		gone := errors.New("session shutdown")
		dead.End(gone)
		require.NoError(t, dead.Close())
		_, err := ends[0].Write([]byte("hello"))
		assert.ErrorIs(t, err, gone)
		_, err = ends[1].Read(make([]byte, 1))
		assert.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = dead.DialContext(t.Context(), "tcp", "api.test:22")
		assert.Equal(t, gone, err)
		_, err = ends[2].Write([]byte("hello"))
		assert.NoError(t, err)

		require.NoError(t, well.Close())
		_, err = well.DialContext(t.Context(), "tcp", "api.test:22")
		assert.ErrorIs(t, err, net.ErrClosed)
	})
}

// A Host of Listen is a listener for any server.
func TestListenIsForServersOfYourOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(t)
		h := n.Listen("api.test:80")
		assert.Equal(t, "192.0.2.1:80", h.Addr().String())
		s := &http.Server{Handler: http.NotFoundHandler()}
		served := make(chan error)
		go func() { served <- s.Serve(h) }()
		client := &http.Client{Transport: &http.Transport{DialContext: n.DialContext}}
		resp, err := client.Get("http://api.test/")
		require.NoError(t, err)
		resp.Body.Close()
		require.NoError(t, s.Close())
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
		_, err = client.Get("http://api.test/")
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Error(t, h.Close(), "the server has closed it")
		n.Listen("api.test:80")
	})
}

// Who reads of a failed test reads what happened on its network.
func TestANetworkTellsItsStoryWhereATestHasFailed(t *testing.T) {
	for _, failed := range []bool{false, true} {
		told := &teller{TB: t, failed: failed}
		n := NewNetwork(told)
		n.Listen("api.test:80").Refuse()
		told.end()
		if failed {
			require.Len(t, told.logs, 1)
			assert.Contains(t, told.logs[0], "what happened on the network:\n")
			assert.Contains(t, told.logs[0], "api.test:80: refuses")
		} else {
			assert.Empty(t, told.logs)
		}
	}
}

// A teller is a test that ends when it is told to.
type teller struct {
	testing.TB
	failed   bool
	cleanups []func()
	logs     []string
}

func (t *teller) Failed() bool     { return t.failed }
func (t *teller) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }
func (t *teller) Logf(format string, args ...any) {
	t.logs = append(t.logs, fmt.Sprintf(format, args...))
}
func (t *teller) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
