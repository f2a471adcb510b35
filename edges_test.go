package respawn

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
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
)

// The corners of the gate: who may be left waiting, what a verdict costs whom,
// and what must not run under the lock.

// within fails instead of hanging.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Errorf("%s: still hanging after %v", what, d)
	}
}

func doubling() Option {
	return WithBackOff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0), backoff.WithMaxInterval(30*time.Second), backoff.WithMaxElapsedTime(0))
	})
}

// rwc is what a wrapper around respawn may put into resp.Body.
type rwc struct{ io.ReadWriteCloser }

// selfish is a context that asks for Health whenever it is looked at.
type selfish struct {
	context.Context
	rt *RecoveringRoundTripper
}

func (s selfish) Value(k any) any { s.rt.Health(); return s.Context.Value(k) }

// A candidate that nobody is left to try must not hold inbound requests.
func TestMiddlewareTakesAParkedCandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &sessionStub{}
		f := builds(func() http.RoundTripper { time.Sleep(2 * time.Second); return &sessionStub{} })
		rt := start(t, base, WithFactory(f.make))
		base.end(errors.New("session closed"))

		// an outbound request whose caller gives up while the factory is at work
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := get(ctx, rt, "http://a.test/")
		require.Error(t, err)

		h := Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, _ := ClientFromContext(r.Context())
			resp, err := c.Get("http://a.test/")
			if err == nil {
				resp.Body.Close()
			}
		}))
		ictx, icancel := context.WithCancel(t.Context())
		defer icancel()
		within(t, time.Hour, "an inbound request", func() {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ictx, "GET", "/", nil))
		})
		icancel()
		synctest.Wait()
	})
}

// Nor one that was handed back by a caller who left.
func TestMiddlewareTakesACandidateHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &sessionStub{}
		f := builds(func() http.RoundTripper {
			time.Sleep(2 * time.Second)
			s := &sessionStub{}
			s.delay = 3 * time.Second
			return s
		})
		rt := start(t, base, WithFactory(f.make))
		base.end(errors.New("session closed"))
		ictx, icancel := context.WithCancel(t.Context())
		defer icancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			within(t, time.Hour, "replaceEnded", func() { rt.replaceEnded(ictx) })
			icancel()
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // gives up on trial, 2 s into it
		defer cancel()
		_, err := get(ctx, rt, "http://a.test/")
		require.Error(t, err)
		wg.Wait()
	})
}

// A candidate whose authority is never asked for again is in nobody's way.
func TestParkedCandidateGivesWayToMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "a.test" {
				return nil, refused()
			}
			return answer(req)
		})
		f := builds(func() http.RoundTripper { time.Sleep(time.Second); return &stub{} })
		rt := start(t, base, WithFactory(f.make), WithMaxAge(10*time.Minute))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := get(ctx, rt, "http://a.test/") // and nobody asks for a.test again
		require.Error(t, err)
		for range 24 * 60 {
			_, err := get(t.Context(), rt, "http://b.test/")
			require.NoError(t, err)
			time.Sleep(time.Minute)
		}
		assert.Greater(t, rt.Health().Generation, uint64(1), "a day later max age has swapped")
		assert.False(t, rt.Health().Recreating)
		assert.False(t, rt.alert.Load(), "healthy path")
	})
}

// Recreate does not wait for a candidate that is parked after it was called.
func TestRecreateSupersedesAParkedCandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := builds(func() http.RoundTripper { time.Sleep(time.Second); return &stub{} })
		rt := start(t, dead(refused()), WithFactory(f.make))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := get(ctx, rt, "http://a.test/")
		require.Error(t, err)
		rctx, rcancel := context.WithCancel(t.Context())
		within(t, time.Hour, "Recreate", func() { _ = rt.Recreate(rctx) })
		rcancel()
		synctest.Wait()
	})
}

// A factory's own deadline is everybody's answer, not a reason to call it again.
func TestJoinedRecreatesShareAFactorysTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{build: func(_ int64, ctx context.Context) (http.RoundTripper, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second) // the factory's own dial timeout
			defer cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		rt := start(t, &stub{}, WithFactory(f.make))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { assert.Error(t, rt.Recreate(t.Context())) })
		}
		wg.Wait()
		assert.EqualValues(t, 1, f.calls.Load(), "twenty at once make one")
	})
}

