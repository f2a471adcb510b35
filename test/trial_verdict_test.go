package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// An upstream that accepts and resets gives everybody a connection. A swap would
// not help it, and would cost all others their warm connections.
func TestUpstreamThatResetsIsNoReasonToSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		a := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		}))
		b := n.Serve("b.test:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		p := testkit.NewProbe(t)
		rt := start(t, n.HTTP1(), append(observed(p), every(time.Second))...)
		for range 100 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.ErrorIs(t, err, io.EOF)
			_, err = get(t.Context(), rt, "http://b.test/")
			require.NoError(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		assert.EqualValues(t, 1, rt.Health().Generation)
		assert.Equal(t, map[string]int{"connection_closed rejected": 10}, p.Outcomes())
		assert.NotZero(t, a.Dials())
		assert.Equal(t, 1, b.Dials())
	})
}

// The caller who gives up does not take the recreation with it.
func TestCallerWhoGivesUpLeavesTheCandidateToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		f := testkit.Builds(func() http.RoundTripper { time.Sleep(300 * time.Millisecond); return &testkit.Stub{} })
		broken := testkit.Refused()
		rt := start(t, testkit.Dead(broken), append(observed(p), respawn.WithFactory(f.Make))...)
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
		assert.EqualValues(t, 1, f.Calls.Load())
		synctest.Wait()
		assert.Equal(t, map[string]int{"connection_refused promoted": 1}, p.Outcomes())
	})
}

// A candidate that hangs has its verdict when its trial has had
// WithRecreateTimeout; whoever tried it unsent goes on in service.
func TestTrialThatHangsIsRefusedAfterRecreateTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				return &testkit.Stub{Delay: time.Hour}, nil
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), respawn.WithFactory(f.Make), every(time.Second))...)
		begin := time.Now()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.ErrorIs(t, err, syscall.ECONNREFUSED, "the transport in service answers for it")
				assert.Equal(t, 10*time.Second, time.Since(begin))
			})
		}
		wg.Wait()
		synctest.Wait()
		assert.Equal(t, map[string]int{"connection_refused rejected": 1}, p.Outcomes())
		assert.Equal(t, "trial_timeout", testkit.Attributes(p.Recreations()[0].Attributes())["error.type"])
		time.Sleep(2 * time.Second)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, map[string]int{"connection_refused rejected": 1, "connection_refused promoted": 1}, p.Outcomes())
	})
}

// getsConnection is a RoundTripper that gets a connection and then does what next does.
func getsConnection(next http.RoundTripper) http.RoundTripper {
	return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		trace := httptrace.ContextClientTrace(req.Context())
		if trace != nil && trace.GotConn != nil {
			trace.GotConn(httptrace.GotConnInfo{})
		}
		return next.RoundTrip(req)
	})
}

// A caller whose own body cannot be read says nothing about the candidate it was
// to try: the next one goes on with it.
func TestCallersOwnFaultIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.Builds(func() http.RoundTripper { return getsConnection(&testkit.Stub{}) })
		p := testkit.NewProbe(t)
		rt := start(t, getsConnection(testkit.Dead(syscall.ECONNRESET)),
			append(observed(p), respawn.WithFactory(f.Make), respawn.WithReplay(respawn.ReplayUnsent))...)
		for range 3 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
		}
		broken := errors.New("disk failure")
		_, err := rt.RoundTrip(request(t.Context(), http.MethodPost, "http://a.test/", io.NopCloser(iotest.ErrReader(broken))))
		require.Same(t, broken, err)
		assert.Zero(t, rt.Health().Rejections)
		require.True(t, rt.Health().Recreating)

		// What was sent may not go again here: the first tries the candidate, and the
		// next one is its control.
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.EqualValues(t, 1, rt.Health().Generation)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.Equal(t, syscall.ECONNRESET, err)
		assert.EqualValues(t, 2, rt.Health().Generation)
		assert.EqualValues(t, 1, f.Calls.Load(), "on the same candidate")
		synctest.Wait()
		assert.Equal(t, map[string]int{"connection_reset promoted": 1}, p.Outcomes())
	})
}

// A candidate may have no way to answer, and no error that says so: a clone lacks what
// RegisterProtocol added. What can be asked only once must not go there for ever, while the
// transport in service is well again.
func TestWhatACandidateAlwaysEndsNeutrallyIsAskedInService(t *testing.T) {
	for _, key := range []bool{false, true} {
		t.Run(fmt.Sprintf("key=%v", key), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				docker := testkit.Dead(errors.New("session shut down"))
				base := &http.Transport{}
				base.RegisterProtocol("http+unix", docker)
				rt := start(t, base)
				post := func() error {
					req := request(impatient(t), http.MethodPost, "http+unix://docker/create", strings.NewReader("x"))
					if key {
						req.Header.Set("Idempotency-Key", "1")
					}
					_, err := testkit.Do(rt, req)
					time.Sleep(500 * time.Millisecond)
					return err
				}
				for range 6 {
					require.Error(t, post())
				}
				docker.Fail(nil)
				lost := 0
				for range 60 {
					if post() != nil {
						lost++
					}
				}
				assert.LessOrEqual(t, lost, 1)
				assert.EqualValues(t, 1, rt.Health().Generation)
				assert.Equal(t, respawn.StateHealthy, rt.Health().State)
			})
		})
	}
}

// A recreation that was called off is no verdict: who waited for it asks for the
// next one at once.
func TestRecreationThatWasGivenUpIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.NewFactory(func(ctx context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithFactory(f.Make))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		var recreate sync.WaitGroup
		recreate.Go(func() { assert.ErrorIs(t, rt.Recreate(ctx), context.DeadlineExceeded) })
		synctest.Wait()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(begin))
		recreate.Wait()
	})
}
