package test

import (
	"context"
	"io"
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
)

// staysSilent is a transport that never answers: a request waits until its context ends.
// begun is told of each, and may be nil.
func staysSilent(begun func(*http.Request)) http.RoundTripper {
	return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		if begun != nil {
			begun(req)
		}
		<-req.Context().Done()
		testkit.CloseBody(req)
		return nil, context.Cause(req.Context())
	})
}

// answersAfter answers once d has passed, unless the request ends before.
func answersAfter(d time.Duration) http.RoundTripper { return &testkit.Stub{Delay: d} }

// stallsFor lets one GET run into a deadline of that length.
func stallsFor(t *testing.T, rt http.RoundTripper, url string, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	_, err := get(ctx, rt, url)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// In the silent row the control is the transport in service: after its head start
// a copy is sent on the candidate. The caller gets the copy's answer at once, and
// the candidate is promoted only when the control has been silent for twice as long
// as the copy took, and for 100 ms after the copy's answer.
func TestACopyAnswersItsCallerAtOnceAndTheControlsSilencePromotesLater(t *testing.T) {
	for name, tt := range map[string]struct{ deadline, copy, answered, promoted time.Duration }{
		"a quick copy: 100 ms after its answer":           {time.Hour, 10 * time.Millisecond, 1010 * time.Millisecond, 1110 * time.Millisecond},
		"a slow one: the control waits twice as long":     {time.Hour, 5 * time.Second, 6 * time.Second, 10 * time.Second},
		"a slow one, whose control has waited longer":     {time.Hour, 1050 * time.Millisecond, 2050 * time.Millisecond, 2150 * time.Millisecond},
		"a head start of a quarter of what there is left": {2 * time.Second, 10 * time.Millisecond, 510 * time.Millisecond, 610 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var inService atomic.Int64
				base := staysSilent(func(*http.Request) { inService.Add(1) })
				f := testkit.Builds(func() http.RoundTripper { return answersAfter(tt.copy) })
				rt := start(t, base, respawn.WithFactory(f.Make), respawn.WithStallThreshold(1, 0))
				stallsFor(t, rt, "http://a.test/", time.Second)
				require.EqualValues(t, 1, inService.Load())

				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				begin := time.Now()
				status, err := get(ctx, rt, "http://a.test/")
				require.NoError(t, err)
				assert.Equal(t, 200, status)
				assert.Equal(t, tt.answered, time.Since(begin))
				assert.EqualValues(t, 1, rt.Health().Generation, "not yet")
				assert.EqualValues(t, 2, inService.Load(), "the control was asked once")
				assert.EqualValues(t, 1, f.Calls.Load())

				time.Sleep(tt.promoted - tt.answered - 1)
				synctest.Wait()
				assert.EqualValues(t, 1, rt.Health().Generation)
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				assert.EqualValues(t, 2, rt.Health().Generation)
				assert.Zero(t, rt.Health().InFlight, "the control was called back")
				assert.Empty(t, rt.Health().Streaks, "the copy was the outage's first answer")
			})
		})
	}
}

// A control that is answered between the copy's answer and the verdict was not
// dead: one event has answered both, or the upstream is slow. Nothing is promoted.
func TestAControlAnsweredBeforeTheVerdictPromotesNothing(t *testing.T) {
	for name, late := range map[string]time.Duration{"right after it": 1, "at the last moment": 100*time.Millisecond - 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testkit.NewProbe(t)
				const copyTakes = 10 * time.Millisecond
				var well atomic.Bool
				base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					if !well.Load() {
						return staysSilent(nil).RoundTrip(req)
					}
					return answersAfter(time.Second + copyTakes + late).RoundTrip(req)
				})
				candidate := &testkit.Stub{Delay: copyTakes}
				rt := start(t, base, append(observed(p), respawn.WithStallThreshold(1, 0),
					respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return candidate }).Make))...)
				stallsFor(t, rt, "http://a.test/", time.Second)
				well.Store(true)
				begin := time.Now()
				_, err := get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				assert.Equal(t, time.Second+copyTakes, time.Since(begin), "whoever was first")
				time.Sleep(time.Minute)
				synctest.Wait()
				assert.EqualValues(t, 1, rt.Health().Generation)
				assert.Empty(t, rt.Health().Streaks, "an answer in service ends the outage")
				assert.EqualValues(t, 1, candidate.Calls.Load())
				assert.EqualValues(t, 1, candidate.Closes.Load())
				assert.Zero(t, rt.Health().InFlight)
				assert.Equal(t, map[string]int{"stall rejected": 1}, p.Outcomes())
				kinds := []string{"upstream_slow"}
				if late == 0 {
					kinds = append(kinds, "current_recovered") // it is chance whether the copy was first
				}
				assert.Contains(t, kinds, testkit.Attributes(p.Recreations()[0].Attributes())["error.type"])
			})
		})
	}
}

