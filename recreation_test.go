package respawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/evidence"
)

// One lost connection with 500 streams on it is one failure, and what still
// comes from a retired generation is none.
func TestLateAndStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("http2: client connection lost")
		release := make(chan struct{})
		base := rtFunc(func(req *http.Request) (*http.Response, error) {
			if strings.HasPrefix(req.URL.Path, "/stream") {
				<-release
				return nil, lost
			}
			return nil, refused()
		})
		f := builds(func() http.RoundTripper { return &stub{} })
		rt := start(t, base, WithFactory(f.make), WithReplay(ReplayNever))

		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/stream"); assert.Same(t, lost, err) })
		}
		synctest.Wait()
		for range 3 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
		}
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.EqualValues(t, 2, rt.Health().Generation)

		close(release) // the old generation's 500 streams fail only now
		wg.Wait()
		assert.Empty(t, rt.Health().Streaks, "errors of a retired generation do not count")
		assert.EqualValues(t, 1, f.calls.Load())
	})
}

func TestOneLostConnectionCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		base := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/stream" {
				<-release
				return nil, errors.New("http2: client connection lost")
			}
			return answer(req)
		})
		f := builds(func() http.RoundTripper { return &stub{} })
		rt := start(t, base, WithFactory(f.make), WithReplay(ReplayNever))
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/stream"); assert.Error(t, err) })
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		require.Len(t, rt.Health().Streaks, 1)
		assert.Equal(t, 1, rt.Health().Streaks[0].Failures)
		assert.Zero(t, f.calls.Load())
	})
}

func TestFactoriesThatMisbehave(t *testing.T) {
	own := errors.New("the factory's own")
	for _, tt := range []struct {
		name  string
		kind  string
		takes time.Duration
		make  func(ctx context.Context, current http.RoundTripper) (http.RoundTripper, error)
	}{
		{"error", "*errors.errorString", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) { return nil, own }},
		{"hang until the context ends", "factory_timeout", 10 * time.Second, func(ctx context.Context, _ http.RoundTripper) (http.RoundTripper, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}},
		{"hang and ignore the context", "factory_timeout", 10 * time.Second, func(context.Context, http.RoundTripper) (http.RoundTripper, error) {
			time.Sleep(time.Minute)
			return &stub{}, nil
		}},
		{"panic", "factory_panic", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) { panic("oops") }},
		{"nil", "factory_nil", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) { return nil, nil }},
		{"typed nil", "factory_nil", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) {
			return (*http.Transport)(nil), nil
		}},
		{"the same instance", "factory_reused", 0, func(_ context.Context, current http.RoundTripper) (http.RoundTripper, error) {
			return current, nil
		}},
		{"http.DefaultTransport", "factory_shared", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) {
			return http.DefaultTransport, nil
		}},
		{"already ended", "factory_ended", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) {
			s := &sessionStub{}
			s.end(own)
			return s, nil
		}},
	} {
		for _, fallback := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, fallback %t", tt.name, fallback), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newProbe(t)
					broken := refused()
					base := dead(broken)
					f := &factory{build: func(n int64, ctx context.Context) (http.RoundTripper, error) {
						if n == 1 {
							return tt.make(ctx, base)
						}
						return &stub{}, nil
					}}
					opts := append(p.options(), WithFactory(f.make), every(time.Second))
					if fallback {
						opts = append(opts, WithFallback(&stub{}))
					}
					rt := start(t, base, opts...)

					begin := time.Now()
					status, err := get(t.Context(), rt, "http://a.test/")
					assert.Equal(t, tt.takes, time.Since(begin))
					if fallback {
						require.NoError(t, err)
						assert.Equal(t, 200, status)
					} else {
						require.Same(t, broken, err, "callers get their own error")
					}
					assert.EqualValues(t, 1, rt.Health().Generation, "the current transport stays")
					assert.Same(t, base, rt.WrappedRoundTripper())
					assert.Zero(t, base.idle.Load()+base.shut.Load(), "and nothing of it was closed")
					require.Len(t, p.recreations(), 1)
					assert.Equal(t, tt.kind, attributesOf(p.recreations()[0].Attributes())["error.type"])

					time.Sleep(time.Second)
					status, err = get(t.Context(), rt, "http://a.test/")
					require.NoError(t, err, "a later trial recovers")
					assert.Equal(t, 200, status)
					assert.EqualValues(t, 2, rt.Health().Generation)
					time.Sleep(time.Minute) // the hung factory returns, and its product is closed
				})
			})
		}
	}
}