// The cause for which one Recreate was given up is no error of another.
func TestJoinedRecreateGoesOnWhateverTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := builds(func() http.RoundTripper { time.Sleep(time.Second); return &stub{} })
		rt := start(t, &stub{}, WithFactory(f.make))
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { assert.Error(t, rt.Recreate(ctx)) })
		synctest.Wait()
		wg.Go(func() { assert.NoError(t, rt.Recreate(t.Context())) })
		synctest.Wait()
		cancel(errors.New("config reloaded again"))
		wg.Wait()
	})
}

// After hourly Recreates the first recreation of an outage is still at once.
func TestPlannedPromotionsDoNotUseUpTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var cur *stub
		f := builds(func() http.RoundTripper { mu.Lock(); defer mu.Unlock(); cur = &stub{}; return cur })
		rt := start(t, &stub{}, WithFactory(f.make), doubling())
		for range 10 { // certificates rotated once an hour; perfectly healthy
			time.Sleep(time.Hour)
			require.NoError(t, rt.Recreate(t.Context()))
		}
		time.Sleep(5 * time.Second)
		mu.Lock()
		err := error(refused())
		cur.err.Store(&err)
		mu.Unlock()
		begin := time.Now()
		for {
			if _, err := get(t.Context(), rt, "http://a.test/"); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		assert.Less(t, time.Since(begin), 2*time.Second, "the previous generations were healthy for an hour each")
	})
}

// A planned candidate that failed one request is not tried again by the same one.
func TestPlannedTrialIsNotRetaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		gate := make(chan struct{})
		base := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/stream" {
				<-gate
				return answer(req)
			}
			if fail.Load() {
				return nil, syscall.ECONNRESET
			}
			return answer(req)
		})
		tried := dead(refused())
		rt := start(t, base, WithFactory(builds(func() http.RoundTripper { return tried }).make))
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(t.Context(), rt, "http://b.test/stream") }) // in flight
		synctest.Wait()
		fail.Store(true)
		_, err := do(rt, mustRequest(t.Context(), "POST", "http://a.test/", strings.NewReader("x"))) // one failure: suspicion
		require.Error(t, err)
		fail.Store(false)
		rctx, rcancel := context.WithCancel(t.Context())
		wg.Go(func() { _ = rt.Recreate(rctx) })
		synctest.Wait()
		_, err = get(t.Context(), rt, "http://a.test/")
		assert.NoError(t, err, "the current transport could serve it")
		assert.EqualValues(t, 1, tried.calls.Load(), "one trial")
		rcancel()
		close(gate)
		wg.Wait()
	})
}

// A typo in one URL says nothing about a planned candidate.
func TestRequestsFaultRejectsNoCandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { time.Sleep(5 * time.Second) }))
		rt := start(t, n.h1())
		var wg sync.WaitGroup
		wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/"); assert.NoError(t, err) })
		synctest.Wait()
		wg.Go(func() {
			assert.NoError(t, rt.Recreate(t.Context()), "a typo in somebody's URL is no proof against the candidate")
		})
		synctest.Wait()
		_, err := get(t.Context(), rt, "http://tpyo.test/")
		assert.Error(t, err)
		wg.Wait()
		time.Sleep(time.Minute)
	})
}

// Late failures and a slow policy do not race.
func TestFailuresWhilePolicyIsAsked(t *testing.T) {
	var calls atomic.Int64
	late := make(chan struct{})
	base := rtFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/late" {
			<-late
		}
		return nil, refused()
	})
	rt := start(t, base, WithThreshold(1), WithReplay(ReplayUnsent), WithFactory(builds(func() http.RoundTripper { return dead(refused()) }).make),
		WithBackOff(func() backoff.BackOff {
			if calls.Add(1) > 1 {
				time.Sleep(200 * time.Millisecond) // reads its configuration, say
			}
			return backoff.NewConstantBackOff(time.Hour)
		}))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { _, _ = get(context.Background(), rt, "http://a.test/late") })
	}
	time.Sleep(50 * time.Millisecond)
	wg.Go(func() { _, _ = get(context.Background(), rt, "http://a.test/") })
	time.Sleep(100 * time.Millisecond) // the trial is rejected, settle is asking the policy
	close(late)
	wg.Wait()
}

