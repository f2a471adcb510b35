package test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// asked is a transport whose Err can be made to wait, to find out what happens while
// a factory's product is looked at: it has been returned, and is not yet known.
type asked struct {
	testkit.Stub
	waits chan struct{} // nil: Err returns at once
	once  sync.Once
	seen  chan struct{} // closed when Err is asked
}

func newAsked() *asked { return &asked{waits: make(chan struct{}), seen: make(chan struct{})} }

func (a *asked) Err() error {
	a.once.Do(func() { close(a.seen) })
	<-a.waits
	return nil
}

// A Recreate or a client that is called off while the factory returns stays called
// off: what was built is closed, and neither promoted nor kept.
func TestWhatIsCalledOffWhileTheFactoryReturnsIsNeverPromoted(t *testing.T) {
	for name, callOff := range map[string]func(*respawn.RecoveringRoundTripper, context.CancelFunc){
		"Recreate's context": func(_ *respawn.RecoveringRoundTripper, cancel context.CancelFunc) { cancel() },
		"Close":              func(rt *respawn.RecoveringRoundTripper, _ context.CancelFunc) { _ = rt.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testkit.NewProbe(t)
				base, product := &testkit.Stub{}, newAsked()
				rt := start(t, base, append(observed(p), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return product }).Make))...)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- rt.Recreate(ctx) }()
				<-product.seen
				callOff(rt, cancel)
				require.Error(t, <-done)
				close(product.waits)
				sweepsPass()
				assert.Same(t, base, rt.WrappedRoundTripper())
				assert.EqualValues(t, 1, product.Closes.Load())
				assert.Zero(t, product.Calls.Load())
				assert.False(t, rt.Health().Recreating)
				assert.Len(t, p.Recreations(), 1)
			})
		})
	}
}

// The same where both happen at one instant, in whatever order the scheduler takes
// them, with something in flight and without: it was promoted and Recreate says so,
// or it is gone.
func TestWhatIsCalledOffAsTheFactoryReturnsIsPromotedOrGone(t *testing.T) {
	for _, how := range []string{"Recreate's context", "Close"} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, busy %t", how, busy), func(t *testing.T) {
				seen := map[bool]int{}
				for range 300 {
					synctest.Test(t, func(t *testing.T) {
						base, product := &testkit.Stub{}, &testkit.Stub{}
						var rt *respawn.RecoveringRoundTripper
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						both := make(chan struct{})
						rt = start(t, base, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
							<-both
							return product, nil
						}))
						if busy {
							resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
							require.NoError(t, err)
							defer resp.Body.Close()
						}
						done := make(chan error, 1)
						go func() { done <- rt.Recreate(ctx) }()
						synctest.Wait()
						go func() {
							<-both
							if how == "Close" {
								_ = rt.Close()
							} else {
								cancel()
							}
						}()
						synctest.Wait()
						close(both)
						err := <-done
						synctest.Wait()
						swapped := rt.WrappedRoundTripper() == http.RoundTripper(product)
						seen[swapped]++
						assert.Equal(t, swapped, err == nil)
						assert.False(t, rt.Health().Recreating)
						sweepsPass()
						gone := !swapped || how == "Close"
						assert.Equal(t, gone, product.Closes.Load() == 1, "swapped %t: closed %d times", swapped, product.Closes.Load())
						assert.Zero(t, product.Calls.Load())
					})
				}
				if busy {
					assert.Zero(t, seen[true], "nobody has proved it")
				}
				t.Logf("promoted %d times of 300", seen[true])
			})
		}
	}
}