// One stall trips where one is asked for, and no measure of speed is needed for the
// trial that follows.
func TestOneStallTripsWhereOneIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, staysSilent(nil), respawn.WithFactory(stubs().Make), respawn.WithStallThreshold(1, 0))
		stallsFor(t, rt, "http://a.test/", 5*time.Second)
		require.True(t, rt.Health().Streaks[0].Tripped)
		begin := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(begin))
		time.Sleep(time.Second)
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// dialsFor is a RoundTripper that waits for a connection, as net/http's does: nothing
// of its requests is sent before it goes on with next, after d.
func dialsFor(d time.Duration, next http.RoundTripper) http.RoundTripper {
	return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		trace := httptrace.ContextClientTrace(req.Context())
		if trace != nil && trace.GetConn != nil {
			trace.GetConn(req.URL.Host + ":80") // as net/http names what it dials
		}
		select {
		case <-time.After(d):
		case <-req.Context().Done():
			testkit.CloseBody(req)
			return nil, context.Cause(req.Context())
		}
		if trace != nil && trace.GotConn != nil {
			trace.GotConn(httptrace.GotConnInfo{})
		}
		return next.RoundTrip(req)
	})
}

// A trial on a candidate whose dial hangs is recalled unsent when its control, the
// transport in service, has answered somebody: it is served there, whether its
// caller has 25 s left or no deadline.
func TestATrialThatWasNotSentIsRecalledWhenItsControlIsAnswered(t *testing.T) {
	for name, limit := range map[string]time.Duration{"25 s left": 25 * time.Second, "no deadline": 0} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(method+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := testkit.NewProbe(t)
					base := testkit.Dead(testkit.Refused())
					var tried atomic.Int64
					f := testkit.Builds(func() http.RoundTripper {
						return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
							tried.Add(1)
							return dialsFor(time.Hour, &testkit.Stub{}).RoundTrip(req)
						})
					})
					rt := start(t, base, append(observed(p), respawn.WithFactory(f.Make))...)
					ctx := t.Context()
					if limit > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, limit)
						defer cancel()
					}
					begin := time.Now()
					var wg sync.WaitGroup
					wg.Go(func() {
						var sent io.Reader
						if method == http.MethodPost {
							sent = strings.NewReader("once")
						}
						resp, err := rt.RoundTrip(request(ctx, method, "http://a.test/", sent))
						if assert.NoError(t, err) {
							echoed, err := io.ReadAll(resp.Body)
							assert.NoError(t, err)
							assert.NoError(t, resp.Body.Close())
							if sent != nil {
								assert.Equal(t, "once", string(echoed))
							}
						}
						assert.Equal(t, 3*time.Second, time.Since(begin))
					})
					time.Sleep(3 * time.Second)
					require.EqualValues(t, 1, tried.Load())
					base.Fail(nil)
					_, err := get(t.Context(), rt, "http://a.test/")
					require.NoError(t, err)
					wg.Wait()
					synctest.Wait()
					assert.EqualValues(t, 1, rt.Health().Generation)
					assert.Zero(t, rt.Health().InFlight)
					assert.Equal(t, map[string]int{"connection_refused rejected": 1}, p.Outcomes())
					assert.Equal(t, "current_recovered", testkit.Attributes(p.Recreations()[0].Attributes())["error.type"])
				})
			})
		}
	}
}

// Nobody else need come: at the verdict, too, what was not sent goes on in service.
func TestATrialThatWasNotSentGoesOnInServiceAtItsVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := testkit.Dead(testkit.Refused())
		f := testkit.Builds(func() http.RoundTripper { return dialsFor(time.Hour, &testkit.Stub{}) })
		rt := start(t, base, respawn.WithFactory(f.Make))
		time.AfterFunc(3*time.Second, func() { base.Fail(nil) })
		begin := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, 10*time.Second, time.Since(begin))
		assert.EqualValues(t, 1, rt.Health().Generation)
	})
}

