package test

import (
	"context"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// Requests that are slow on a connection speak against a trip; those that still wait for a
// connection do not.
func TestWhoWaitsForAConnectionDoesNotHoldBackATrip(t *testing.T) {
	for name, tt := range map[string]struct {
		dial time.Duration
		trip bool
	}{
		"they wait for a connection": {time.Hour, true},
		"they have one":              {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow, refuses := dialsFor(tt.dial, staysSilent(nil)), testkit.Dead(testkit.Refused())
				base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					if req.URL.Path == "/slow" {
						return slow.RoundTrip(req)
					}
					return refuses.RoundTrip(req)
				})
				f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
				rt := start(t, base, respawn.WithFactory(f.Make), respawn.WithThreshold(4))
				_, err := get(t.Context(), rt, "http://a.test/refused")
				require.ErrorIs(t, err, syscall.ECONNREFUSED, "a suspicion has begun")

				ctx, leave := context.WithCancel(t.Context())
				for range 10 {
					go func() { _, _ = get(ctx, rt, "http://a.test/slow") }()
				}
				time.Sleep(time.Second)
				require.EqualValues(t, 10, rt.Health().InFlight)
				_, err = get(t.Context(), rt, "http://a.test/refused")
				if tt.trip {
					assert.NoError(t, err, "a fresh transport was tried")
				} else {
					assert.ErrorIs(t, err, syscall.ECONNREFUSED)
					assert.Zero(t, f.Calls.Load())
				}
				leave()
				synctest.Wait()
			})
		})
	}
}