// The caller may replace resp.Body while the drain limit cuts what was in it.
func TestDrainLimitLeavesTheResponseAlone(t *testing.T) {
	base := rtFunc(func(req *http.Request) (*http.Response, error) {
		pr, pw := io.Pipe()
		return &http.Response{StatusCode: 101, Header: http.Header{}, Request: req, Body: struct {
			io.Reader
			io.Writer
			io.Closer
		}{pr, pw, pr}}, nil
	})
	rt := start(t, base, WithDrainTimeout(50*time.Millisecond), WithRecreateTimeout(20*time.Millisecond), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
	resp, err := rt.RoundTrip(mustRequest(context.Background(), "GET", "http://a.test/", nil))
	require.NoError(t, err)
	go func() { _ = rt.Recreate(context.Background()) }()
	for range 200 { // as otelhttp, http.Client and others do: once is enough for a race
		resp.Body = rwc{resp.Body.(io.ReadWriteCloser)}
		time.Sleep(time.Millisecond)
	}
	resp.Body.Close()
}

// An outage that the fallback serves is as long as it is.
func TestOutageServedByFallbackIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		base := dead(syscall.ECONNRESET)
		var back atomic.Bool
		f := &factory{build: func(int64, context.Context) (http.RoundTripper, error) {
			if back.Load() {
				return &stub{}, nil
			}
			return nil, errors.New("no route")
		}}
		rt := start(t, base, append(p.options(), WithFallback(&stub{}), every(30*time.Second), WithFactory(f.make))...)
		lost := 0
		begin := time.Now()
		for time.Since(begin) < 3*time.Hour {
			req := mustRequest(t.Context(), "POST", "http://a.test/", strings.NewReader("x"))
			if _, err := do(rt, req); err != nil {
				lost++
			}
			time.Sleep(10 * time.Second)
		}
		back.Store(true)
		for range 10 {
			_, _ = get(t.Context(), rt, "http://a.test/")
			time.Sleep(10 * time.Second)
		}
		assert.Equal(t, 3, lost, "the threshold, and then the fallback serves")
		recs := p.logged("recovered")
		require.Len(t, recs, 1)
		assert.InDelta(t, 3*3600, recs[0].attrs["respawn.outage.duration"], 60)
	})
}

// What fails at once does not wait out another authority's stall trial.
func TestOthersDoNotWaitForAStallTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mk := func() http.RoundTripper {
			return rtFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Host == "slow.test" {
					<-req.Context().Done()
					return nil, req.Context().Err()
				}
				return nil, refused()
			})
		}
		rt := start(t, mk(), WithFactory(builds(mk).make))
		slow := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, _ = get(ctx, rt, "http://slow.test/")
		}
		for range 3 {
			slow()
		}
		var wg sync.WaitGroup
		wg.Go(slow) // the trial
		synctest.Wait()
		begin := time.Now()
		_, err := get(t.Context(), rt, "http://down.test/")
		require.Error(t, err)
		assert.Less(t, time.Since(begin), time.Second, "down.test refuses at once")
		wg.Wait()
	})
}

// One failed dial does not turn a slow upstream into a reason to swap.
func TestOneFailureDoesNotWeakenTheStallProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refuse atomic.Bool
		mk := func() http.RoundTripper {
			return rtFunc(func(req *http.Request) (*http.Response, error) {
				tr := httptrace.ContextClientTrace(req.Context())
				if tr != nil {
					tr.GetConn("a.test:80")
				}
				if refuse.Load() {
					return nil, refused()
				}
				if tr != nil {
					tr.GotConn(httptrace.GotConnInfo{})
				}
				<-req.Context().Done() // slow upstream
				return nil, req.Context().Err()
			})
		}
		rt := start(t, mk(), WithFactory(builds(mk).make), every(10*time.Second))
		slow := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _ = get(ctx, rt, "http://a.test/")
		}
		for range 4 {
			slow() // trips at the third; the fourth is the trial: no faster
		}
		require.EqualValues(t, 1, rt.Health().Generation)
		require.EqualValues(t, 1, rt.Health().Rejections)
		refuse.Store(true)
		_, err := do(rt, mustRequest(t.Context(), "GET", "http://a.test/", nil)) // one failure, in the window
		require.Error(t, err)
		refuse.Store(false)
		time.Sleep(10 * time.Second)
		slow()
		assert.EqualValues(t, 1, rt.Health().Generation, "the upstream is slow: no swap")
	})
}

