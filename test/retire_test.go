package test

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// A response that takes 3 s to stream and an upgraded connection that began
// before a swap finish untouched, and only then is the old transport closed.
func TestInFlightFinishesUntouched(t *testing.T) {
	for _, proto := range []string{"h1", "h2"} {
		t.Run("stream "+proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				a := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Path == "/quick" {
						return
					}
					for range 30 {
						io.WriteString(w, "data: x\n\n")
						w.(http.Flusher).Flush()
						time.Sleep(100 * time.Millisecond)
					}
				}))
				fresh := func() *http.Transport {
					if proto == "h2" {
						return n.HTTP2()
					}
					return n.HTTP1()
				}
				rt := start(t, fresh(), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return fresh() }).Make))
				resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
				require.NoError(t, err)
				for range 20 {
					time.Sleep(50 * time.Millisecond)
					swapInFlight(t, rt, "http://a.test/quick")
				}
				assert.EqualValues(t, 21, rt.Health().Generation)
				assert.NotZero(t, rt.Health().Draining)
				got, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				assert.Equal(t, strings.Repeat("data: x\n\n", 30), string(got))
				require.NoError(t, resp.Body.Close())
				assert.Zero(t, rt.Health().Draining)
				assert.Zero(t, rt.Health().InFlight)
				rt.Close()
				sweepsPass()
				assert.Zero(t, a.Open())
			})
		})
	}
	t.Run("upgrade", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := testnet.New(t)
			a := n.Serve("a.test:80", http.HandlerFunc(serveEcho))
			rt := start(t, n.HTTP1(), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return n.HTTP1() }).Make))
			req := request(t.Context(), http.MethodGet, "http://a.test/", nil)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "echo")
			resp, err := rt.RoundTrip(req)
			require.NoError(t, err)
			require.Equal(t, 101, resp.StatusCode)
			conn := resp.Body.(io.ReadWriteCloser)
			lines := bufio.NewReader(conn)
			for range 20 {
				_, err := io.WriteString(conn, "ping\n")
				require.NoError(t, err)
				line, err := lines.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, "ping\n", line)
				swapInFlight(t, rt, "http://a.test/")
				time.Sleep(time.Second)
			}
			assert.EqualValues(t, 1, rt.Health().InFlight)
			require.NoError(t, conn.Close())
			assert.Zero(t, rt.Health().InFlight)
			rt.Close()
			sweepsPass()
			assert.Zero(t, a.Open())
		})
	})
}

// swapInFlight recreates the transport while something is in flight, so that a request
// has to prove the new one.
func swapInFlight(t *testing.T, rt *respawn.RecoveringRoundTripper, url string) {
	t.Helper()
	done := make(chan error)
	go func() { done <- rt.Recreate(t.Context()) }()
	synctest.Wait()
	_, err := get(t.Context(), rt, url)
	require.NoError(t, err)
	require.NoError(t, <-done)
	synctest.Wait()
}

func serveEcho(w http.ResponseWriter, req *http.Request) {
	if req.Header.Get("Upgrade") == "" {
		return
	}
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "echo")
	w.WriteHeader(http.StatusSwitchingProtocols)
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	io.Copy(c, rw)
}

// After 100 swaps under load no connection, goroutine or file of an old
// generation is left, neither here nor at the server.
func TestHundredSwapsLeaveNothing(t *testing.T) {
	for _, proto := range []string{"h1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			defer verifyNone(t, goleak.IgnoreCurrent())
			var atServer atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for range 4 {
					io.WriteString(w, strings.Repeat("x", 1000))
					w.(http.Flusher).Flush()
				}
			}))
			server.EnableHTTP2 = proto == "h2"
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // of dials that lost their race
			server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				switch s {
				case http.StateNew:
					atServer.Add(1)
				case http.StateClosed, http.StateHijacked:
					atServer.Add(-1)
				}
			}
			server.StartTLS()
			defer server.Close()
			base := server.Client().Transport.(*http.Transport)
			rt := start(t, base)
			files := filesOpen(t)

			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			answered := make(chan struct{})
			for range 8 {
				wg.Go(func() {
					for ctx.Err() == nil {
						if status, err := get(context.Background(), rt, server.URL); err != nil || status != 200 {
							t.Errorf("status %d, %v", status, err)
							return
						}
						select {
						case answered <- struct{}{}:
						default: // nobody counts: the load goes on
						}
					}
				})
			}
			swaps := testkit.InCI(100, 20)
			for range swaps {
				for range 10 {
					<-answered
				}
				require.NoError(t, rt.Recreate(ctx))
			}
			cancel()
			wg.Wait()
			assert.EqualValues(t, swaps+1, rt.Health().Generation)
			// The current generation keeps its pool, and nothing else is left.
			assert.Eventually(t, func() bool { return rt.Health().Draining == 0 && atServer.Load() <= 8 }, 10*time.Second, 10*time.Millisecond)
			rt.CloseIdleConnections()
			assert.Eventually(t, func() bool { return atServer.Load() == 0 }, 10*time.Second, 10*time.Millisecond, "connections at the server")
			assert.Eventually(t, func() bool { return filesOpen(t) <= files }, 10*time.Second, 10*time.Millisecond, "files")
			require.NoError(t, rt.Close())
			server.Close()
		})
	}
}

func filesOpen(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // no such thing on this system
	}
	return len(fds)
}

