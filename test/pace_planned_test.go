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

// What was planned has a pace of its own: after hourly Recreates the first
// recreation of an outage is still at once.
func TestPlannedPromotionsDoNotUseUpTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var current atomic.Pointer[testkit.Stub]
		f := testkit.Builds(func() http.RoundTripper { current.Store(&testkit.Stub{}); return current.Load() })
		rt := start(t, &testkit.Stub{}, respawn.WithFactory(f.Make), doubling())
		for range 10 { // certificates rotated once an hour; perfectly healthy
			time.Sleep(time.Hour)
			require.NoError(t, rt.Recreate(t.Context()))
		}
		time.Sleep(5 * time.Second)
		current.Load().Fail(testkit.Refused())
		began := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Zero(t, time.Since(began), "the generations before were well for an hour each")
	})
}

// Nor do Recreates that were given up.
func TestRecreatesGivenUpDoNotUseUpTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.Stub{}
		var slow atomic.Bool
		slow.Store(true)
		f := testkit.Builds(func() http.RoundTripper {
			if slow.Load() {
				time.Sleep(time.Second)
			}
			return &testkit.Stub{}
		})
		rt := start(t, base, respawn.WithFactory(f.Make), doubling())
		for range 6 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			require.ErrorIs(t, rt.Recreate(ctx), context.DeadlineExceeded)
			cancel()
			time.Sleep(time.Second)
		}
		slow.Store(false)
		base.Fail(testkit.Refused())
		began := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Zero(t, time.Since(began), "the first recreation of an outage is at once")
	})
}