// A factory that ends its goroutine is a rejection, too.
func TestFactoryThatExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{build: func(n int64, _ context.Context) (http.RoundTripper, error) {
			if n == 1 {
				runtime.Goexit()
			}
			return &stub{}, nil
		}}
		rt := start(t, dead(refused()), WithFactory(f.make), every(time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		_, err := get(ctx, rt, "http://a.test/")
		require.Error(t, err)
		assert.Less(t, time.Since(begin), time.Minute)
		time.Sleep(time.Second)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
	})
}

// A protocol added by RegisterProtocol fires no hooks and sends all the same.
func TestAlternateProtocolsPostIsSentOnce(t *testing.T) {
	var processed atomic.Int64
	base := &http.Transport{}
	base.RegisterProtocol("http+unix", rtFunc(func(req *http.Request) (*http.Response, error) {
		_, _ = io.ReadAll(req.Body)
		processed.Add(1)
		closeBody(req)
		return nil, io.ErrUnexpectedEOF // the answer was lost
	}))
	rt := start(t, base)
	for i := range 2 {
		before := processed.Load()
		_, err := do(rt, mustRequest(t.Context(), "POST", "http+unix://docker/create", strings.NewReader("x")))
		require.Error(t, err)
		assert.EqualValues(t, 1, processed.Load()-before, "POST %d", i+1)
	}
}

// A base that fails over by itself may have sent before it looked for another connection.
func TestFailoverBasesPostIsSentOnce(t *testing.T) {
	var processed atomic.Int64
	base := rtFunc(func(req *http.Request) (*http.Response, error) {
		tr := httptrace.ContextClientTrace(req.Context())
		if tr == nil {
			tr = &httptrace.ClientTrace{GetConn: func(string) {}, GotConn: func(httptrace.GotConnInfo) {}}
		}
		tr.GetConn("one")
		tr.GotConn(httptrace.GotConnInfo{})
		processed.Add(1) // and the answer was lost
		tr.GetConn("two")
		closeBody(req)
		return nil, errors.New("no more servers")
	})
	rt := start(t, base, WithFactory(builds(func() http.RoundTripper { return base }).make))
	for i := range 2 {
		before := processed.Load()
		_, err := do(rt, mustRequest(t.Context(), "POST", "http://a.test/", strings.NewReader("x")))
		require.Error(t, err)
		assert.EqualValues(t, 1, processed.Load()-before, "POST %d", i+1)
	}
}

// A Recreate that was given up says nothing about the factory.
func TestCalledOffIsNotFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := dead(refused())
		rt := start(t, base, WithReplay(ReplayNever), WithFactory(func(ctx context.Context) (http.RoundTripper, error) {
			select {
			case <-time.After(time.Second):
				return dead(refused()), nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}))
		for range 3 {
			_, _ = get(t.Context(), rt, "http://a.test/")
		}
		require.Equal(t, StateRecovering, rt.Health().State)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.Error(t, rt.Recreate(ctx)) // the operator changed their mind
		synctest.Wait()
		assert.Equal(t, StateRecovering, rt.Health().State)
	})
}

// Readiness must not keep away the traffic that would replace an ended transport.
func TestFailingIsNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &sessionStub{}
		rt := start(t, base, WithFactory(builds(func() http.RoundTripper { return &sessionStub{} }).make))
		base.end(errors.New("idle timeout"))
		for range 1440 { // Kubernetes asks; no traffic comes while we are not ready
			if rt.Check(t.Context()) == nil {
				return
			}
			time.Sleep(time.Minute)
		}
		t.Error("not ready for a day, though the next request would have been served")
	})
}