// A factory that ignores its context cannot collect goroutines without bound,
// and its late products are closed.
func TestStuckFactory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		release := make(chan struct{})
		var products []*stub
		var mu sync.Mutex
		f := &factory{build: func(int64, context.Context) (http.RoundTripper, error) {
			<-release
			mu.Lock()
			defer mu.Unlock()
			products = append(products, &stub{})
			return products[len(products)-1], nil
		}}
		rt := start(t, dead(refused()), append(p.options(), WithFactory(f.make), every(time.Second))...)
		for range 20 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
			time.Sleep(time.Second)
		}
		assert.EqualValues(t, 8, f.calls.Load())
		assert.Equal(t, map[string]int{"connection_refused rejected": 20}, p.outcomes())
		close(release)
		settle()
		mu.Lock()
		for _, s := range products {
			assert.NotZero(t, s.shut.Load(), "a late product is closed")
		}
		mu.Unlock()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
	})
}

// An upstream that accepts and resets gives everybody a connection. A swap
// would not help it, and would cost all others their warm connections.
func TestResettingUpstreamIsNoReasonToSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		a := n.serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		}))
		n.serve("b.test:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		p := newProbe(t)
		rt := start(t, n.h1(), append(p.options(), every(time.Second))...)
		for range 100 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.ErrorIs(t, err, io.EOF)
			_, err = get(t.Context(), rt, "http://b.test/")
			require.NoError(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		assert.EqualValues(t, 1, rt.Health().Generation)
		assert.Equal(t, map[string]int{"connection_closed rejected": 10}, p.outcomes())
		assert.NotZero(t, a.dialCount())
	})
}

// The caller who gives up does not take the recreation with it.
func TestTrialsCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		f := builds(func() http.RoundTripper { time.Sleep(300 * time.Millisecond); return &stub{} })
		broken := refused()
		rt := start(t, dead(broken), append(p.options(), WithFactory(f.make))...)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := get(ctx, rt, "http://a.test/")
		require.Same(t, broken, err)
		assert.Equal(t, 50*time.Millisecond, time.Since(begin), "it waits as long as its own context allows")
		time.Sleep(time.Second)
		assert.True(t, rt.Health().Recreating, "the candidate waits for somebody to try it")

		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = get(ctx, rt, "http://a.test/")
		require.NoError(t, err, "which the next request does")
		assert.EqualValues(t, 1, f.calls.Load())
		assert.Equal(t, map[string]int{"connection_refused promoted": 1}, p.outcomes())
	})
}

// A later trial of an outage is not waited for by requests that were on their
// way before it: nobody's wait is doubled.
func TestNobodysWaitIsDoubled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const dialTimeout = 5 * time.Second
		timeout := &net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}
		slow := func() http.RoundTripper {
			return rtFunc(func(*http.Request) (*http.Response, error) { time.Sleep(dialTimeout); return nil, timeout })
		}
		rt := start(t, slow(), WithFactory(builds(slow).make), every(8*time.Second))
		_, err := get(t.Context(), rt, "http://a.test/") // trips, and the first trial is rejected
		require.Same(t, timeout, err)

		var wg sync.WaitGroup
		waits := map[time.Duration]int{}
		var mu sync.Mutex
		for range 200 {
			wg.Go(func() {
				begin := time.Now()
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.Same(t, timeout, err)
				mu.Lock()
				waits[time.Since(begin)]++
				mu.Unlock()
			})
			time.Sleep(200 * time.Millisecond)
		}
		wg.Wait()
		trials := rt.Health().Rejections - 1
		assert.Equal(t, map[time.Duration]int{dialTimeout: 200 - trials, 2 * dialTimeout: trials}, waits,
			"only the trials themselves take a second attempt")
		assert.NotZero(t, trials)
	})
}

