package test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// Without a base the factory's transports are all there is: the first request has one
// built, those that come meanwhile wait for it, and nothing is told as an outage.
func TestTheFirstRequestHasTheFirstTransportBuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, tunnel := testkit.NewProbe(t), &testkit.Stub{}
		f := testkit.Builds(func() http.RoundTripper { time.Sleep(time.Second); return tunnel })
		rt := start(t, nil, append(observed(p), respawn.WithFactory(f.Make))...)
		time.Sleep(time.Hour)
		assert.Zero(t, f.Calls.Load(), "nobody asked")
		assert.Nil(t, rt.WrappedRoundTripper())
		h := rt.Health()
		assert.Zero(t, h.Generation)
		assert.Zero(t, h.Age)
		assert.Equal(t, respawn.StateHealthy, h.State)
		assert.NoError(t, rt.Check(t.Context()))
		rt.CloseIdleConnections()

		begin := time.Now()
		var wg sync.WaitGroup
		for i := range 20 {
			method := []string{http.MethodGet, http.MethodPost}[i%2]
			wg.Go(func() {
				_, err := testkit.Do(rt, request(t.Context(), method, "http://a.test/", strings.NewReader(payload)))
				assert.NoError(t, err)
				assert.Equal(t, time.Second, time.Since(begin))
			})
		}
		wg.Wait()
		synctest.Wait()
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.EqualValues(t, 20, tunnel.Calls.Load())
		assert.Same(t, tunnel, rt.WrappedRoundTripper())
		h = rt.Health()
		assert.EqualValues(t, 1, h.Generation)
		assert.Equal(t, respawn.StateHealthy, h.State)
		assert.Nil(t, h.LastFailure)
		assert.Equal(t, map[string]int{"start promoted": 1}, p.Outcomes())
		assert.Empty(t, p.Warnings(), "a start pages nobody")
		assert.Empty(t, p.Logged("tripped"))
		record := rt.Recreations()[0]
		assert.Equal(t, respawn.TriggerStart, record.Trigger)
		assert.EqualValues(t, 1, record.Generation)
		assert.Zero(t, record.Outage)
	})
}

// A factory that fails is heard by those who asked, and asked again at the backoff's
// pace; nothing is sent around it, and no caller's body is left open.
func TestAFactoryThatFailsAtTheStartIsTheCallersError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, tunnel := testkit.NewProbe(t), &testkit.Stub{}
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call < 3 {
				return nil, errFactory
			}
			return tunnel, nil
		})
		rt := start(t, nil, append(observed(p), respawn.WithFactory(f.Make), every(time.Second))...)
		for n := range 2 {
			for range 5 {
				body := &countedBody{Reader: strings.NewReader(payload)}
				_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", body))
				require.ErrorIs(t, err, errFactory)
				assert.ErrorContains(t, err, "there is no transport yet")
				assert.EqualValues(t, 1, body.closes)
			}
			assert.EqualValues(t, n+1, f.Calls.Load(), "the rest is inside the backoff")
			assert.Equal(t, respawn.StateFailing, rt.Health().State)
			assert.ErrorContains(t, rt.Check(t.Context()), "factory_error")
			time.Sleep(time.Second)
			assert.Equal(t, respawn.StateRecovering, rt.Health().State, "the next request may try")
		}
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, map[string]int{"start rejected": 2, "start promoted": 1}, p.Outcomes())
		assert.Equal(t, respawn.StateHealthy, rt.Health().State)
		assert.Len(t, p.Warnings(), 2)
	})
}

// Who has left hears so, as it would on a transport, whatever else is wrong.
func TestWhoHasLeftIsNotToldThatThereIsNoTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.NewFactory(func(context.Context, int64) (http.RoundTripper, error) { return nil, errFactory })
		rt := start(t, nil, respawn.WithFactory(f.Make), every(time.Second))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, errFactory)
		ctx, leave := context.WithCancelCause(t.Context())
		leave(errOwn)
		_, err = rt.RoundTrip(request(ctx, http.MethodGet, "http://a.test/", nil))
		assert.Equal(t, errOwn, err)
	})
}