// A candidate that ends before it is tried is not tried, and not promoted.
func TestCandidateThatEndsWhileParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &stub{}
		var made atomic.Int64
		rt := start(t, base, WithMaxAge(time.Minute), WithFactory(func(context.Context) (http.RoundTripper, error) {
			s := &sessionStub{}
			made.Add(1)
			time.AfterFunc(time.Second, func() { s.end(errors.New("http2: client connection is closed")) })
			return s, nil
		}))
		for made.Load() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		req := mustRequest(t.Context(), "POST", "http://a.test/", strings.NewReader("x"))
		_, err := do(rt, req)
		assert.NoError(t, err, "the candidate said it had ended; the current transport is well")
	})
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, &stub{}, WithMaxAge(time.Minute), WithFactory(func(context.Context) (http.RoundTripper, error) {
			s := &sessionStub{}
			time.AfterFunc(time.Second, func() { s.end(errors.New("http2: client connection is closed")) })
			return s, nil
		}))
		time.Sleep(80 * time.Second)
		assert.EqualValues(t, 1, rt.Health().Generation, "no swap of a healthy transport for an ended one")
	})
}

// Who takes another authority's candidate needs its own proof.
func TestTrialIsTheTakersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mk := func() http.RoundTripper {
			return rtFunc(func(req *http.Request) (*http.Response, error) {
				tr := httptrace.ContextClientTrace(req.Context())
				if tr != nil {
					tr.GetConn("")
				}
				if req.URL.Host == "down.test" {
					return nil, refused()
				}
				if tr != nil {
					tr.GotConn(httptrace.GotConnInfo{})
				}
				<-req.Context().Done()
				return nil, req.Context().Err()
			})
		}
		rt := start(t, mk(), WithFactory(builds(func() http.RoundTripper { time.Sleep(100 * time.Millisecond); return mk() }).make))
		slow := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _ = get(ctx, rt, "http://slow.test/")
		}
		for range 3 {
			slow()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, _ = get(ctx, rt, "http://down.test/") // trips, asks for a candidate, leaves
		time.Sleep(time.Second)
		slow()
		assert.EqualValues(t, 1, rt.Health().Generation, "one upstream is down, the other slow: no swap")
	})
}

// The caller's context is code, which may ask for Health.
func TestNoCallerCodeUnderTheLock(t *testing.T) {
	rt := start(t, dead(refused()), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
	within(t, time.Second, "RoundTrip", func() {
		_, _ = get(selfish{context.Background(), rt}, rt, "http://a.test/")
	})
}

// A policy that panics must not shut the gate.
func TestBackOffThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		rt := start(t, dead(refused()), WithFactory(builds(func() http.RoundTripper { return dead(refused()) }).make),
			WithBackOff(func() backoff.BackOff {
				if n.Add(1) == 2 {
					panic("config not loaded")
				}
				return backoff.NewConstantBackOff(time.Second)
			}))
		func() {
			defer func() { _ = recover() }()
			_, _ = get(t.Context(), rt, "http://a.test/")
		}()
		time.Sleep(time.Hour)
		assert.False(t, rt.Health().Recreating, "the gate is free again")
	})
}

// Nor do Recreates that were given up.
func TestCalledOffRecreateDoesNotHoldBackRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &stub{}
		var slow atomic.Bool
		slow.Store(true)
		f := builds(func() http.RoundTripper {
			if slow.Load() {
				time.Sleep(time.Second)
			}
			return &stub{}
		})
		rt := start(t, base, WithFactory(f.make), doubling())
		for range 6 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			require.Error(t, rt.Recreate(ctx))
			cancel()
			time.Sleep(time.Second)
		}
		slow.Store(false)
		err := error(refused())
		base.err.Store(&err)
		begin := time.Now()
		for {
			if _, err := get(t.Context(), rt, "http://a.test/"); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		assert.Less(t, time.Since(begin), 2*time.Second, "the first recreation of an outage is at once")
	})
}

// Stalled and then ended: a candidate need not be faster than what is dead.
func TestEndedAfterStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &sessionStub{}
		base.delay = time.Hour
		rt := start(t, base, WithFactory(builds(func() http.RoundTripper { s := &sessionStub{}; s.delay = 3 * time.Second; return s }).make))
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _ = get(ctx, rt, "http://a.test/")
			cancel()
		}
		base.end(errors.New("session closed"))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.EqualValues(t, 2, rt.Health().Generation, "base is dead for good, the candidate answers")
	})
}