// One upstream that is down for long does not keep a dead way to another
// waiting, nor does a flood of names build a transport each.
func TestAuthoritiesHaveTheirOwnBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tunnelDead atomic.Bool
		serve := func(fresh bool) http.RoundTripper {
			return rtFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Host != "tunnel.test" || !fresh && tunnelDead.Load() {
					return nil, refused()
				}
				return answer(req)
			})
		}
		f := builds(func() http.RoundTripper { return serve(true) })
		rt := start(t, serve(false), WithFactory(f.make), WithBackOff(func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(2),
				backoff.WithRandomizationFactor(0), backoff.WithMaxInterval(time.Hour), backoff.WithMaxElapsedTime(0))
		}))
		for range 600 { // down.test's backoff is minutes by now
			_, err := get(t.Context(), rt, "http://down.test/")
			require.Error(t, err)
			time.Sleep(time.Second)
		}
		require.Less(t, f.calls.Load(), int64(12))
		tunnelDead.Store(true)
		_, err := get(t.Context(), rt, "http://tunnel.test/")
		require.NoError(t, err, "the tunnel is replaced at once")
		require.EqualValues(t, 2, rt.Health().Generation)
	})
	synctest.Test(t, func(t *testing.T) {
		f := builds(func() http.RoundTripper { return dead(refused()) })
		rt := start(t, dead(refused()), WithFactory(f.make), every(time.Second))
		for i := range 10_000 {
			_, err := get(t.Context(), rt, fmt.Sprintf("http://%d.test/", i))
			require.Error(t, err)
			time.Sleep(time.Millisecond)
		}
		assert.EqualValues(t, 10, f.calls.Load(), "one transport a second, however many names")
		assert.LessOrEqual(t, len(rt.Health().Streaks), maxStreaks)
	})
}

func TestBackoffIsResetOnlyByHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		begin := time.Now()
		var made []time.Duration
		transport := func() http.RoundTripper {
			return rtFunc(func(req *http.Request) (*http.Response, error) {
				if broken.Load() {
					return nil, refused()
				}
				return answer(req)
			})
		}
		rt := start(t, transport(), WithFactory(func(context.Context) (http.RoundTripper, error) {
			made = append(made, time.Since(begin))
			broken.Store(false)
			return transport(), nil
		}), WithBackOff(func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(2),
				backoff.WithRandomizationFactor(0), backoff.WithMaxElapsedTime(0))
		}))
		trip := func() {
			broken.Store(true)
			for range 100 {
				if _, err := get(t.Context(), rt, "http://a.test/"); err == nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		trip() // at once
		trip() // dies again at once: 1 s
		trip() // and again: 2 s more
		time.Sleep(3 * time.Second)
		trip() // 3 s of health are less than the last interval of 4 s
		time.Sleep(8 * time.Second)
		trip() // 8 s of health are the last interval: at once
		seconds := make([]float64, len(made))
		for i, d := range made {
			seconds[i] = d.Seconds()
		}
		assert.InDeltaSlice(t, []float64{0, 1, 3, 7, 15}, seconds, 0.001)
	})
}

// A policy that gives up would make respawn the outage it is meant to end.
func TestBackOffStopIsOverruled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := builds(func() http.RoundTripper { return dead(refused()) })
		rt := start(t, dead(refused()), WithFactory(f.make), WithBackOff(func() backoff.BackOff { return &backoff.StopBackOff{} }))
		for range 10 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
			time.Sleep(time.Second)
		}
		assert.EqualValues(t, 10, f.calls.Load())
	})
}

