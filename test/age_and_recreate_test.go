package test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// oldAt makes WithMaxAge(time.Minute) due after d, which is 54 s to 66 s.
func oldAt(d time.Duration) respawn.Option {
	return chance(func() float64 { return (d.Seconds()/60 - 0.9) / 0.2 })
}

// No request paces what age asks for: where the backoff does not either, a
// factory that fails at once must not be called without end.
func TestMaxAgePausesWhereTheBackOffHasNoPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.NewFactory(func(_ context.Context, n int64) (http.RoundTripper, error) {
			if n > 100 {
				return &testkit.Stub{}, nil // or the test would never end
			}
			return nil, errors.New("no route")
		})
		rt := start(t, &testkit.Stub{}, respawn.WithFactory(f.Make), respawn.WithMaxAge(time.Minute), oldAt(time.Minute),
			respawn.WithBackOff(func() backoff.BackOff { return &backoff.ZeroBackOff{} }))
		time.Sleep(62*time.Second + 50*time.Millisecond) // it is of age by now
		before := f.Calls.Load()
		time.Sleep(time.Second)
		assert.EqualValues(t, 10, f.Calls.Load()-before, "ten times a second at the most, and it goes on")
		assert.EqualValues(t, 1, rt.Health().Generation)
	})
}

// A transport is as old as it is, whatever was to be replaced before it came.
func TestMaxAgeCountsFromThePromotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
		rt := start(t, &testkit.Stub{}, respawn.WithFactory(f.Make), respawn.WithMaxAge(time.Minute), oldAt(time.Minute))
		time.Sleep(50 * time.Second)
		require.NoError(t, rt.Recreate(t.Context()))
		time.Sleep(59 * time.Second)
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.EqualValues(t, 2, rt.Health().Generation)
		time.Sleep(2 * time.Second)
		assert.EqualValues(t, 2, f.Calls.Load())
		assert.EqualValues(t, 3, rt.Health().Generation)
	})
}

// Trials that a dead upstream refuses all the time do not put it off.
func TestMaxAgeIsNotPutOffByADeadUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := func(delay time.Duration) http.RoundTripper {
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Host == "dead.test" {
					time.Sleep(delay)
					return nil, testkit.Refused()
				}
				return testkit.Answer(req)
			})
		}
		rt := start(t, base(0), respawn.WithThreshold(1), every(50*time.Millisecond), respawn.WithMaxAge(time.Minute), oldAt(time.Minute),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return base(time.Second) }).Make))
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(10 * time.Millisecond) {
			_, _ = get(t.Context(), rt, "http://dead.test/")
		}
		assert.InDelta(t, 10, rt.Health().Generation, 1, "a generation a minute")
	})
}

// busy is a client with a request in flight, so that a planned candidate has to be
// proved by an answer.
func busy(t *testing.T, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	t.Helper()
	rt := start(t, &testkit.Stub{}, opts...)
	resp, err := rt.RoundTrip(request(context.Background(), http.MethodGet, "http://a.test/", nil))
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return rt
}

// Who calls Recreate gets a transport that is fresh: age asks for no more.
func TestMaxAgeLeavesWhatRecreateBuiltAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
		rt := busy(t, append(observed(p), respawn.WithFactory(f.Make), respawn.WithMaxAge(time.Minute), respawn.WithRecreateTimeout(time.Hour))...)
		time.Sleep(50 * time.Second)
		done := make(chan error)
		go func() { done <- rt.Recreate(t.Context()) }()
		time.Sleep(30 * time.Second) // of age meanwhile
		assert.EqualValues(t, 1, f.Calls.Load(), "what waits to be proved is young enough")
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.NoError(t, <-done)
		synctest.Wait()
		assert.Equal(t, map[string]int{"manual promoted": 1}, p.Outcomes())
	})
}

// The other way round: what age asked for may hold the old credentials.
func TestRecreateDoesNotJoinWhatMaxAgeBuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
		rt := busy(t, append(observed(p), respawn.WithFactory(f.Make), respawn.WithMaxAge(time.Minute), respawn.WithRecreateTimeout(time.Hour))...)
		time.Sleep(70 * time.Second) // it waits to be proved
		require.EqualValues(t, 1, f.Calls.Load())
		done := make(chan error)
		go func() { done <- rt.Recreate(t.Context()) }()
		time.Sleep(time.Second)
		assert.EqualValues(t, 2, f.Calls.Load(), "one for age, one for Recreate, none for nothing")
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.NoError(t, <-done)
		synctest.Wait()
		assert.Equal(t, map[string]int{"max_age rejected": 1, "manual promoted": 1}, p.Outcomes())
	})
}