var errOwn = errors.New("the caller's own")

type countedBody struct {
	*strings.Reader
	closes int
}

func (b *countedBody) Close() error { b.closes++; return nil }

// A build that is called off has not failed: nobody is told of a cancellation that is not its own.
func TestWhoseFirstBuildIsCalledOffIsNotToldThatItWasCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, nil, respawn.WithFactory(func(ctx context.Context) (http.RoundTripper, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		failed := make(chan error)
		go func() {
			_, err := get(t.Context(), rt, "http://a.test/")
			failed <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, rt.Recreate(ctx), context.DeadlineExceeded) // it took the place of the request's build
		err := <-failed
		assert.ErrorContains(t, err, "there is no transport yet")
		assert.NotErrorIs(t, err, context.Canceled)
	})
}

// Recreate and Middleware build the first transport, too, and a request that waits for
// ready outlasts a factory that fails.
func TestWhatElseHasTheFirstTransportBuilt(t *testing.T) {
	for name, ask := range map[string]func(t *testing.T, rt *respawn.RecoveringRoundTripper){
		"Recreate": func(t *testing.T, rt *respawn.RecoveringRoundTripper) { require.NoError(t, rt.Recreate(t.Context())) },
		"Middleware": func(t *testing.T, rt *respawn.RecoveringRoundTripper) {
			serveOnce(t, respawn.Middleware(rt)(http.NotFoundHandler()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
				rt := start(t, nil, respawn.WithFactory(f.Make), respawn.WithMaxAge(time.Hour))
				ask(t, rt)
				synctest.Wait()
				assert.EqualValues(t, 1, rt.Health().Generation)
				assert.EqualValues(t, 1, f.Calls.Load())
				time.Sleep(70 * time.Minute)
				assert.EqualValues(t, 2, rt.Health().Generation, "its age counts from its promotion")
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				return nil, errFactory
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, nil, respawn.WithFactory(f.Make), every(time.Second), respawn.WithWaitForReady(time.Minute))
		_, err := get(t.Context(), rt, "http://a.test/")
		assert.NoError(t, err)
	})
}

// Close and Shutdown before the first build end all that waits for it, and what the
// factory gives too late is closed.
func TestCloseBeforeTheFirstTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := start(t, nil, respawn.WithFactory(fresh))
		require.NoError(t, idle.Shutdown(t.Context()))
		_, err := get(t.Context(), idle, "http://a.test/")
		assert.ErrorIs(t, err, respawn.ErrClosed)
		assert.Nil(t, idle.WrappedRoundTripper())
		assert.Equal(t, respawn.StateClosed, idle.Health().State)

		late := &testkit.Stub{}
		rt := start(t, nil, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { time.Sleep(time.Second); return late }).Make))
		answer := make(chan error)
		go func() {
			_, err := get(t.Context(), rt, "http://a.test/")
			answer <- err
		}()
		synctest.Wait()
		require.NoError(t, rt.Close())
		assert.ErrorIs(t, <-answer, respawn.ErrClosed)
		time.Sleep(time.Minute)
		assert.EqualValues(t, 1, late.Closes.Load())
		assert.Zero(t, late.Calls.Load())
	})
}

// The end of the first transport within its first minute is news, as of any other.
func TestAStartIsNoSwapForNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last *testkit.SessionStub
		f := testkit.Builds(func() http.RoundTripper { last = &testkit.SessionStub{}; return last })
		p := testkit.NewProbe(t)
		rt := start(t, nil, append(observed(p), respawn.WithFactory(f.Make), every(time.Second))...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		last.End(errors.New("ended"))
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		synctest.Wait()
		assert.EqualValues(t, 2, rt.Health().Generation)
		assert.Equal(t, map[string]int{"start promoted": 1, "transport_ended promoted": 1}, p.Outcomes())
	})
}
