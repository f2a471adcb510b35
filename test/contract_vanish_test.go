package test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
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

// A vanishing is how a RoundTrip ends that does not return.
type vanishing string

const (
	panics vanishing = "panics"
	exits  vanishing = "calls Goexit"
)

func (v vanishing) now() {
	if v == panics {
		panic("oops")
	}
	runtime.Goexit()
}

// RoundTrip vanishes, having closed the request's body.
func (v vanishing) RoundTrip(req *http.Request) (*http.Response, error) {
	testkit.CloseBody(req)
	v.now()
	return nil, nil
}

// ends sends a request whose RoundTrip has to end the goroutine that it is in, as
// the transport's does.
func (v vanishing) ends(t *testing.T, rt http.RoundTripper, req *http.Request) {
	t.Helper()
	returned, recovered := false, any(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { recovered = recover() }()
		_, _ = testkit.Do(rt, req)
		returned = true
	}()
	<-done
	require.False(t, returned, "the caller's goroutine ends as the transport's")
	if v == panics {
		assert.Equal(t, "oops", recovered, "with the transport's own value")
	} else {
		assert.Nil(t, recovered)
	}
}

// eachVanishing runs f for each way to vanish and kind of request.
func eachVanishing(t *testing.T, f func(t *testing.T, v vanishing, ask func(ctx context.Context) *http.Request)) {
	for _, v := range []vanishing{panics, exits} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(fmt.Sprintf("%s %s", method, v), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f(t, v, func(ctx context.Context) *http.Request { return request(ctx, method, "http://a.test/", nil) })
				})
			})
		}
	}
}

// A transport in service whose RoundTrip panics, or ends its goroutine, takes that
// caller down and nobody else: whose fault it was is not known.
func TestRoundTripThatVanishesInServiceCostsItsCallerAlone(t *testing.T) {
	eachVanishing(t, func(t *testing.T, v vanishing, ask func(context.Context) *http.Request) {
		var next atomic.Pointer[http.RoundTripper]
		become := func(rt http.RoundTripper) { next.Store(&rt) }
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) { return (*next.Load()).RoundTrip(req) })
		f := stubs()
		rt := start(t, base, respawn.WithFactory(f.Make), respawn.WithThreshold(2), respawn.WithReplay(respawn.ReplayUnsent))

		become(testkit.Dead(syscall.ECONNRESET))
		_, err := testkit.Do(rt, ask(t.Context()))
		require.Error(t, err, "off the healthy path from now on")
		before := rt.Health().Streaks
		become(v)
		for range 3 {
			v.ends(t, rt, ask(t.Context()))
		}
		assert.Zero(t, rt.Health().InFlight)
		assert.Equal(t, before, rt.Health().Streaks, "neither for nor against it")
		assert.Zero(t, f.Calls.Load())

		become(&testkit.Stub{})
		_, err = testkit.Do(rt, ask(t.Context()))
		require.NoError(t, err)
		assert.Empty(t, rt.Health().Streaks)
		assert.Zero(t, rt.Health().InFlight)

		become(testkit.Dead(testkit.Refused()))
		_, err = testkit.Do(rt, ask(t.Context()))
		require.NoError(t, err, "and the gate does what it has to")
		assert.EqualValues(t, 2, rt.Health().Generation)
		assert.Zero(t, rt.Health().Draining)
	})
}

// The same on a trial speaks against the candidate alone: it is rejected, and the
// next one is tried an interval later.
func TestRoundTripThatVanishesOnATrialIsARefusal(t *testing.T) {
	eachVanishing(t, func(t *testing.T, v vanishing, ask func(context.Context) *http.Request) {
		p := testkit.NewProbe(t)
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				return v, nil
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), respawn.WithFactory(f.Make), every(time.Second))...)
		v.ends(t, rt, ask(t.Context()))
		synctest.Wait()
		assert.Zero(t, rt.Health().InFlight)
		assert.Equal(t, map[string]int{"connection_refused rejected": 1}, p.Outcomes())
		assert.False(t, rt.Health().Recreating)

		time.Sleep(time.Second)
		_, err := testkit.Do(rt, ask(t.Context()))
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, map[string]int{"connection_refused rejected": 1, "connection_refused promoted": 1}, p.Outcomes())
		assert.Zero(t, rt.Health().InFlight)
		assert.Zero(t, rt.Health().Draining)
	})
}

// In a copy it costs nobody anything: the control goes on for the caller.
func TestRoundTripThatVanishesInACopyCostsNobodyAnything(t *testing.T) {
	for _, v := range []vanishing{panics, exits} {
		for name, late := range map[string]time.Duration{"at once": 0, "after its caller has its answer": 5 * time.Second} {
			t.Run(fmt.Sprintf("%s %s", v, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := testkit.NewProbe(t)
					base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
						if req.URL.Path == "/slow" {
							return answersAfter(3 * time.Second).RoundTrip(req)
						}
						return staysSilent(nil).RoundTrip(req)
					})
					f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
						if call == 1 {
							return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
								time.Sleep(late) // deaf to its context
								return v.RoundTrip(req)
							}), nil
						}
						return &testkit.Stub{}, nil
					})
					rt := start(t, base, append(observed(p), respawn.WithFactory(f.Make), respawn.WithStallThreshold(1, 0), every(time.Second))...)
					stallsFor(t, rt, "http://a.test/", time.Second)
					begin := time.Now()
					status, err := get(t.Context(), rt, "http://a.test/slow")
					require.NoError(t, err)
					assert.Equal(t, 200, status)
					assert.Equal(t, 3*time.Second, time.Since(begin))
					time.Sleep(10 * time.Second)
					synctest.Wait()
					assert.EqualValues(t, 1, f.Calls.Load())
					assert.Zero(t, rt.Health().InFlight)
					assert.Equal(t, map[string]int{"stall rejected": 1}, p.Outcomes())
					time.Sleep(time.Minute) // until then a copy's answer alone would prove nothing

					stallsFor(t, rt, "http://a.test/", time.Second)
					_, err = get(t.Context(), rt, "http://a.test/")
					require.NoError(t, err)
					time.Sleep(time.Second)
					synctest.Wait()
					assert.EqualValues(t, 2, rt.Health().Generation)
					assert.Zero(t, rt.Health().InFlight)
					assert.Zero(t, rt.Health().Draining)
				})
			})
		}
	}
}

// A copy has a goroutine of its own: that its transport panics there, or ends it,
// speaks against the candidate, and its caller is where it was.
func TestAPlannedCandidateWhoseRoundTripDoesNotReturnIsNotPromoted(t *testing.T) {
	for _, how := range []vanishing{panics, exits} {
		t.Run(string(how), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					if req.URL.Host == "busy.test" {
						return staysSilent(nil).RoundTrip(req)
					}
					time.Sleep(10 * time.Millisecond) // the copy is over first
					return testkit.Answer(req)
				})
				f := testkit.Builds(func() http.RoundTripper { return how })
				rt := start(t, base, respawn.WithFactory(f.Make))
				busy, leave := context.WithCancel(t.Context())
				defer leave()
				go func() { _, _ = get(busy, rt, "http://busy.test/") }()
				synctest.Wait()
				done := make(chan error, 1)
				go func() { done <- rt.Recreate(t.Context()) }()
				synctest.Wait()
				for range 20 {
					_, err := get(t.Context(), rt, "http://a.test/")
					require.NoError(t, err)
					time.Sleep(time.Second)
				}
				assert.Error(t, <-done)
				assert.EqualValues(t, 1, rt.Health().Generation)
			})
		})
	}
}
