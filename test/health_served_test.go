package test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// oneDead refuses what goes to dead.test, and answers all else.
func oneDead(req *http.Request) (*http.Response, error) {
	if req.URL.Host == "dead.test" {
		return unsent(req)
	}
	return testkit.Answer(req)
}

// probes asks for d once a second, and counts the answers by their status.
func probes(t *testing.T, d time.Duration, rt *respawn.RecoveringRoundTripper, ask func()) (codes, states map[string]int) {
	codes, states = map[string]int{}, map[string]int{}
	for i := range int(10 * d / time.Second) {
		ask()
		time.Sleep(100 * time.Millisecond)
		if i%10 == 5 {
			w := probeHealth(t, http.MethodGet, rt)
			codes[http.StatusText(w.Code)]++
			states[healthPage(t, w).Status]++
		}
	}
	return codes, states
}

// One dead host beside well ones is no reason to take the process out of service,
// whatever the factory does.
func TestOneDeadHostBesideAWellOneIsAWarning(t *testing.T) {
	for name, patient := range map[string]bool{"whose callers are patient": true, "whose callers have deadlines": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := start(t, testkit.RoundTripperFunc(oneDead), respawn.WithFactory(fails))
				served := 0
				codes, states := probes(t, 10*time.Minute, rt, func() {
					_, err := get(t.Context(), rt, "http://dead.test/")
					require.Error(t, err)
					ctx := t.Context()
					if !patient {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, time.Second)
						defer cancel()
					}
					if _, err := get(ctx, rt, "http://well.test/"); err == nil {
						served++
					}
				})
				assert.Equal(t, 6000, served)
				assert.Equal(t, map[string]int{"OK": 600}, codes)
				assert.Equal(t, map[string]int{"warn": 600}, states)
			})
		})
	}
}

// Nor is one that a fallback serves; nor a transport that has ended, if that is served.
func TestAFallbackThatServesIsAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fallback := &testkit.Stub{}
		rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithFactory(fails), respawn.WithFallback(fallback))
		ask := func() { _, _ = get(t.Context(), rt, "http://a.test/") }
		codes, _ := probes(t, time.Minute, rt, ask)
		assert.Equal(t, map[string]int{"OK": 60}, codes)
		assert.Positive(t, fallback.Calls.Load())
	})
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		rt := start(t, base, respawn.WithFactory(fails), respawn.WithFallback(&testkit.Stub{}))
		require.NoError(t, rt.Check(t.Context()))
		base.End(errSessionClosed)
		ask := func() { _, _ = get(t.Context(), rt, "http://a.test/") }
		codes, _ := probes(t, time.Minute, rt, ask)
		assert.Equal(t, map[string]int{"OK": 60}, codes)
	})
}

// A fallback that nobody has asked yet may serve. If probes, which come through the middleware
// and so have the successor built, kept the traffic away, nobody would find out.
func TestAFallbackThatNobodyHasAskedIsAWarning(t *testing.T) {
	for name, base := range map[string]http.RoundTripper{"ended": &testkit.SessionStub{}, "none yet": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fallback := &testkit.Stub{}
				rt := start(t, base, respawn.WithFactory(fails), respawn.WithFallback(fallback), every(time.Minute))
				if s, ok := base.(*testkit.SessionStub); ok {
					s.End(errSessionClosed)
				}
				probe := func() int { return serveOnce(t, respawn.Middleware(rt)(respawn.HealthHandler(rt))).Code }
				for range 10 {
					assert.Equal(t, http.StatusOK, probe())
					time.Sleep(time.Second)
				}
				require.Equal(t, 1, rt.Health().Rejections, "none can be built")
				fallback.Fail(testkit.Refused())
				_, err := get(t.Context(), rt, "http://a.test/")
				require.Error(t, err)
				assert.Equal(t, http.StatusServiceUnavailable, probe(), "it does not serve, either")
			})
		})
	}
}

