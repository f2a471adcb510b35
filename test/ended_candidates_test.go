package test

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

var errSessionClosed = errors.New("session closed")

// An inbound request whose transport has ended is not held by a build whose caller
// has left: the middleware waits for nothing, and what the handler sends waits for
// the build alone.
func TestMiddlewareWaitsForNoBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		f := testkit.Builds(func() http.RoundTripper { time.Sleep(2 * time.Second); return &testkit.SessionStub{} })
		rt := start(t, base, respawn.WithFactory(f.Make))
		base.End(errSessionClosed)

		// An outbound request whose caller gives up while the factory is at work.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := get(ctx, rt, "http://a.test/")
		require.ErrorIs(t, err, context.DeadlineExceeded)

		entered := time.Duration(-1)
		h := respawn.Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			entered = time.Since(began)
			c, ok := respawn.ClientFromContext(r.Context())
			require.True(t, ok)
			resp, err := c.Get("http://a.test/")
			if assert.NoError(t, err) {
				resp.Body.Close()
			}
		}))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		assert.Equal(t, time.Second, entered)
		assert.Equal(t, 2*time.Second, time.Since(began))
		assert.EqualValues(t, 1, f.Calls.Load())
	})
}

// The middleware, too, promotes nothing that has ended: it starts a build.
func TestMiddlewarePromotesNoCandidateThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, first := &testkit.SessionStub{}, &testkit.SessionStub{}
		base.Fail(testkit.Refused())
		f := testkit.NewFactory(func(_ context.Context, n int64) (http.RoundTripper, error) {
			time.Sleep(time.Second)
			if n == 1 {
				return first, nil
			}
			return &testkit.SessionStub{}, nil
		})
		rt := start(t, base, respawn.WithThreshold(1), every(time.Second), respawn.WithFactory(f.Make))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err := get(ctx, rt, "http://a.test/") // asks for a candidate, and is gone when it comes
		require.Error(t, err)
		cancel()
		time.Sleep(time.Minute)
		require.True(t, rt.Health().Recreating, "it waits to be tried")
		base.End(errSessionClosed)
		first.End(errSessionClosed)
		began := time.Now()
		respawn.Middleware(rt)(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		assert.Zero(t, time.Since(began))
		assert.EqualValues(t, 1, rt.Health().Generation, "an ended candidate is not promoted")
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 2, rt.Health().Generation)
		assert.NotSame(t, first, rt.WrappedRoundTripper())
	})
}

// A planned candidate that ends before it is tried is not tried, and not promoted.
func TestACandidateThatHasEndedIsNotTriedOrPromoted(t *testing.T) {
	shortLived := func(made *atomic.Pointer[testkit.SessionStub]) *testkit.Factory {
		return testkit.Builds(func() http.RoundTripper {
			s := &testkit.SessionStub{}
			made.Store(s)
			time.AfterFunc(time.Second, func() { s.End(errSessionClosed) })
			return s
		})
	}
	for name, method := range map[string]string{"a copy": http.MethodGet, "tried first": http.MethodPost} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var made atomic.Pointer[testkit.SessionStub]
				f := shortLived(&made)
				rt := busy(t, respawn.WithFactory(f.Make), respawn.WithMaxAge(time.Minute), oldAt(time.Minute))
				time.Sleep(66 * time.Second) // past half of WithRecreateTimeout, too
				require.NotNil(t, made.Load())
				for range 3 {
					_, err := testkit.Do(rt, request(t.Context(), method, "http://a.test/", strings.NewReader("")))
					assert.NoError(t, err, "the candidate said that it had ended; the transport in service is well")
					synctest.Wait()
				}
				assert.Zero(t, made.Load().Calls.Load())
				assert.EqualValues(t, 1, rt.Health().Generation)
			})
		})
	}
	t.Run("nobody comes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var made atomic.Pointer[testkit.SessionStub]
			rt := busy(t, respawn.WithFactory(shortLived(&made).Make), respawn.WithMaxAge(time.Minute), oldAt(time.Minute))
			time.Sleep(80 * time.Second)
			require.NotNil(t, made.Load())
			assert.EqualValues(t, 1, rt.Health().Generation, "no swap of a transport that is well for an ended one")
			assert.EqualValues(t, "transport_ended", rt.Health().LastRejection.Reason)
		})
	})
}