// A planned candidate is proven by a copy, while the transport in service answers
// the caller, who may have gone by then. A copy is not made for speed, but one that
// is faster is not kept from the caller either.
func TestAPlannedCandidateIsProvenByACopyWhileTheCallerIsAnsweredInService(t *testing.T) {
	for name, tt := range map[string]struct {
		inService, onCandidate, swapped time.Duration
		answeredBy                      string
	}{
		"the candidate is slower": {time.Second, 3 * time.Second, 3 * time.Second, "service"},
		"the candidate is faster": {3 * time.Second, time.Second, time.Second, "candidate"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testkit.NewProbe(t)
				answerBy := func(who string, d time.Duration) http.RoundTripper {
					return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
						resp, err := answersAfter(d).RoundTrip(req)
						if err == nil {
							resp.Header.Set("By", who)
						}
						return resp, err
					})
				}
				rt := start(t, answerBy("service", tt.inService), append(observed(p),
					respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return answerBy("candidate", tt.onCandidate) }).Make))...)
				var wg sync.WaitGroup
				wg.Go(func() { _, err := get(t.Context(), rt, "http://busy.test/"); assert.NoError(t, err) })
				synctest.Wait()
				begin := time.Now()
				wg.Go(func() {
					assert.NoError(t, rt.Recreate(t.Context()))
					assert.Equal(t, tt.swapped, time.Since(begin))
				})
				synctest.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				resp, err := rt.RoundTrip(request(ctx, http.MethodGet, "http://a.test/", nil))
				require.NoError(t, err)
				assert.Equal(t, tt.answeredBy, resp.Header.Get("By"))
				assert.Equal(t, min(tt.inService, tt.onCandidate), time.Since(begin))
				require.NoError(t, resp.Body.Close())
				cancel()
				wg.Wait()
				synctest.Wait()
				assert.EqualValues(t, 2, rt.Health().Generation)
				assert.Zero(t, rt.Health().InFlight)
				assert.Equal(t, map[string]int{"manual promoted": 1}, p.Outcomes())
			})
		})
	}
}

// A copy ends when its caller leaves unanswered: that is no verdict, and the next
// one is copied on the same candidate.
func TestACopyEndsWithTheCallerWhoLeavesUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var copies, gone atomic.Int64
		f := testkit.Builds(func() http.RoundTripper {
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				copies.Add(1)
				resp, err := answersAfter(4 * time.Second).RoundTrip(req)
				if err != nil {
					gone.Add(1)
				}
				return resp, err
			})
		})
		rt := start(t, staysSilent(nil), respawn.WithFactory(f.Make), respawn.WithStallThreshold(1, 0))
		stallsFor(t, rt, "http://a.test/", time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(1200*time.Millisecond, cancel) // the copy had less than a quarter of that
		_, err := get(ctx, rt, "http://a.test/")
		require.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		require.EqualValues(t, 1, copies.Load())
		assert.EqualValues(t, 1, gone.Load())
		assert.Zero(t, rt.Health().InFlight)
		assert.True(t, rt.Health().Recreating, "the candidate waits for the next one")

		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		time.Sleep(time.Minute)
		assert.EqualValues(t, 2, rt.Health().Generation)
		assert.EqualValues(t, 1, f.Calls.Load())
	})
}

// A request is its caller's again once it has its answer and has closed the body.
// What goes on without it, a copy or a control, does not look at it any more.
func TestWhatGoesOnWithoutItsCallerLeavesItsRequestAlone(t *testing.T) {
	for _, who := range []string{"copy", "control"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := make(chan string, 1)
				late := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					if req.URL.Host != "a.test" {
						return staysSilent(nil).RoundTrip(req)
					}
					time.Sleep(2 * time.Second) // dials, say: then it writes the request
					seen <- req.Method + req.URL.Path + req.Header.Get("X")
					return testkit.Answer(req)
				})
				base, candidate := http.RoundTripper(late), http.RoundTripper(&testkit.Stub{})
				if who == "copy" {
					candidate = late
					base = testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
						if req.URL.Host == "busy.test" {
							return staysSilent(nil).RoundTrip(req)
						}
						return testkit.Answer(req)
					})
				}
				rt := start(t, base, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return candidate }).Make))
				go func() { _, _ = get(t.Context(), rt, "http://busy.test/") }()
				synctest.Wait()
				go func() { _ = rt.Recreate(t.Context()) }()
				synctest.Wait()
				req := request(t.Context(), http.MethodGet, "http://a.test/1", nil)
				req.Header.Set("X", "1")
				resp, err := rt.RoundTrip(req)
				require.NoError(t, err)
				assert.Same(t, req, resp.Request)
				require.NoError(t, resp.Body.Close())
				req.Method, req.URL.Path = http.MethodHead, "/2"
				req.Header.Set("X", "2")
				assert.Equal(t, "GET/11", <-seen)
			})
		})
	}
}