// Recreates that come one after another while a candidate waits for its trial.
func TestLaterRecreatesJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &stub{delay: time.Minute}
		f := builds(func() http.RoundTripper { return &stub{} })
		rt := start(t, base, WithFactory(f.make))
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(t.Context(), rt, "http://a.test/") })
		synctest.Wait()
		var failed atomic.Int64
		for range 20 {
			wg.Go(func() {
				if err := rt.Recreate(t.Context()); err != nil {
					failed.Add(1)
				}
			})
			time.Sleep(time.Millisecond)
		}
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		wg.Wait()
		assert.Zero(t, failed.Load(), "all of them got a transport newer than their call")
	})
}

// A Recreate that ends with its context says whether it swapped.
func TestRecreateSaysWhatBecameOfIt(t *testing.T) {
	wrong := 0
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			rt := start(t, &stub{}, WithFactory(func(context.Context) (http.RoundTripper, error) { time.Sleep(time.Second); return &stub{}, nil }))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := rt.Recreate(ctx)
			synctest.Wait()
			if err != nil && rt.Health().Generation == 2 {
				wrong++
			}
		})
	}
	assert.Zero(t, wrong)
}

// Few requests, each gone before the factory is done, and again before the dial
// is: the candidate waits for them, or such a client would never recover.
func TestFewAndImpatientCallersRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.serve("a.test:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		f := builds(func() http.RoundTripper {
			time.Sleep(300 * time.Millisecond)
			far := n.h1()
			far.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(150 * time.Millisecond)
				return n.dial(ctx, network, addr)
			}
			return far
		})
		rt := start(t, dead(refused()), WithFactory(f.make))
		answered := 0
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if _, err := get(ctx, rt, "http://a.test/"); err == nil {
				answered++
			}
			cancel()
			time.Sleep(time.Minute)
		}
		assert.EqualValues(t, 1, f.calls.Load())
		assert.EqualValues(t, 2, rt.Health().Generation)
		assert.GreaterOrEqual(t, answered, 7)
		rt.CloseIdleConnections()
	})
}

// hole is a transport that dials for ever.
func hole() rtFunc {
	return func(req *http.Request) (*http.Response, error) {
		if tr := httptrace.ContextClientTrace(req.Context()); tr != nil && tr.GetConn != nil {
			tr.GetConn("")
		}
		<-req.Context().Done()
		closeBody(req)
		return nil, context.Cause(req.Context())
	}
}

// A late trial that was given up does not leave Recreate without an end.
func TestRecreateReturnsAfterALateTrialWasGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := builds(func() http.RoundTripper { return hole() })
		rt := start(t, &stub{}, WithFactory(f.make))
		stream, err := rt.RoundTrip(mustRequest(t.Context(), "GET", "http://a.test/", nil)) // keeps it busy
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- rt.Recreate(context.Background()) }()
		time.Sleep(9 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err = get(ctx, rt, "http://a.test/")
		require.Error(t, err)
		time.Sleep(time.Minute)
		select {
		case err := <-done:
			assert.Error(t, err)
		default:
			t.Error("Recreate still hangs after more than a minute")
		}
		stream.Body.Close()
	})
}

// A planned candidate that gets no connection is not promoted over a transport
// that is well, however impatient its callers are.
func TestABlackHoleIsNotPromotedOverAHealthyTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := builds(func() http.RoundTripper { return hole() })
		late := func(c *config) error { c.Chance = func() float64 { return 1 }; return nil }
		rt := start(t, &stub{}, WithFactory(f.make), WithMaxAge(time.Minute), late)
		time.Sleep(67 * time.Second) // it was built a second ago
		for range 60 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			get(ctx, rt, "http://a.test/")
			cancel()
			time.Sleep(500 * time.Millisecond)
		}
		assert.EqualValues(t, 1, rt.Health().Generation)
	})
}

// A classifier that panics takes its caller down, and nobody else.
func TestClassifierThatPanicsOnATrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		n := 0
		f := builds(func() http.RoundTripper {
			if n++; n == 1 {
				return rtFunc(func(*http.Request) (*http.Response, error) { return nil, boom })
			}
			return &stub{}
		})
		rt := start(t, dead(refused()), WithFactory(f.make), WithThreshold(1), every(time.Second),
			WithClassifier(func(req *http.Request, err error) Verdict {
				if err == boom {
					panic("classifier")
				}
				return DefaultClassifier(req, err)
			}))
		assert.Panics(t, func() { _, _ = get(t.Context(), rt, "http://a.test/") })
		time.Sleep(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := get(ctx, rt, "http://a.test/")
		assert.NoError(t, err)
	})
}