// Stalled and then ended: what follows need not be faster than what is dead.
func TestWhatEndedAfterStallsIsReplacedByASlowOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		base.Delay = time.Hour
		slow := func() http.RoundTripper {
			s := &testkit.SessionStub{}
			s.Delay = 3 * time.Second
			return s
		}
		rt := start(t, base, respawn.WithFactory(testkit.Builds(slow).Make))
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := get(ctx, rt, "http://a.test/")
			require.Error(t, err)
			cancel()
		}
		base.End(errSessionClosed)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.EqualValues(t, 2, rt.Health().Generation, "base is dead for good")
	})
}

// A candidate whose Err takes its time may say that it has ended when the control of
// the copy that was to be sent has failed: nothing is awaited that was never sent.
func TestACopyThatIsNotSentKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			_, err := answersAfter(3 * time.Second).RoundTrip(req)
			return nil, cmp.Or(err, error(syscall.ECONNRESET))
		})
		rt := start(t, base, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &endsSlowly{} }).Make),
			respawn.WithStallThreshold(1, 0), every(time.Hour))
		stallsFor(t, rt, "http://a.test/", time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { _, err := get(ctx, rt, "http://a.test/"); done <- err }()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Len(t, done, 1, "the caller has its answer")
		assert.ErrorIs(t, <-done, syscall.ECONNRESET)
		assert.Zero(t, rt.Health().InFlight)
	})
}

// A copy that is not sent, since the candidate's Err has ended its goroutine, leaves its caller where
// it is: the next copy may be sent.
func TestACopyWhoseErrDoesNotReturnIsNotTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fresh := &exitsOnce{}
		rt := start(t, staysSilent(nil), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return fresh }).Make),
			respawn.WithStallThreshold(1, 0), every(time.Hour))
		stallsFor(t, rt, "http://a.test/", time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		_, err := get(ctx, rt, "http://a.test/")
		require.NoError(t, err)
		assert.Less(t, time.Since(begin), 10*time.Second)
		assert.Greater(t, fresh.asked.Load(), int64(2), "its second Err has ended the copy")
	})
}

// An exitsOnce is well when it is built. Its next Err does not return.
type exitsOnce struct {
	testkit.Stub
	asked atomic.Int64
}

func (e *exitsOnce) Err() error {
	if e.asked.Add(1) == 2 {
		runtime.Goexit()
	}
	return nil
}

// An endsSlowly is well when it is built, and takes 5 s to say that it is not.
type endsSlowly struct {
	testkit.Stub
	asked atomic.Bool
}

func (e *endsSlowly) Err() error {
	if !e.asked.Swap(true) {
		return nil
	}
	time.Sleep(5 * time.Second)
	return errSessionClosed
}

// What a promotion calls back has no error of its own. Where the promoted one has
// ended by then, and no other may be built yet, it is sent there all the same.
func TestWhatIsCalledBackToATransportThatHasEndedHasAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fresh := &testkit.SessionStub{Stub: testkit.Stub{Delay: 100 * time.Millisecond}}
		rt := start(t, staysSilent(nil), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return fresh }).Make),
			respawn.WithStallThreshold(1, 0), every(time.Hour))
		stallsFor(t, rt, "http://a.test/", time.Second)
		go func() { _, _ = get(t.Context(), rt, "http://a.test/copied") }()
		time.Sleep(500 * time.Millisecond)
		done := make(chan error, 1)
		go func() {
			resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/waits", nil))
			assert.False(t, resp == nil && err == nil)
			done <- err
		}()
		for rt.Health().Generation == 1 {
			time.Sleep(time.Millisecond)
		}
		fresh.End(errSessionClosed)
		assert.ErrorIs(t, <-done, errSessionClosed)
	})
}
