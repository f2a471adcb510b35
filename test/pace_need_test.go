package test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// doublesFromASecond is a policy of 1 s, doubled each time, with no jitter.
func doublesFromASecond(most time.Duration) respawn.Option {
	return respawn.WithBackOff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0), backoff.WithMaxInterval(most), backoff.WithMaxElapsedTime(0))
	})
}

// One upstream that is down for long does not keep a dead way to another waiting:
// a first trip is built for at once, whatever the pace has become.
func TestAFirstTripIsBuiltForAtOnceBesideALongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tunnelDead atomic.Bool
		serve := func(fresh bool) http.RoundTripper {
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Host != "tunnel.test" || !fresh && tunnelDead.Load() {
					return nil, testkit.Refused()
				}
				return testkit.Answer(req)
			})
		}
		f := testkit.Builds(func() http.RoundTripper { return serve(true) })
		rt := start(t, serve(false), respawn.WithFactory(f.Make), doublesFromASecond(time.Hour))
		for range 600 { // down.test's pace is minutes by now
			_, err := get(t.Context(), rt, "http://down.test/")
			require.Error(t, err)
			time.Sleep(time.Second)
		}
		require.EqualValues(t, 10, f.Calls.Load(), "at 0, 1, 3, 7, ... 511 s")
		tunnelDead.Store(true)
		_, err := get(t.Context(), rt, "http://tunnel.test/")
		require.NoError(t, err)
		require.EqualValues(t, 2, rt.Health().Generation)
		require.EqualValues(t, 11, f.Calls.Load())
	})
}

// A flood of names that are down builds no transport each: each trip is news, but
// no build is closer than a first interval to the one before.
func TestAFloodOfTripsBuildsOneTransportAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var made []float64
		f := testkit.Builds(func() http.RoundTripper {
			made = append(made, time.Since(begin).Seconds())
			return testkit.Dead(testkit.Refused())
		})
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithFactory(f.Make), every(time.Second))
		for i := range 4_000 {
			_, err := get(t.Context(), rt, fmt.Sprintf("http://%d.test/", i))
			require.Error(t, err)
			time.Sleep(time.Millisecond)
		}
		assert.Equal(t, []float64{0, 1, 2, 3}, made)
		assert.Len(t, rt.Health().Streaks, 256)
	})
}

// The pace starts over when an authority trips that had no outage in the last
// minute, nor the client a swap for need.
func TestThePaceStartsOverAfterACalmMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		begin := time.Now()
		var made []time.Duration
		transport := func() http.RoundTripper {
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				if broken.Load() {
					return nil, testkit.Refused()
				}
				return testkit.Answer(req)
			})
		}
		rt := start(t, transport(), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			made = append(made, time.Since(begin))
			broken.Store(false)
			return transport(), nil
		}), doublesFromASecond(time.Minute))
		dies := func() {
			broken.Store(true)
			for range 1000 {
				if _, err := get(t.Context(), rt, "http://a.test/"); err == nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		dies() // at once
		dies() // dies again at once: 1 s
		dies() // and again: 2 s more
		time.Sleep(3 * time.Second)
		dies() // 4 s after the one before
		time.Sleep(30 * time.Second)
		dies() // the interval of 8 s is long over, and no minute has passed: 16 s next
		dies()
		time.Sleep(time.Minute)
		dies() // news: at once, and the next one after a first interval
		dies()
		seconds := make([]float64, len(made))
		for i, d := range made {
			seconds[i] = d.Seconds()
		}
		assert.Equal(t, []float64{0, 1, 3, 7, 37, 53, 113, 114}, seconds)
	})
}

// A policy that gives up would make respawn the outage it is meant to end.
func TestAPolicyThatGivesUpIsOverruled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.Builds(func() http.RoundTripper { return testkit.Dead(testkit.Refused()) })
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithFactory(f.Make),
			respawn.WithBackOff(func() backoff.BackOff { return &backoff.StopBackOff{} }))
		for range 10 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
			time.Sleep(time.Second)
		}
		assert.EqualValues(t, 10, f.Calls.Load())
	})
}