// A hook of a trial that was handed on fires beside the next one's: no race.
func TestLateHookOfATrialThatWasHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		f := builds(func() http.RoundTripper {
			n := 0
			return rtFunc(func(req *http.Request) (*http.Response, error) {
				if n++; n == 1 {
					tr := httptrace.ContextClientTrace(req.Context())
					<-req.Context().Done()
					go func() { time.Sleep(50 * time.Millisecond); tr.GotFirstResponseByte(); close(slow) }()
					return nil, req.Context().Err()
				}
				time.Sleep(100 * time.Millisecond)
				return answer(req)
			})
		})
		rt := start(t, dead(refused()), WithFactory(f.make), WithThreshold(1))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		go func() {
			time.Sleep(10 * time.Millisecond)
			_, _ = get(t.Context(), rt, "http://b.test/")
		}()
		_, err := get(ctx, rt, "http://a.test/")
		assert.Error(t, err)
		<-slow
		time.Sleep(200 * time.Millisecond)
	})
}

// The middleware, too, promotes nothing that has ended.
func TestMiddlewarePromotesNoCandidateThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, first := &sessionStub{}, &sessionStub{}
		base.err.Store(new(error))
		*base.err.Load() = refused()
		n := 0
		rt := start(t, base, WithThreshold(1), every(time.Second), WithFactory(func(context.Context) (http.RoundTripper, error) {
			time.Sleep(time.Second)
			if n++; n == 1 {
				return first, nil
			}
			return &sessionStub{}, nil
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err := get(ctx, rt, "http://a.test/") // asks for a candidate, and is gone when it comes
		require.Error(t, err)
		cancel()
		time.Sleep(time.Minute)
		base.end(refused())
		first.end(refused())
		rt.replaceEnded(t.Context())
		assert.EqualValues(t, 1, rt.Health().Generation, "an ended candidate is not promoted")
	})
}

// stallOnce sends a request that nobody answers within d.
func stallOnce(t *testing.T, rt http.RoundTripper, url string, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	_, err := get(ctx, rt, url)
	require.Error(t, err)
}

// A stall trial holds the gate, but not for as long as the most patient caller
// would wait.
func TestStallTrialDoesNotHoldTheGateForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func() http.RoundTripper {
			return rtFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Host == "tunnel.test" {
					return nil, refused()
				}
				<-req.Context().Done()
				return nil, req.Context().Err()
			})
		}
		n := 0
		rt := start(t, silent(), every(time.Second), WithFactory(func(context.Context) (http.RoundTripper, error) {
			if n++; n > 1 {
				return &stub{}, nil
			}
			return silent(), nil
		}))
		for range 3 {
			stallOnce(t, rt, "http://slow.test/", time.Hour)
		}
		var wg sync.WaitGroup
		wg.Go(func() { stallOnce(t, rt, "http://slow.test/", time.Hour) }) // the trial
		synctest.Wait()
		begin := time.Now()
		for {
			if _, err := get(t.Context(), rt, "http://tunnel.test/"); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		assert.Less(t, time.Since(begin), 2*time.Minute)
		wg.Wait()
	})
}

// The answer to a request that was sent before the transport died says nothing
// about what is since: it calls no trial off.
func TestLateAnswerIsNoRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		base := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/sent-before" {
				time.Sleep(30 * time.Millisecond)
				return answer(req)
			}
			if down.Load() {
				return nil, refused()
			}
			return answer(req)
		})
		f := builds(func() http.RoundTripper { time.Sleep(50 * time.Millisecond); return &stub{} })
		rt := start(t, base, WithFactory(f.make))
		var wg sync.WaitGroup
		wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/sent-before"); assert.NoError(t, err) })
		synctest.Wait()
		down.Store(true)
		for range 300 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			time.Sleep(10 * time.Millisecond)
		}
		wg.Wait()
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}