func TestRecreate(t *testing.T) {
	t.Run("swaps, and retires the old", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newProbe(t)
			base := &stub{}
			f := builds(func() http.RoundTripper { return &stub{} })
			rt := start(t, base, append(p.options(), WithFactory(f.make))...)
			require.NoError(t, rt.Recreate(t.Context()))
			assert.EqualValues(t, 2, rt.Health().Generation)
			assert.Equal(t, map[string]int{"manual promoted": 1}, p.outcomes())
			settle()
			assert.NotZero(t, base.idle.Load())
			assert.EqualValues(t, 1, base.shut.Load())
		})
	})
	t.Run("ends with its context while the factory hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newProbe(t)
			base := &stub{}
			late := &stub{}
			rt := start(t, base, append(p.options(), WithFactory(func(context.Context) (http.RoundTripper, error) {
				time.Sleep(5 * time.Second) // deaf to its context
				return late, nil
			}))...)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			begin := time.Now()
			require.ErrorIs(t, rt.Recreate(ctx), context.DeadlineExceeded)
			assert.Equal(t, 50*time.Millisecond, time.Since(begin))
			settle()
			assert.Same(t, base, rt.WrappedRoundTripper(), "the current transport stays")
			assert.Zero(t, base.shut.Load())
			assert.EqualValues(t, 1, late.shut.Load(), "what came too late is closed")
			assert.Equal(t, map[string]int{"manual rejected": 1}, p.outcomes())
		})
	})
	t.Run("twenty at once make one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newProbe(t)
			f := builds(func() http.RoundTripper { time.Sleep(10 * time.Millisecond); return &stub{} })
			rt := start(t, &stub{}, append(p.options(), WithFactory(f.make))...)
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() { assert.NoError(t, rt.Recreate(t.Context())) })
			}
			wg.Wait()
			assert.EqualValues(t, 1, f.calls.Load())
			assert.EqualValues(t, 2, rt.Health().Generation)
		})
	})
	t.Run("a joined call goes on when the first gives up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := &factory{build: func(_ int64, ctx context.Context) (http.RoundTripper, error) {
				select {
				case <-time.After(time.Second):
					return &stub{}, nil
				case <-ctx.Done():
					return nil, context.Cause(ctx)
				}
			}}
			rt := start(t, &stub{}, WithFactory(f.make))
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() { assert.ErrorIs(t, rt.Recreate(ctx), context.DeadlineExceeded) })
			synctest.Wait()
			wg.Go(func() { assert.NoError(t, rt.Recreate(t.Context())) })
			wg.Wait()
			assert.EqualValues(t, 2, f.calls.Load())
			assert.EqualValues(t, 2, rt.Health().Generation)
		})
	})
	t.Run("is proven by a request where there is one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newProbe(t)
			base := &stub{delay: time.Second}
			f := builds(func() http.RoundTripper { return dead(refused()) })
			rt := start(t, base, append(p.options(), WithFactory(f.make))...)
			var wg sync.WaitGroup
			wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/"); assert.NoError(t, err) })
			synctest.Wait()
			wg.Go(func() {
				assert.ErrorIs(t, rt.Recreate(t.Context()), syscall.ECONNREFUSED)
			})
			synctest.Wait()
			status, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err, "the trial was not sent and costs no request")
			assert.Equal(t, 200, status)
			wg.Wait()
			assert.EqualValues(t, 1, rt.Health().Generation)
			assert.Equal(t, map[string]int{"manual rejected": 1}, p.outcomes())
		})
	})
	t.Run("is promoted untried when no request comes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := &stub{delay: time.Minute}
			rt := start(t, base, WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
			var wg sync.WaitGroup
			wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/"); assert.NoError(t, err) })
			synctest.Wait()
			begin := time.Now()
			require.NoError(t, rt.Recreate(t.Context()))
			assert.Equal(t, 10*time.Second, time.Since(begin))
			assert.EqualValues(t, 2, rt.Health().Generation)
			wg.Wait()
		})
	})
	t.Run("replaces a candidate that was built before it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newProbe(t)
			var built []*stub
			f := builds(func() http.RoundTripper {
				time.Sleep(100 * time.Millisecond)
				built = append(built, &stub{})
				return built[len(built)-1]
			})
			rt := start(t, dead(refused()), append(p.options(), WithFactory(f.make))...)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := get(ctx, rt, "http://a.test/")
			require.Error(t, err)
			time.Sleep(time.Second) // built with the old credentials, and waiting
			require.NoError(t, rt.Recreate(t.Context()))
			require.Len(t, built, 2)
			assert.Same(t, built[1], rt.WrappedRoundTripper())
			settle()
			assert.EqualValues(t, 1, built[0].shut.Load())
			assert.Equal(t, map[string]int{"connection_refused rejected": 1, "manual promoted": 1}, p.outcomes())
		})
	})
	t.Run("reports the factory's error", func(t *testing.T) {
		own := errors.New("no certificate")
		rt := start(t, &stub{}, WithFactory(func(context.Context) (http.RoundTripper, error) { return nil, own }))
		require.ErrorIs(t, rt.Recreate(t.Context()), own)
	})
	t.Run("is ErrClosed after Close", func(t *testing.T) {
		rt := start(t, &stub{}, WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
		require.NoError(t, rt.Close())
		require.ErrorIs(t, rt.Recreate(t.Context()), ErrClosed)
	})
}

