package test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A candidate whose authority is never asked for again is in nobody's way: not in
// that of age, and not in that of others' healthy path.
func TestACandidateThatNobodyTriesIsInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var healthy atomic.Bool
		note := func(req *http.Request) (*http.Response, error) {
			healthy.Store(onHealthyPath(req))
			return testkit.Answer(req)
		}
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "a.test" {
				return nil, testkit.Refused()
			}
			return note(req)
		})
		f := testkit.Builds(func() http.RoundTripper { time.Sleep(time.Second); return testkit.RoundTripperFunc(note) })
		rt := start(t, base, respawn.WithFactory(f.Make), respawn.WithMaxAge(10*time.Minute))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := get(ctx, rt, "http://a.test/") // and nobody asks for a.test again
		require.Error(t, err)
		for range 24 * 60 {
			_, err := get(t.Context(), rt, "http://b.test/")
			require.NoError(t, err)
			assert.True(t, healthy.Load())
			time.Sleep(time.Minute)
		}
		assert.InDelta(t, 24*6, rt.Health().Generation, 24*6/10, "one in ten minutes")
		assert.False(t, rt.Health().Recreating)
		assert.Empty(t, rt.Health().Streaks)
	})
}

// A planned candidate that gets no connection is not promoted over a transport
// that is well, however impatient its callers are: they are served by that.
func TestABlackHoleIsNotPromotedOverATransportThatIsWell(t *testing.T) {
	for name, method := range map[string]string{"copies": http.MethodGet, "tries": http.MethodPost} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := testkit.Builds(silentDials)
				rt := busy(t, respawn.WithFactory(f.Make), respawn.WithMaxAge(time.Minute), oldAt(time.Minute))
				time.Sleep(61 * time.Second) // it was built a second ago
				for range 60 {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					_, err := testkit.Do(rt, request(ctx, method, "http://a.test/", nil))
					assert.NoError(t, err)
					cancel()
					time.Sleep(500 * time.Millisecond)
				}
				assert.EqualValues(t, 1, rt.Health().Generation)
				assert.Positive(t, rt.Health().Rejections)
				assert.Positive(t, f.Calls.Load())
			})
		})
	}
}
