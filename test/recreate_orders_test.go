package test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
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

// wellAfter builds transports that are well, and takes d for each.
func wellAfter(d time.Duration) *testkit.Factory {
	return testkit.Builds(func() http.RoundTripper { time.Sleep(d); return &testkit.Stub{} })
}

// Recreate does not wait for a candidate that nobody is left to try.
func TestRecreateEndsACandidateThatNobodyTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, allDown(), append(observed(p), respawn.WithFactory(wellAfter(time.Second).Make))...)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := get(ctx, rt, "http://a.test/")
		require.Error(t, err)
		time.Sleep(time.Minute)
		began := time.Now()
		require.NoError(t, rt.Recreate(t.Context()))
		assert.Equal(t, time.Second, time.Since(began), "its own build")
		synctest.Wait()
		assert.Equal(t, map[string]int{"connection_refused rejected": 1, "manual promoted": 1}, p.Outcomes())
	})
}

// A factory's own deadline is everybody's answer, not a reason to call it again.
func TestRecreatesThatJoinShareAFactorysTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.NewFactory(func(ctx context.Context, _ int64) (http.RoundTripper, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second) // the factory's own dial timeout
			defer cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		})
		rt := start(t, &testkit.Stub{}, respawn.WithFactory(f.Make))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { assert.ErrorIs(t, rt.Recreate(t.Context()), context.DeadlineExceeded) })
		}
		wg.Wait()
		assert.EqualValues(t, 1, f.Calls.Load(), "twenty at once make one")
	})
}

// The cause for which one Recreate was given up is no error of another.
func TestARecreateThatJoinedGoesOnWhateverTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := wellAfter(time.Second)
		rt := start(t, &testkit.Stub{}, respawn.WithFactory(f.Make))
		again := errors.New("config reloaded again")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { assert.ErrorIs(t, rt.Recreate(ctx), again) })
		synctest.Wait()
		wg.Go(func() { assert.NoError(t, rt.Recreate(t.Context())) })
		synctest.Wait()
		cancel(again)
		wg.Wait()
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// Recreates that come one after another while a candidate waits for its proof get
// a transport that is newer than their call: they share the next one.
func TestLaterRecreatesShareTheNextTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
		rt := start(t, &testkit.Stub{Delay: time.Minute}, respawn.WithFactory(f.Make))
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(t.Context(), rt, "http://a.test/") })
		synctest.Wait()
		for range 20 {
			wg.Go(func() { assert.NoError(t, rt.Recreate(t.Context())) })
			time.Sleep(time.Millisecond)
		}
		require.EqualValues(t, 1, f.Calls.Load())
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		wg.Wait()
		assert.EqualValues(t, 2, f.Calls.Load())
		assert.EqualValues(t, 3, rt.Health().Generation)
	})
}

// A Recreate that ends with its context, at the very moment of the promotion, says
// whether it swapped.
func TestRecreateSaysWhatBecameOfIt(t *testing.T) {
	wrong := map[string]int{}
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			rt := start(t, &testkit.Stub{}, respawn.WithFactory(wellAfter(time.Second).Make))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := rt.Recreate(ctx)
			synctest.Wait()
			switch swapped := rt.Health().Generation == 2; {
			case err != nil && swapped:
				wrong["swapped, and an error"]++
			case err == nil && !swapped:
				wrong["no error, and not swapped"]++
			}
		})
	}
	assert.Empty(t, wrong)
}

// An authority tries a planned candidate once, and not while it is suspected
// itself: what the candidate fails, the transport in service answers.
func TestAPlannedCandidateIsTriedOnceByAnAuthority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		open := make(chan struct{})
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			switch {
			case req.URL.Path == "/stream":
				<-open
			case fail.Load():
				testkit.CloseBody(req)
				return nil, testkit.ConnReset()
			}
			return testkit.Answer(req)
		})
		tried := testkit.Dead(testkit.Refused())
		rt := start(t, base, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return tried }).Make))
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(t.Context(), rt, "http://b.test/stream") }) // in flight
		synctest.Wait()
		fail.Store(true)
		_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", strings.NewReader("x"))) // one failure: suspicion
		require.Error(t, err)
		fail.Store(false)
		wg.Go(func() { assert.Error(t, rt.Recreate(t.Context()), "it was tried in vain") })
		synctest.Wait()
		for i, want := range []int64{0, 1, 1, 1} {
			_, err = get(t.Context(), rt, "http://a.test/")
			assert.NoError(t, err, "the transport in service serves it")
			synctest.Wait()
			assert.Equal(t, want, tried.Calls.Load(), "request %d", i)
		}
		time.Sleep(10 * time.Second)
		close(open)
		wg.Wait()
		assert.EqualValues(t, 1, rt.Health().Generation)
	})
}

// A typo in one URL says nothing about a planned candidate.
func TestARequestsOwnFaultRejectsNoPlannedCandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(15 * time.Second) }))
		rt := start(t, n.HTTP1())
		var wg sync.WaitGroup
		wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/"); assert.NoError(t, err) })
		synctest.Wait()
		began := time.Now()
		wg.Go(func() {
			assert.NoError(t, rt.Recreate(t.Context()), "a typo in somebody's URL is no proof against the candidate")
			assert.Equal(t, 10*time.Second, time.Since(began), "nobody has tried it in vain")
		})
		synctest.Wait()
		_, err := get(t.Context(), rt, "http://tpyo.test/")
		assert.Error(t, err)
		wg.Wait()
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// Nothing that a transport says of its answers, or of names, counts against it once it is in service.
// So it must not get there over one that answers.
func TestWhatCanReadNoAnswerIsNotPromotedOverWhatCan(t *testing.T) {
	for name, err := range map[string]error{
		"no answer that can be read": errors.New("malformed HTTP response \"\\x15\\x03\""),
		"no such host":               &net.DNSError{Err: "no such host", Name: "a.test", IsNotFound: true},
		"no such protocol":           errors.New("unsupported protocol scheme \"http+unix\""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := busy(t, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return testkit.Dead(err) }).Make))
				var wg sync.WaitGroup
				wg.Go(func() { assert.Error(t, rt.Recreate(t.Context())) })
				for range 12 {
					time.Sleep(time.Second)
					_, err := get(t.Context(), rt, "http://a.test/")
					assert.NoError(t, err)
				}
				wg.Wait()
				assert.EqualValues(t, 1, rt.Health().Generation)
			})
		})
	}
}

// silentDials is a transport that dials for ever, and tells that it does.
func silentDials() http.RoundTripper {
	return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		if tr := httptrace.ContextClientTrace(req.Context()); tr != nil && tr.GetConn != nil {
			tr.GetConn(req.URL.Host + ":80")
		}
		<-req.Context().Done()
		testkit.CloseBody(req)
		return nil, context.Cause(req.Context())
	})
}

// A late try that was in vain does not leave Recreate without an end, and costs its
// caller nothing.
func TestRecreateReturnsAfterALateTryInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := busy(t, respawn.WithFactory(testkit.Builds(silentDials).Make))
		var wg sync.WaitGroup
		began := time.Now()
		wg.Go(func() {
			assert.Error(t, rt.Recreate(t.Context()))
			assert.Equal(t, 10*time.Second, time.Since(began))
		})
		time.Sleep(9 * time.Second)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, 9*time.Second, time.Since(began))
		wg.Wait()
		assert.EqualValues(t, 1, rt.Health().Generation)
	})
}