func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const age = time.Minute
		p := newProbe(t)
		var made []time.Time
		last := time.Now()
		var apart []time.Duration
		base := &stub{}
		rt := start(t, base, append(p.options(), WithMaxAge(age), WithFactory(func(context.Context) (http.RoundTripper, error) {
			made = append(made, time.Now())
			apart = append(apart, time.Since(last))
			last = time.Now()
			return &stub{}, nil
		}))...)
		for range 6000 {
			status, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			require.Equal(t, 200, status)
			time.Sleep(100 * time.Millisecond)
		}
		assert.GreaterOrEqual(t, len(made), 9)
		for _, d := range apart {
			assert.InDelta(t, age.Seconds(), d.Seconds(), age.Seconds()*0.1+0.2)
		}
		assert.Equal(t, map[string]int{"max_age promoted": len(made)}, p.outcomes())
		assert.EqualValues(t, 1, base.shut.Load(), "the first generation was retired")
	})
}

// A transport that is replaced by age is proven like any other, and a bad one
// costs nobody a request.
func TestMaxAgeRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		f := &factory{build: func(n int64, _ context.Context) (http.RoundTripper, error) {
			if n < 3 {
				return dead(refused()), nil
			}
			return &stub{}, nil
		}}
		rt := start(t, &stub{}, append(p.options(), WithMaxAge(time.Minute), every(5*time.Second), WithFactory(f.make))...)
		for range 900 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		assert.Equal(t, map[string]int{"max_age rejected": 2, "max_age promoted": 1}, p.outcomes())
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
	for chance, at := range map[float64]time.Duration{0: 54 * time.Second, 0.5: time.Minute, 1: 66 * time.Second} {
		synctest.Test(t, func(t *testing.T) { // a tenth of jitter, exactly
			begin := time.Now()
			var made []time.Duration
			rt := start(t, &stub{}, func(c *config) error { c.Chance = func() float64 { return chance }; return nil },
				WithMaxAge(time.Minute), WithFactory(func(context.Context) (http.RoundTripper, error) {
					made = append(made, time.Since(begin))
					return &stub{}, nil
				}))
			time.Sleep(70 * time.Second)
			synctest.Wait()
			assert.Equal(t, []time.Duration{at}, made)
			rt.Close()
		})
	}
	synctest.Test(t, func(t *testing.T) { // nobody there to prove it
		rt := start(t, &stub{}, WithMaxAge(time.Minute), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
		time.Sleep(2 * time.Minute)
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

func TestFallbackServesWhileTripped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, spare := dead(refused()), &stub{}
		var well atomic.Bool
		rt := start(t, base, WithFallback(spare), every(time.Second), WithFactory(func(context.Context) (http.RoundTripper, error) {
			if well.Load() {
				return &stub{}, nil
			}
			return nil, errors.New("no route")
		}))
		for range 50 {
			status, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			require.Equal(t, 200, status)
			time.Sleep(100 * time.Millisecond)
		}
		assert.EqualValues(t, 3, base.calls.Load(), "the threshold, and then no more")
		assert.EqualValues(t, 50, spare.calls.Load())
		assert.NotEqual(t, StateHealthy, rt.Health().State, "an answer from the fallback does not end the outage")
		well.Store(true)
		time.Sleep(time.Second)
		for range 5 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
		}
		assert.EqualValues(t, 50, spare.calls.Load())
		assert.Equal(t, StateHealthy, rt.Health().State)
		assert.Zero(t, spare.shut.Load()+spare.idle.Load(), "the fallback is not ours to close")
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &stub{}
		rt := start(t, base, WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.NoError(t, rt.Close())
		require.NoError(t, rt.Close(), "twice is once")
		settle()
		assert.EqualValues(t, 1, base.shut.Load())
		for range 3 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.ErrorIs(t, err, ErrClosed)
		}
		assert.Same(t, base, rt.WrappedRoundTripper())
		assert.Equal(t, StateClosed, rt.Health().State)
	})
}