// The order of retirement: idle connections at the drain, again a little
// later, and only then Close.
func TestRetiredTransportIsSweptTwiceAndThenClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.Stub{}
		remembered := weak.Make(base)
		rt := start(t, base, respawn.WithFactory(stubs().Make))
		resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
		require.NoError(t, err)
		swapInFlight(t, rt, "http://a.test/")
		time.Sleep(time.Hour)
		assert.Zero(t, base.IdleCloses.Load(), "http3 would cut the open body: only net/http's idle connections go at once")
		assert.Zero(t, base.Closes.Load(), "not while a body is open")
		assert.Equal(t, 1, rt.Health().Draining)

		require.NoError(t, resp.Body.Close())
		synctest.Wait()
		assert.EqualValues(t, 1, base.IdleCloses.Load())
		assert.Zero(t, rt.Health().Draining)
		time.Sleep(100*time.Millisecond - 1)
		assert.Zero(t, base.Closes.Load())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.EqualValues(t, 2, base.IdleCloses.Load())
		assert.EqualValues(t, 1, base.Closes.Load())
		time.Sleep(time.Hour)
		assert.EqualValues(t, 1, base.Closes.Load(), "closed once")
		base, resp = nil, nil
		runtime.GC()
		assert.Nil(t, remembered.Value(), "and forgotten")
		runtime.KeepAlive(rt)
	})
}

// net/http is done with a connection at the end of the body; a caller who
// forgets Close does not keep the old transport for ever.
func TestBodyReadToItsEndIsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, &testkit.Stub{}, respawn.WithFactory(stubs().Make))
		resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
		require.NoError(t, err)
		assert.EqualValues(t, 1, rt.Health().InFlight)
		io.ReadAll(resp.Body)
		assert.Zero(t, rt.Health().InFlight)
		resp.Body.Close()
		resp.Body.Close()
		assert.Zero(t, rt.Health().InFlight, "and is counted out once")
	})
}

func TestDefaultTransportIsNotOursToClose(t *testing.T) {
	defer verifyNone(t, goleak.IgnoreCurrent())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		io.WriteString(w, req.RemoteAddr)
	}))
	defer server.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	from := func(rt http.RoundTripper) string {
		resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, server.URL, nil))
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(b)
	}
	rt := start(t, http.DefaultTransport)
	first := from(http.DefaultTransport)
	require.NoError(t, rt.Recreate(t.Context()))
	require.EqualValues(t, 2, rt.Health().Generation)
	assert.Equal(t, first, from(http.DefaultTransport), "others keep their pooled connection")
	assert.NotEqual(t, first, from(rt))
	require.NoError(t, rt.Close())
}

func TestDrainTimeoutCutsWhatIsInFlight(t *testing.T) {
	for _, proto := range []string{"h1", "h2", "upgrade"} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				release := make(chan struct{})
				n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					switch req.URL.Path {
					case "/stream":
						if proto == "upgrade" {
							serveEcho(w, req)
							return
						}
						w.(http.Flusher).Flush()
						<-req.Context().Done()
					case "/silent":
						select {
						case <-req.Context().Done():
						case <-release:
						}
					}
				}))
				fresh := n.HTTP1
				if proto == "h2" {
					fresh = n.HTTP2
				}
				rt := start(t, fresh(), respawn.WithDrainTimeout(time.Minute), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return fresh() }).Make))
				req := request(t.Context(), http.MethodGet, "http://a.test/stream", nil)
				if proto == "upgrade" {
					req.Header.Set("Connection", "Upgrade")
					req.Header.Set("Upgrade", "echo")
				}
				resp, err := rt.RoundTrip(req)
				require.NoError(t, err)
				assert.Same(t, req, resp.Request)
				var wg sync.WaitGroup
				begin := time.Now()
				wg.Go(func() { // no answer yet
					_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/silent", strings.NewReader("once")))
					assert.Error(t, err)
					assert.Equal(t, time.Minute, time.Since(begin))
				})
				synctest.Wait()
				swapInFlight(t, rt, "http://a.test/")
				_, err = io.ReadAll(resp.Body)
				assert.Error(t, err)
				assert.Equal(t, time.Minute, time.Since(begin))
				resp.Body.Close()
				wg.Wait()
				assert.Zero(t, rt.Health().InFlight)
				assert.EqualValues(t, 2, rt.Health().Generation)
				assert.Empty(t, rt.Health().Streaks, "a cut is no failure")
				close(release)
				rt.Close()
				sweepsPass()
			})
		})
	}
}

// What WithDrainTimeout holds for a request is let go with its body: at its end,
// and where both halves of a connection are open, not before Close.
func TestDrainLimitHoldsNothingPastTheBody(t *testing.T) {
	for name, tt := range map[string]struct {
		body  io.ReadCloser
		drops func(io.ReadCloser)
		kept  func(io.ReadCloser)
	}{
		"Close at its end": { // at which HTTP/2 looks at the context
			body:  io.NopCloser(strings.NewReader("x")),
			kept:  func(b io.ReadCloser) { _, _ = io.ReadAll(b) },
			drops: func(b io.ReadCloser) { b.Close() },
		},
		"Close": {
			body:  io.NopCloser(strings.NewReader("x")),
			drops: func(b io.ReadCloser) { b.Close() },
		},
		"Close of an upgraded connection": {
			body: struct {
				io.Reader
				io.WriteCloser
			}{strings.NewReader(""), struct {
				io.Writer
				io.Closer
			}{io.Discard, io.NopCloser(nil)}},
			kept:  func(b io.ReadCloser) { _, _ = io.ReadAll(b) },
			drops: func(b io.ReadCloser) { b.Close() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			var sent context.Context
			rt := start(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				sent = req.Context()
				return &http.Response{StatusCode: 200, Body: tt.body, Request: req}, nil
			}), respawn.WithDrainTimeout(time.Hour), respawn.WithFactory(stubs().Make))
			resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
			require.NoError(t, err)
			if tt.kept != nil {
				tt.kept(resp.Body)
			}
			require.NoError(t, sent.Err())
			tt.drops(resp.Body)
			require.ErrorIs(t, sent.Err(), context.Canceled)
		})
	}
}
