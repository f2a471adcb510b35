package respawn

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
)

// No request paces what age asks for: where the backoff does not either, a
// factory that fails at once must not be called without end.
func TestMaxAgeWithZeroBackOffPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{build: func(n int64, _ context.Context) (http.RoundTripper, error) {
			if n > 100 {
				return &stub{}, nil // or the test would never end
			}
			return nil, errors.New("no route")
		}}
		rt := start(t, &stub{}, WithFactory(f.make), WithMaxAge(time.Minute),
			WithBackOff(func() backoff.BackOff { return &backoff.ZeroBackOff{} }))
		time.Sleep(66 * time.Second) // it is of age by now
		before := f.calls.Load()
		time.Sleep(time.Second)
		assert.LessOrEqual(t, f.calls.Load()-before, int64(10), "ten times a second at the most")
		assert.Positive(t, f.calls.Load()-before, "and it goes on")
		assert.EqualValues(t, 1, rt.Health().Generation)
	})
}

// A timer that fires while another recreation is promoted finds a fresh transport.
func TestMaxAgeLooksAtTheAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := builds(func() http.RoundTripper { return &stub{} })
		rt := start(t, &stub{}, WithFactory(f.make), WithMaxAge(time.Minute))
		time.Sleep(50 * time.Second)
		require.NoError(t, rt.Recreate(t.Context()))
		rt.replaceAged() // as the timer's goroutine does that had to wait for the lock
		synctest.Wait()
		assert.EqualValues(t, 1, f.calls.Load())
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// Trials that a dead upstream rejects all the time do not put it off.
func TestMaxAgeBesideADeadUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := func(delay time.Duration) rtFunc {
			return func(req *http.Request) (*http.Response, error) {
				if req.URL.Host == "dead.test" {
					time.Sleep(delay)
					return unsent(req)
				}
				return answer(req)
			}
		}
		rt := start(t, base(0), WithThreshold(1), every(50*time.Millisecond), WithMaxAge(time.Minute),
			WithFactory(builds(func() http.RoundTripper { return base(time.Second) }).make))
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(10 * time.Millisecond) {
			_, _ = get(t.Context(), rt, "http://dead.test/")
		}
		assert.Greater(t, rt.Health().Generation, uint64(5))
	})
}

// Who calls Recreate gets a transport that is fresh: age asks for no more.
func TestMaxAgeLeavesRecreateAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		f := builds(func() http.RoundTripper { return &stub{} })
		rt := start(t, &stub{}, append(p.options(), WithFactory(f.make), WithMaxAge(time.Minute), WithRecreateTimeout(time.Hour))...)
		resp, err := roundTrip(rt) // in flight, so that a request has to prove what is fresh
		require.NoError(t, err)
		defer resp.Body.Close()
		time.Sleep(50 * time.Second)
		done := make(chan error)
		go func() { done <- rt.Recreate(t.Context()) }()
		time.Sleep(30 * time.Second) // of age meanwhile
		assert.EqualValues(t, 1, f.calls.Load(), "what waits to be proven is young enough")
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.NoError(t, <-done)
		assert.Equal(t, map[string]int{"manual promoted": 1}, p.outcomes())
	})
}

// The other way round: what age asked for may hold the old credentials.
func TestRecreateTakesTheTurnOfMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		f := builds(func() http.RoundTripper { return &stub{} })
		rt := start(t, &stub{}, append(p.options(), WithFactory(f.make), WithMaxAge(time.Minute), WithRecreateTimeout(time.Hour))...)
		resp, err := roundTrip(rt)
		require.NoError(t, err)
		defer resp.Body.Close()
		time.Sleep(70 * time.Second) // it waits to be proven
		require.EqualValues(t, 1, f.calls.Load())
		done := make(chan error)
		go func() { done <- rt.Recreate(t.Context()) }()
		time.Sleep(time.Second)
		assert.EqualValues(t, 2, f.calls.Load(), "one for age, one for Recreate, none for nothing")
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.NoError(t, <-done)
		assert.Equal(t, map[string]int{"max_age rejected": 1, "manual promoted": 1}, p.outcomes())
	})
}

func roundTrip(rt http.RoundTripper) (*http.Response, error) {
	return rt.RoundTrip(mustRequest(context.Background(), http.MethodGet, "http://a.test/", nil))
}
