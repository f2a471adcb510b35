package test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

func saysOK(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

// goDark makes the connections to a host swallow everything from now on; new ones
// are well.
func goDark(h *testnet.Host) {
	for _, l := range h.Links() {
		l.BlackHole()
	}
}

// An HTTP/2 connection that swallows everything: net/http alone needs 15 minutes or
// 94 lost requests here. Stalls trip after a second, the next request is copied to a
// fresh transport, and its silence in service is the control.
func TestBlackHole(t *testing.T) {
	load := func(t *testing.T, rt http.RoundTripper) (failed int, lastFailure, firstAnswer time.Duration) {
		begin := time.Now()
		for range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if _, err := get(ctx, rt, "http://a.test/"); err != nil {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				failed++
				lastFailure = time.Since(begin)
			} else if firstAnswer == 0 {
				firstAnswer = time.Since(begin)
			}
			cancel()
			time.Sleep(100 * time.Millisecond)
		}
		return failed, lastFailure, firstAnswer
	}
	synctest.Test(t, func(t *testing.T) { // the fault is real
		n := testnet.New(t)
		a := n.Serve("a.test:80", http.HandlerFunc(saysOK))
		bare := n.HTTP2()
		_, err := get(t.Context(), bare, "http://a.test/")
		require.NoError(t, err)
		goDark(a)
		failed, _, _ := load(t, bare)
		assert.Greater(t, failed, 90)
		bare.CloseIdleConnections()
	})
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		a := n.Serve("a.test:80", http.HandlerFunc(saysOK))
		p := testkit.NewProbe(t)
		rt := start(t, n.HTTP2(), observed(p)...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		before := a.Dials()
		goDark(a)
		failed, last, first := load(t, rt)
		// Stalls at 0.3, 0.7, 1.1 and 1.5 s: the fourth is the first that is a second
		// after the first. The next request has a head start of a quarter of what its
		// caller has left, and then a copy.
		assert.Equal(t, 4, failed)
		assert.Equal(t, 1500*time.Millisecond, last)
		assert.Equal(t, 1675*time.Millisecond, first)
		synctest.Wait()
		assert.Equal(t, map[string]int{"stall promoted": 1}, p.Outcomes())
		assert.Equal(t, 1775*time.Millisecond, p.Recreations()[0].EndTime().Sub(p.Recreations()[0].StartTime())+1675*time.Millisecond,
			"100 ms of silence after the copy's answer prove it")
		assert.LessOrEqual(t, a.Dials()-before, 2, "one connection more, for the swap, or net/http's two")
	})
}

// A server that is slow but healthy never costs a swap, however its callers
// leave.
func TestSlowIsNotDead(t *testing.T) {
	leave := map[string]func(t *testing.T, rt http.RoundTripper){
		"cancel": func(t *testing.T, rt http.RoundTripper) {
			ctx, cancel := context.WithCancel(t.Context())
			defer time.AfterFunc(5*time.Millisecond, cancel).Stop()
			_, err := get(ctx, rt, "http://a.test/")
			require.ErrorIs(t, err, context.Canceled)
		},
		"deadline": func(t *testing.T, rt http.RoundTripper) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer cancel()
			_, err := get(ctx, rt, "http://a.test/")
			require.ErrorIs(t, err, context.DeadlineExceeded)
		},
		"http.Client.Timeout": func(t *testing.T, rt http.RoundTripper) {
			client := &http.Client{Transport: rt, Timeout: 5 * time.Millisecond}
			_, err := client.Get("http://a.test/")
			var timeout interface{ Timeout() bool }
			require.ErrorAs(t, err, &timeout)
			require.True(t, timeout.Timeout())
		},
		"legacy Cancel": func(t *testing.T, rt http.RoundTripper) {
			req := request(t.Context(), http.MethodGet, "http://a.test/", nil)
			cancel := make(chan struct{})
			//lint:ignore SA1019 the point of the test
			req.Cancel = cancel
			defer time.AfterFunc(5*time.Millisecond, func() { close(cancel) }).Stop()
			_, err := testkit.Do(rt, req)
			require.Error(t, err)
		},
	}
	for name, give := range leave {
		for _, proto := range []string{"h1", "h2"} {
			t.Run(name+" "+proto, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := testnet.New(t)
					n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						select {
						case <-time.After(50 * time.Millisecond):
						case <-req.Context().Done():
						}
					}))
					base := n.HTTP1()
					if proto == "h2" {
						base = n.HTTP2()
					}
					p := testkit.NewProbe(t)
					rt := start(t, base, observed(p)...)
					for range 1000 {
						give(t, rt)
						time.Sleep(20 * time.Millisecond)
					}
					assert.EqualValues(t, 1, rt.Health().Generation)
					require.NoError(t, rt.Close())
					synctest.Wait()
					for outcome := range p.Outcomes() {
						assert.Equal(t, "stall rejected", outcome)
					}
					if name == "cancel" || name == "legacy Cancel" {
						assert.Empty(t, p.Recreations(), "a caller's cancellation is not even a stall")
						assert.Zero(t, p.Total("respawn.transport.failures"))
					}
				})
			})
		}
	}
}

// Copies of callers who wait for less than a handshake takes prove a candidate all the
// same: each leaves the connection that it dialed to the next, which comes a second
// later at the earliest.
func TestCopiesShareTheCandidatesConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		a := n.Serve("a.test:80", http.HandlerFunc(saysOK))
		p := testkit.NewProbe(t)
		rt := start(t, n.HTTP2(), append(observed(p), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			far := n.HTTP2()
			far.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(150 * time.Millisecond)
				return n.DialContext(ctx, network, addr)
			}
			return far, nil
		}))...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		goDark(a)
		recovered := time.Duration(0)
		begin := time.Now()
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, err := get(ctx, rt, "http://a.test/")
			cancel()
			if err == nil && recovered == 0 {
				recovered = time.Since(begin)
			}
			time.Sleep(100*time.Millisecond - time.Since(begin)%(100*time.Millisecond))
		}
		synctest.Wait()
		assert.Equal(t, map[string]int{"stall promoted": 1}, p.Outcomes())
		// Tripped at 1.05 s, a copy at 1.1125 s, whose connection is there at 1.2625 s,
		// and the next a second after it.
		assert.Equal(t, 2112500*time.Microsecond, recovered)
	})
}

// A copy that its caller leaves proves nothing, and would hold back the next.
func TestARequestWhoseCallerIsAboutToLeaveIsNotCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tried atomic.Int64
		f := testkit.NewFactory(func(context.Context, int64) (http.RoundTripper, error) {
			time.Sleep(1900 * time.Millisecond)
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				tried.Add(1)
				return testkit.Answer(req)
			}), nil
		})
		rt := start(t, staysSilent(nil), respawn.WithFactory(f.Make), respawn.WithStallThreshold(1, 0), every(time.Hour))
		stallsFor(t, rt, "http://a.test/", time.Second)
		leaves, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := get(leaves, rt, "http://a.test/")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.EqualValues(t, 1, f.Calls.Load(), "it was built for meanwhile")
		assert.Zero(t, tried.Load(), "100 ms were left when the candidate was ready")

		stays, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = get(stays, rt, "http://a.test/")
		require.NoError(t, err)
		assert.EqualValues(t, 1, tried.Load())
	})
}
