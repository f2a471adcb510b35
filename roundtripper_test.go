package respawn

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/evidence"
)

func TestDeadForGoodThenWell(t *testing.T) {
	oneShot := func() io.Reader { return io.MultiReader(strings.NewReader("hello")) }
	for _, tt := range []struct {
		name   string
		err    error
		method string
		body   func() io.Reader
	}{
		{"GET, dial error", refused(), http.MethodGet, nil},
		{"GET, closed error", net.ErrClosed, http.MethodGet, nil},
		{"POST with GetBody", refused(), http.MethodPost, func() io.Reader { return strings.NewReader("hello") }},
		{"POST with a one-shot body", refused(), http.MethodPost, oneShot},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProbe(t)
				base := dead(tt.err)
				f := builds(func() http.RoundTripper { return &stub{} })
				rt := start(t, base, append(p.options(), WithFactory(f.make))...)

				var body io.Reader
				if tt.body != nil {
					body = tt.body()
				}
				resp, err := rt.RoundTrip(mustRequest(t.Context(), tt.method, "http://a.test/", body))
				require.NoError(t, err)
				sent, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())

				assert.Equal(t, 200, resp.StatusCode)
				if body != nil {
					assert.Equal(t, "hello", string(sent), "the whole body arrived")
				}
				assert.EqualValues(t, 3, base.calls.Load(), "threshold failed attempts")
				assert.EqualValues(t, 1, f.calls.Load())
				assert.Equal(t, 1, p.outcomes()[evidence.TriggerOf(tt.err)+" promoted"])
				assert.Len(t, p.recreations(), 1)
				assert.Empty(t, rt.Health().Streaks, "the table is empty when all is well")
				assert.False(t, rt.alert.Load(), "and requests are back on the healthy path")
			})
		})
	}
}

func TestThresholdIsExact(t *testing.T) {
	for _, threshold := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			base := dead(refused())
			f := builds(func() http.RoundTripper { return &stub{} })
			rt := start(t, base, WithFactory(f.make), WithThreshold(threshold))
			status, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			assert.Equal(t, 200, status)
			assert.EqualValues(t, threshold, base.calls.Load())
		})
	}
}

// A literal port of the LiteLLM fix to goroutines makes up to 1,000 sessions
// here and leaks 999.
func TestOneStormOneRecreation(t *testing.T) {
	for _, takes := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				a := n.serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					time.Sleep(time.Millisecond)
					io.WriteString(w, "well")
				}))
				p := newProbe(t)
				var tunnelDead atomic.Bool
				tunnelDead.Store(true)
				base := n.h1()
				base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if tunnelDead.Load() {
						return nil, errors.New("session shutdown") // as yamux says it
					}
					return n.dial(ctx, network, addr)
				}
				f := builds(func() http.RoundTripper { time.Sleep(takes); return n.h1() })
				rt := start(t, base, append(p.options(), WithFactory(f.make))...)

				var wg sync.WaitGroup
				var failed atomic.Int64
				for range 1000 {
					wg.Go(func() {
						if status, err := get(t.Context(), rt, "http://a.test/"); err != nil || status != 200 {
							failed.Add(1)
						}
					})
				}
				wg.Wait()
				assert.Zero(t, failed.Load(), "failed GETs")
				assert.EqualValues(t, 1, f.calls.Load(), "factory calls")
				assert.Equal(t, map[string]int{"_OTHER promoted": 1}, p.outcomes())
				assert.EqualValues(t, 2, rt.Health().Generation)
				assert.Zero(t, rt.Health().InFlight)
				rt.CloseIdleConnections()
				require.NoError(t, rt.Close())
				settle()
				assert.Zero(t, a.openConns(), "connections left")
			})
		})
	}
}

func TestUpstreamDownTransportFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
		a, b := n.serve("a.test:80", ok), n.serve("b.test:80", ok)
		p := newProbe(t)
		var trials []time.Duration
		begin := time.Now()
		base := n.h1()
		rt := start(t, base, append(p.options(), every(7*time.Second), WithFactory(func(context.Context) (http.RoundTripper, error) {
			trials = append(trials, time.Since(begin))
			return n.h1(), nil
		}))...)

		_, err := get(t.Context(), rt, "http://b.test/")
		require.NoError(t, err)
		a.set(true)
		costs := map[int]int{} // dials per request to A
		for range 600 {
			before := a.dialCount()
			_, err := get(t.Context(), rt, "http://a.test/")
			require.ErrorIs(t, err, refused().(*net.OpError).Err)
			costs[a.dialCount()-before]++
			status, err := get(t.Context(), rt, "http://b.test/")
			require.NoError(t, err)
			require.Equal(t, 200, status)
			time.Sleep(100 * time.Millisecond)
		}

		assert.Equal(t, []time.Duration{
			0, 7 * time.Second, 14 * time.Second, 21 * time.Second, 28 * time.Second,
			35 * time.Second, 42 * time.Second, 49 * time.Second, 56 * time.Second,
		}, trials, "trials follow the backoff")
		assert.Equal(t, map[int]int{
			4: 1,   // the first: threshold attempts and the trial
			2: 8,   // a trial that was not sent, and then the current transport
			1: 591, // the steady state
		}, costs)
		assert.EqualValues(t, 1, rt.Health().Generation, "not one swap")
		assert.Equal(t, map[string]int{"connection_refused rejected": 9}, p.outcomes())
		assert.Equal(t, 1, b.dialCount(), "B's connection is the one from before")

		a.set(false)
		status, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err, "the first request after A is back")
		assert.Equal(t, 200, status)
		assert.EqualValues(t, 1, rt.Health().Generation, "a success ends the trip with no swap")
		assert.False(t, rt.alert.Load())
		assert.Len(t, p.logged("recovered"), 1)
	})
}

func TestTwoHostsOneBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "broken.test" {
				return nil, refused()
			}
			return answer(req)
		})
		f := builds(func() http.RoundTripper { return &stub{} })
		rt := start(t, base, WithFactory(f.make), WithReplay(ReplayNever))
		for i := range 3 {
			_, err := get(t.Context(), rt, "http://broken.test/")
			require.Error(t, err, "request %d", i)
			_, err = get(t.Context(), rt, "http://well.test/")
			require.NoError(t, err)
		}
		status, err := get(t.Context(), rt, "http://broken.test/")
		require.NoError(t, err, "the successes next door did not hide three failures")
		assert.Equal(t, 200, status)
		assert.EqualValues(t, 1, f.calls.Load())
	})
}

// The same server under other spellings has one streak.
func TestAuthorityIsNormalized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := dead(refused())
		f := builds(func() http.RoundTripper { return &stub{} })
		rt := start(t, base, WithFactory(f.make), WithReplay(ReplayNever))
		for _, url := range []string{"http://A.test/", "http://a.test:80/", "HTTP://a.TEST/x"} {
			_, err := get(t.Context(), rt, url)
			require.Error(t, err)
		}
		_, err := get(t.Context(), rt, "http://a.test/y")
		require.NoError(t, err)
	})
}