// What a user's function can do to the machinery costs one call: the gate works
// afterwards, and it is not asked in a frenzy.
func TestFaultsOfCallbacksCostOneCall(t *testing.T) {
	closed := start(t, &testkit.Stub{}, respawn.WithFactory(stubs().Make))
	require.NoError(t, closed.Close())
	ofClosed := closed.Recreate(t.Context())
	require.ErrorIs(t, ofClosed, respawn.ErrClosed)
	first := func(fault func() (http.RoundTripper, error)) *testkit.Factory {
		return testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				return fault()
			}
			return &testkit.Stub{}, nil
		})
	}
	for name, tt := range map[string]struct {
		kind    string
		factory *testkit.Factory
	}{
		"the factory returns ErrClosed": {"factory_error", first(func() (http.RoundTripper, error) { return nil, respawn.ErrClosed })},
		"the factory wraps what Recreate of a closed client returned": {
			"factory_error", first(func() (http.RoundTripper, error) { return nil, fmt.Errorf("no tunnel: %w", ofClosed) }),
		},
		"the factory returns context.Canceled": {"factory_error", first(func() (http.RoundTripper, error) { return nil, context.Canceled })},
		"the factory calls Goexit":             {"factory_exited", first(func() (http.RoundTripper, error) { runtime.Goexit(); return nil, nil })},
		"the product's Err calls Goexit": {"factory_exited", first(func() (http.RoundTripper, error) {
			return exitsOnErr{}, nil
		})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testkit.NewProbe(t)
				broken := testkit.Refused()
				base := testkit.Dead(broken)
				rt := start(t, base, append(observed(p), every(time.Second), respawn.WithFactory(tt.factory.Make))...)
				begin := time.Now()
				_, err := get(t.Context(), rt, "http://a.test/")
				require.Same(t, broken, err, "callers get their own error")
				assert.Zero(t, time.Since(begin))
				synctest.Wait()
				require.Len(t, p.Recreations(), 1)
				assert.Equal(t, tt.kind, testkit.Attributes(p.Recreations()[0].Attributes())["error.type"])
				calls := tt.factory.Calls.Load()
				for range 9 {
					time.Sleep(100 * time.Millisecond)
					_, err := get(t.Context(), rt, "http://a.test/")
					require.Same(t, broken, err)
				}
				assert.Equal(t, calls, tt.factory.Calls.Load(), "not before the interval is over")
				time.Sleep(100 * time.Millisecond)
				_, err = get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				assert.EqualValues(t, 2, rt.Health().Generation)
				assert.Zero(t, rt.Health().InFlight)
			})
		})
	}
}

// A policy that ends the goroutine it is asked in is overruled: nobody's request is
// lost to it, and the interval is a second.
func TestAPolicyThatCallsGoexitIsOverruled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.Builds(func() http.RoundTripper { return testkit.Dead(testkit.Refused()) })
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithFactory(f.Make), respawn.WithBackOff(func() backoff.BackOff {
			return nextBackOff(func() time.Duration { runtime.Goexit(); return 0 })
		}))
		for range 100 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			time.Sleep(100 * time.Millisecond)
		}
		assert.EqualValues(t, 10, f.Calls.Load())
		assert.Zero(t, rt.Health().InFlight)
	})
}

// nextBackOff is a policy made of a function.
type nextBackOff func() time.Duration

func (f nextBackOff) NextBackOff() time.Duration { return f() }
func (f nextBackOff) Reset()                     {}

// exitsOnErr is a transport that cannot be asked whether it has ended.
type exitsOnErr struct{ testkit.RoundTripperFunc }

func (exitsOnErr) Err() error { runtime.Goexit(); return nil }

// A product whose Err panics has not said that it has ended, so that it is as good
// as any.
func TestAProductWhoseErrPanicsIsPutInService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.Builds(func() http.RoundTripper { return &panicsOnce{} })
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithFactory(f.Make))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.EqualValues(t, 2, rt.Health().Generation)
		assert.EqualValues(t, 1, f.Calls.Load())
	})
}

// A transport in service whose Err panics once costs one call at most.
func TestErrThatPanicsOnceCostsOneCallAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &panicsOnce{}
		f := stubs()
		rt := start(t, base, respawn.WithFactory(f.Make))
		func() {
			defer func() { _ = recover() }()
			_, _ = get(t.Context(), rt, "http://a.test/")
		}()
		require.True(t, base.panicked.Load())
		for range 3 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
		}
		assert.Zero(t, rt.Health().InFlight)
		base.End(errors.New("ended"))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

type panicsOnce struct {
	testkit.SessionStub
	panicked atomic.Bool
}

func (e *panicsOnce) Err() error {
	if !e.panicked.Swap(true) {
		panic("oops")
	}
	return e.SessionStub.Err()
}
