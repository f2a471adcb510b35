package test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// silentOr refuses one host, and is silent to all others.
func silentOr(refusedHost string) http.RoundTripper {
	return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Host == refusedHost {
			return nil, testkit.Refused()
		}
		<-req.Context().Done()
		testkit.CloseBody(req)
		return nil, context.Cause(req.Context())
	})
}

// waitInVain sends a request that nobody answers within d.
func waitInVain(t *testing.T, rt http.RoundTripper, url string, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	_, err := get(ctx, rt, url)
	require.Error(t, err)
}

// What fails at once does not wait out the trial of an authority that is silent.
func TestARefusalDoesNotWaitForASilentTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.Builds(func() http.RoundTripper { return silentOr("down.test") })
		rt := start(t, silentOr("down.test"), respawn.WithFactory(f.Make), respawn.WithPatience(0))
		for range 3 {
			waitInVain(t, rt, "http://slow.test/", time.Minute)
		}
		var wg sync.WaitGroup
		wg.Go(func() { waitInVain(t, rt, "http://slow.test/", time.Minute) })
		time.Sleep(2 * time.Second)
		require.True(t, rt.Health().Recreating, "its copy is the trial")
		began := time.Now()
		_, err := get(t.Context(), rt, "http://down.test/")
		require.Error(t, err)
		assert.Zero(t, time.Since(began))
		wg.Wait()
	})
}

// A candidate that was built for one authority proves nothing for another: each
// needs a trial of its own.
func TestATrialIsItsAuthoritysOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.Builds(func() http.RoundTripper { time.Sleep(100 * time.Millisecond); return silentOr("down.test") })
		rt := start(t, silentOr("down.test"), respawn.WithFactory(f.Make))
		for range 3 {
			waitInVain(t, rt, "http://slow.test/", time.Second)
		}
		waitInVain(t, rt, "http://down.test/", 50*time.Millisecond) // trips, asks for a candidate, leaves
		time.Sleep(time.Second)
		waitInVain(t, rt, "http://slow.test/", time.Second)
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.EqualValues(t, 1, rt.Health().Generation, "one upstream is down, the other slow: no swap")
	})
}

// A silent trial is in nobody's way for longer than WithRecreateTimeout, however
// patient its caller.
func TestASilentTrialGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.NewFactory(func(_ context.Context, n int64) (http.RoundTripper, error) {
			if n > 1 {
				return &testkit.Stub{}, nil
			}
			return silentOr("tunnel.test"), nil
		})
		rt := start(t, silentOr("tunnel.test"), every(time.Second), respawn.WithFactory(f.Make), respawn.WithPatience(0))
		for range 3 {
			waitInVain(t, rt, "http://slow.test/", time.Minute)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(ctx, rt, "http://slow.test/") })
		time.Sleep(time.Second)
		synctest.Wait()
		require.EqualValues(t, 1, f.Calls.Load(), "its copy is the trial")
		began := time.Now()
		for {
			if _, err := get(t.Context(), rt, "http://tunnel.test/"); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		assert.LessOrEqual(t, time.Since(began), 11*time.Second)
		assert.EqualValues(t, 2, rt.Health().Generation)
		wg.Wait()
	})
}