// The same where the transport ends at once, so that no successor is due yet.
func TestAFallbackServesWhileNoSuccessorIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, next := &testkit.SessionStub{}, &testkit.SessionStub{}
		rt := start(t, base, every(time.Minute), respawn.WithFallback(&testkit.Stub{}),
			respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return next, nil }))
		base.End(errSessionClosed)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.EqualValues(t, 2, rt.Health().Generation)
		next.End(errSessionClosed)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err, "by the fallback")
		h := rt.Health()
		assert.NotZero(t, h.NextAttempt)
		assert.Equal(t, respawn.StateRecovering, h.State)
	})
}

// Where nobody is answered the client fails, also if one was answered whose request
// began before all was dead, and if there is a fallback that is dead as well.
func TestWhereNobodyIsAnsweredItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := testkit.Dead(testkit.Refused())
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "slow.test" {
				time.Sleep(2 * time.Second)
				return testkit.Answer(req)
			}
			return dead.RoundTrip(req)
		})
		rt := start(t, base, respawn.WithFactory(fails), every(time.Minute), respawn.WithFallback(dead))
		answered := make(chan error)
		go func() {
			_, err := get(t.Context(), rt, "http://slow.test/")
			answered <- err
		}()
		synctest.Wait()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		assert.Equal(t, respawn.StateFailing, rt.Health().State)
		require.NoError(t, <-answered)
		assert.Equal(t, respawn.StateFailing, rt.Health().State, "that began before the first failure")
		go func() {
			_, err := get(t.Context(), rt, "http://slow.test/")
			answered <- err
		}()
		require.NoError(t, <-answered)
		assert.Equal(t, respawn.StateRecovering, rt.Health().State, "and this one after it")

		for range 3 { // another one is dead, and nobody was answered since
			_, err := get(t.Context(), rt, "http://b.test/")
			require.Error(t, err)
		}
		assert.Equal(t, respawn.StateFailing, rt.Health().State)
	})
}

// What counts is the transport in service now: who was answered before the swap does
// not vouch for the one after it.
func TestAnswersOfATransportThatWasReplacedDoNotVouchForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := testkit.RoundTripperFunc(testkit.Answer)
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call > 1 {
				return nil, errFactory
			}
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) { return next(req) }), nil
		})
		rt := start(t, testkit.RoundTripperFunc(oneDead), respawn.WithFactory(f.Make), every(time.Second))
		_, err := get(t.Context(), rt, "http://other.test/")
		require.NoError(t, err)
		_, err = get(t.Context(), rt, "http://dead.test/")
		require.NoError(t, err, "by the fresh one")
		require.EqualValues(t, 2, rt.Health().Generation)
		time.Sleep(time.Second)
		next = unsent
		_, err = get(t.Context(), rt, "http://dead.test/")
		require.Error(t, err)
		h := rt.Health()
		assert.Equal(t, respawn.ErrorTypeFactoryError, h.LastRejection.Reason)
		assert.Equal(t, respawn.StateFailing, h.State)
	})
}

// The next attempt is told while something waits for it.
func TestHealthTellsTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := testkit.Dead(testkit.Refused())
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			time.Sleep(2 * time.Second)
			if call > 1 {
				return &testkit.Stub{}, nil
			}
			return nil, io.ErrUnexpectedEOF
		})
		rt := start(t, base, respawn.WithFactory(f.Make), every(10*time.Second))
		begin := time.Now()
		assert.Zero(t, rt.Health().NextAttempt)
		go func() { _, _ = get(t.Context(), rt, "http://a.test/") }()
		synctest.Wait()
		assert.Zero(t, rt.Health().NextAttempt, "it is under way")
		time.Sleep(3 * time.Second)
		assert.Equal(t, begin.Add(12*time.Second), rt.Health().NextAttempt)
		r := rt.Health().LastRejection
		assert.Equal(t, respawn.RejectionHealth{Time: begin.Add(2 * time.Second), Authority: "http://a.test:80", Reason: "factory_connection_closed"}, *r)
		time.Sleep(9 * time.Second)
		assert.Zero(t, rt.Health().NextAttempt, "the next request makes it")
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Zero(t, rt.Health().NextAttempt, "all is well, though no other may be built for a while")
	})
}
