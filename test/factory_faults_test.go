package test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A factory that fails, hangs, panics or returns what is no fresh transport costs
// nobody more than the wait for it, and the next one is asked after the interval.
func TestFactoryThatMisbehavesIsRejectedAndAskedAgain(t *testing.T) {
	own := errors.New("the factory's own")
	others := start(t, &testkit.Stub{}, respawn.WithFactory(stubs().Make))
	for _, tt := range []struct {
		name  string
		kind  string
		takes time.Duration
		make  func(ctx context.Context, current http.RoundTripper) (http.RoundTripper, error)
	}{
		{"error", "factory_error", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) { return nil, own }},
		{"hang until the context ends", "factory_timeout", 10 * time.Second, func(ctx context.Context, _ http.RoundTripper) (http.RoundTripper, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}},
		{"hang and ignore the context", "factory_timeout", 10 * time.Second, func(context.Context, http.RoundTripper) (http.RoundTripper, error) {
			time.Sleep(time.Minute)
			return &testkit.Stub{}, nil
		}},
		{"panic", "factory_panic", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) { panic("oops") }},
		{"nil", "factory_nil", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) { return nil, nil }},
		{"typed nil", "factory_nil", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) {
			return (*http.Transport)(nil), nil
		}},
		{"the same instance", "factory_reused", 0, func(_ context.Context, current http.RoundTripper) (http.RoundTripper, error) {
			return current, nil
		}},
		{"another client", "factory_reused", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) {
			return others, nil
		}},
		{"a wrapper around another client", "factory_reused", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) {
			return &wrapped{others}, nil
		}},
		{"http.DefaultTransport", "factory_shared", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) {
			return http.DefaultTransport, nil
		}},
		{"already ended", "factory_ended", 0, func(context.Context, http.RoundTripper) (http.RoundTripper, error) {
			s := &testkit.SessionStub{}
			s.End(own)
			return s, nil
		}},
	} {
		for _, fallback := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, fallback %t", tt.name, fallback), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := testkit.NewProbe(t)
					broken := testkit.Refused()
					base := testkit.Dead(broken)
					f := testkit.NewFactory(func(ctx context.Context, call int64) (http.RoundTripper, error) {
						if call == 1 {
							return tt.make(ctx, base)
						}
						return &testkit.Stub{}, nil
					})
					opts := append(observed(p), respawn.WithFactory(f.Make), every(time.Second))
					if fallback {
						opts = append(opts, respawn.WithFallback(&testkit.Stub{}))
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
					assert.Zero(t, base.IdleCloses.Load()+base.Closes.Load(), "and nothing of it was closed")
					synctest.Wait()
					require.Len(t, p.Recreations(), 1)
					assert.Equal(t, tt.kind, testkit.Attributes(p.Recreations()[0].Attributes())["error.type"])

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

// A client that a factory returns belongs to others, and is still theirs.
func TestAFactoryThatReturnsAnotherClientDoesNotCloseIt(t *testing.T) {
	others := start(t, &testkit.Stub{}, respawn.WithFactory(stubs().Make))
	rt := start(t, &testkit.Stub{}, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return others, nil }))
	require.ErrorContains(t, rt.Recreate(t.Context()), "a client of this package")
	require.NoError(t, rt.Close())
	assert.NotEqual(t, respawn.StateClosed, others.Health().State)
}

// A factory that ignores its context cannot collect goroutines without bound,
// and its late products are closed.
func TestFactoryThatNeverReturnsHoldsEightGoroutinesAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		release := make(chan struct{})
		var products []*testkit.Stub
		var mu sync.Mutex
		f := testkit.NewFactory(func(context.Context, int64) (http.RoundTripper, error) {
			<-release
			mu.Lock()
			defer mu.Unlock()
			products = append(products, &testkit.Stub{})
			return products[len(products)-1], nil
		})
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), respawn.WithFactory(f.Make), every(time.Second))...)
		for range 20 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		assert.EqualValues(t, 8, f.Calls.Load())
		assert.Equal(t, map[string]int{"connection_refused rejected": 20}, p.Outcomes())
		close(release)
		sweepsPass()
		mu.Lock()
		for _, s := range products {
			assert.NotZero(t, s.Closes.Load(), "a late product is closed")
		}
		mu.Unlock()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
	})
}