// Row 1 of the ways to get stuck: net/http alone needs 15 minutes or 94 lost
// requests here.
func TestBlackHole(t *testing.T) {
	load := func(t *testing.T, rt http.RoundTripper) (failed int, lastFailure time.Duration) {
		begin := time.Now()
		for range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if _, err := get(ctx, rt, "http://a.test/"); err != nil {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				failed++
				lastFailure = time.Since(begin)
			}
			cancel()
			time.Sleep(100 * time.Millisecond)
		}
		return failed, lastFailure
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })

	synctest.Test(t, func(t *testing.T) { // the fault is real
		n := newNetwork(t)
		a := n.serve("a.test:80", ok)
		bare := n.h2()
		_, err := get(t.Context(), bare, "http://a.test/")
		require.NoError(t, err)
		a.blackhole()
		failed, _ := load(t, bare)
		assert.Greater(t, failed, 90)
		bare.CloseIdleConnections()
	})
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		a := n.serve("a.test:80", ok)
		p := newProbe(t)
		rt := start(t, n.h2(), p.options()...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		before := a.dialCount()
		a.blackhole()
		failed, last := load(t, rt)
		// Stalls at 0.3, 0.7, 1.1 and 1.5 s: the fourth is the first that is a
		// second after the first. The next request is the trial.
		assert.Equal(t, 4, failed)
		assert.Equal(t, 1500*time.Millisecond, last)
		assert.Equal(t, map[string]int{"stall promoted": 1}, p.outcomes())
		assert.LessOrEqual(t, a.dialCount()-before, 2, "one connection more, for the swap, or net/http's two")
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
			req := mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil)
			cancel := make(chan struct{})
			//lint:ignore SA1019 the point of the test
			req.Cancel = cancel
			defer time.AfterFunc(5*time.Millisecond, func() { close(cancel) }).Stop()
			_, err := do(rt, req)
			require.Error(t, err)
		},
	}
	for name, give := range leave {
		for _, proto := range []string{"h1", "h2"} {
			t.Run(name+" "+proto, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newNetwork(t)
					n.serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						select {
						case <-time.After(50 * time.Millisecond):
						case <-req.Context().Done():
						}
					}))
					base := n.h1()
					if proto == "h2" {
						base = n.h2()
					}
					p := newProbe(t)
					rt := start(t, base, p.options()...)
					for range 1000 {
						give(t, rt)
						time.Sleep(20 * time.Millisecond)
					}
					assert.EqualValues(t, 1, rt.Health().Generation)
					for outcome := range p.outcomes() {
						assert.Equal(t, "stall rejected", outcome)
					}
					if name == "cancel" || name == "legacy Cancel" {
						assert.Empty(t, p.recreations(), "a caller's cancellation is not even a stall")
						assert.Zero(t, p.total("respawn.transport.failures"))
					}
				})
			})
		}
	}
}

// A stall trial that leaves too early says nothing yet: where even the
// handshake takes longer than the callers wait, the candidate is handed on
// until its connection is there.
func TestStallTrialIsHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		a := n.serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
		p := newProbe(t)
		rt := start(t, n.h2(), append(p.options(), WithFactory(func(context.Context) (http.RoundTripper, error) {
			far := n.h2()
			far.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(150 * time.Millisecond)
				return n.dial(ctx, network, addr)
			}
			return far, nil
		}))...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		a.blackhole()
		recovered := time.Duration(0)
		begin := time.Now()
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, err := get(ctx, rt, "http://a.test/")
			cancel()
			if err == nil && recovered == 0 {
				recovered = time.Since(begin)
			}
			time.Sleep(50 * time.Millisecond)
		}
		assert.Equal(t, map[string]int{"stall promoted": 1}, p.outcomes())
		assert.NotZero(t, recovered)
		assert.Less(t, recovered, 2*time.Second)
	})
}

func TestToldByTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		base := &sessionStub{}
		f := builds(func() http.RoundTripper { time.Sleep(time.Millisecond); return &sessionStub{} })
		rt := start(t, base, append(p.options(), WithFactory(f.make))...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		base.end(errors.New("connection closed"))

		// Not even POSTs that could never be replayed are lost, and they do
		// not wait for one another's recreation.
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				status, err := do(rt, mustRequest(t.Context(), http.MethodPost, "http://a.test/", io.MultiReader(strings.NewReader("once"))))
				assert.NoError(t, err)
				assert.Equal(t, 200, status)
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, base.calls.Load(), "no request reached the ended transport")
		assert.EqualValues(t, 1, f.calls.Load())
		assert.Equal(t, map[string]int{"transport_ended promoted": 1}, p.outcomes())
		assert.Len(t, p.warnings(), 1, "the trip and its outcome are one event")
	})
}

func TestEndedAndCannotBeReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("connection closed")
		base := &sessionStub{}
		base.end(gone)
		var well atomic.Bool
		f := &factory{build: func(int64, context.Context) (http.RoundTripper, error) {
			if well.Load() {
				return &sessionStub{}, nil
			}
			return nil, errors.New("no route")
		}}
		p := newProbe(t)
		rt := start(t, base, append(p.options(), WithFactory(f.make), every(time.Second))...)
		for range 10 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Same(t, gone, err, "callers go on without it, to their own error")
		}
		assert.EqualValues(t, 1, f.calls.Load(), "one trial per interval")
		assert.Equal(t, StateFailing, rt.Health().State)
		well.Store(true)
		time.Sleep(time.Second)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, StateHealthy, rt.Health().State)
	})
}
