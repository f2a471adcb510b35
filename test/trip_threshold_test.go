package test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// An authority trips at its threshold, not earlier and not later, whoever fails: one
// more attempt in service is the control. A request makes three attempts at most
// before that, so that a high threshold takes several.
func TestThresholdIsExact(t *testing.T) {
	for threshold := 1; threshold <= 7; threshold++ {
		t.Run(fmt.Sprint(threshold), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := testkit.Dead(testkit.Refused())
				f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
				rt := start(t, base, respawn.WithFactory(f.Make), respawn.WithThreshold(threshold))
				for lost := 3; lost < threshold; lost += 3 {
					_, err := get(t.Context(), rt, "http://a.test/")
					require.Error(t, err)
					require.EqualValues(t, lost, base.Calls.Load())
					require.False(t, rt.Health().Streaks[0].Tripped)
				}
				status, err := get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				assert.Equal(t, 200, status)
				assert.EqualValues(t, threshold+1, base.Calls.Load())
				assert.EqualValues(t, 1, f.Calls.Load())
				assert.EqualValues(t, 2, rt.Health().Generation)
			})
		})
	}
}

// One of two hosts is broken: that the other is well does not hide it.
func TestTwoHostsOneBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "broken.test" {
				return unsent(req)
			}
			return testkit.Answer(req)
		})
		f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
		rt := start(t, base, respawn.WithFactory(f.Make), respawn.WithReplay(respawn.ReplayNever))
		for i := range 3 {
			_, err := get(t.Context(), rt, "http://broken.test/")
			require.Error(t, err, "request %d", i)
			_, err = get(t.Context(), rt, "http://well.test/")
			require.NoError(t, err)
		}
		status, err := get(t.Context(), rt, "http://broken.test/")
		require.NoError(t, err, "the successes next door did not hide three failures")
		assert.Equal(t, 200, status)
		assert.EqualValues(t, 1, f.Calls.Load())
	})
}

// The same server under other spellings has one streak.
func TestAuthorityIsNormalized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithFactory(f.Make), respawn.WithReplay(respawn.ReplayNever))
		for i, url := range []string{"http://A.test/", "http://a.test:80/", "HTTP://a.TEST/x"} {
			_, err := get(t.Context(), rt, url)
			require.Error(t, err)
			require.Len(t, rt.Health().Streaks, 1)
			assert.Equal(t, i+1, rt.Health().Streaks[0].Failures)
		}
		_, err := get(t.Context(), rt, "http://a.test/y")
		require.NoError(t, err)
		assert.EqualValues(t, 1, f.Calls.Load())
	})
}