// Close while a recreation is under way, at each of its stages.
func TestCloseMidRecreation(t *testing.T) {
	for _, stage := range []time.Duration{50 * time.Millisecond, 150 * time.Millisecond} { // building, on trial
		synctest.Test(t, func(t *testing.T) {
			p := newProbe(t)
			made := &stub{delay: 100 * time.Millisecond}
			f := builds(func() http.RoundTripper { time.Sleep(100 * time.Millisecond); return made })
			rt := start(t, dead(refused()), append(p.options(), WithFactory(f.make))...)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { get(t.Context(), rt, "http://a.test/") })
			}
			time.Sleep(stage)
			require.NoError(t, rt.Close())
			wg.Wait()
			settle()
			assert.EqualValues(t, 1, made.shut.Load())
			assert.Equal(t, map[string]int{"connection_refused rejected": 1}, p.outcomes())
		})
	}
}

// A success on the current transport calls a trial off: a swap would cost
// everybody their warm connections for nothing.
func TestSuccessCallsTheTrialOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		base := dead(refused())
		made := &stub{delay: time.Second}
		rt := start(t, base, append(p.options(), WithFactory(builds(func() http.RoundTripper { return made }).make))...)
		var wg sync.WaitGroup
		wg.Go(func() {
			status, err := get(t.Context(), rt, "http://a.test/")
			assert.NoError(t, err, "the trial's caller gets its answer")
			assert.Equal(t, 200, status)
		})
		synctest.Wait()
		base.err.Store(nil)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		wg.Wait()
		assert.EqualValues(t, 1, rt.Health().Generation)
		require.Len(t, p.recreations(), 1)
		assert.Equal(t, "recovered", attributesOf(p.recreations()[0].Attributes())["error.type"])
		settle()
		assert.EqualValues(t, 1, made.shut.Load())
	})
}

// A candidate that hangs has no verdict for ever.
func TestTrialThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		f := &factory{build: func(n int64, _ context.Context) (http.RoundTripper, error) {
			if n == 1 {
				return &stub{delay: time.Hour}, nil
			}
			return &stub{}, nil
		}}
		rt := start(t, dead(refused()), append(p.options(), WithFactory(f.make), every(time.Second))...)
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for range 10 {
			wg.Go(func() { get(ctx, rt, "http://a.test/") })
		}
		time.Sleep(12 * time.Second)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		cancel()
		wg.Wait()
		assert.Equal(t, map[string]int{"connection_refused rejected": 1, "connection_refused promoted": 1}, p.outcomes())
	})
}

func TestStreaksAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "gone.test" {
				return nil, refused()
			}
			return answer(req)
		})
		rt := start(t, base, WithReplay(ReplayNever), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
		get(t.Context(), rt, "http://gone.test/")
		require.True(t, rt.alert.Load())
		time.Sleep(2 * time.Hour)
		_, err := get(t.Context(), rt, "http://well.test/")
		require.NoError(t, err)
		rt.Health()
		assert.False(t, rt.alert.Load(), "one dead link does not keep everybody off the healthy path")
	})
}

// A flood of invented names cannot push a real outage out of the table.
func TestFloodDoesNotHideAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := builds(func() http.RoundTripper { return dead(refused()) })
		rt := start(t, dead(refused()), WithFactory(f.make), WithReplay(ReplayNever), every(time.Hour))
		for i := range 5000 {
			get(t.Context(), rt, fmt.Sprintf("http://%d.test/", i))
			if i%100 == 0 {
				get(t.Context(), rt, "http://real.test/")
			}
		}
		for _, s := range rt.Health().Streaks {
			if s.Authority == "http://real.test:80" {
				assert.True(t, s.Tripped)
				return
			}
		}
		assert.Fail(t, "the outage was forgotten")
	})
}

// A transport that panics takes its caller down, and nobody else.
func TestTrialThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		f := &factory{build: func(n int64, _ context.Context) (http.RoundTripper, error) {
			if n == 1 {
				return rtFunc(func(*http.Request) (*http.Response, error) { panic("oops") }), nil
			}
			return &stub{}, nil
		}}
		rt := start(t, dead(refused()), append(p.options(), WithFactory(f.make), every(time.Second))...)
		assert.PanicsWithValue(t, "oops", func() { get(t.Context(), rt, "http://a.test/") })
		time.Sleep(time.Second)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, map[string]int{"connection_refused rejected": 1, "connection_refused promoted": 1}, p.outcomes())
		assert.Zero(t, rt.Health().InFlight)
	})
}

// What the transport says of itself is the trigger, also when requests that
// had to go on to it inside the window have failed since.
func TestEndedStaysTheTrigger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		var last *sessionStub
		session := func() http.RoundTripper { last = &sessionStub{}; return last }
		rt := start(t, session(), append(p.options(), every(time.Minute), WithFactory(builds(session).make))...)
		for range 2 {
			last.end(errors.New("session is closed"))
			get(t.Context(), rt, "http://a.test/")
		}
		require.EqualValues(t, 2, rt.Health().Generation, "the second is inside the window")
		assert.Equal(t, evidence.TriggerEnded, rt.Health().LastFailure.Reason)
		time.Sleep(time.Minute)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, map[string]int{"transport_ended promoted": 2}, p.outcomes())
	})
}

// A late success of a retired generation says nothing about the one in service.
func TestStaleSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &stub{delay: time.Minute}
		rt := start(t, base, WithReplay(ReplayNever), WithFactory(builds(func() http.RoundTripper { return dead(net.ErrClosed) }).make))
		var wg sync.WaitGroup
		wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/"); assert.NoError(t, err) })
		synctest.Wait()
		require.NoError(t, rt.Recreate(t.Context())) // untried: no request comes
		for range 2 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.ErrorIs(t, err, net.ErrClosed)
		}
		wg.Wait() // the answer of the first generation
		require.Len(t, rt.Health().Streaks, 1)
		assert.Equal(t, 2, rt.Health().Streaks[0].Failures)
	})
}

// Among equals the oldest has to go.
func TestTheOldestIsEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, dead(refused()), WithReplay(ReplayNever), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
		for i := range maxStreaks + 1 {
			get(t.Context(), rt, fmt.Sprintf("http://%d.test/", i))
			time.Sleep(time.Second)
		}
		left := map[string]bool{}
		for _, s := range rt.Health().Streaks {
			left[s.Authority] = true
		}
		assert.Len(t, left, maxStreaks)
		assert.False(t, left["http://0.test:80"])
		assert.True(t, left[fmt.Sprintf("http://%d.test:80", maxStreaks)])
	})
}
