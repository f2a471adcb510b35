package test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A transport that dies again within a minute of its promotion looks as if that had not helped, and the
// next proof takes several answers. The requests that wait for the last of them have it in time.
func TestATransportThatDiesAgainAndAgainLosesNoGET(t *testing.T) {
	overDraws(t, 20, func(t *testing.T, d draw) {
		lives, every := d.between(5*time.Second, 50*time.Second), d.between(50*time.Millisecond, 200*time.Millisecond)
		var rt *respawn.RecoveringRoundTripper
		mortal := func() http.RoundTripper {
			var mu sync.Mutex
			var serves time.Time // since then it is in service
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				mu.Lock()
				if h := rt.Health(); serves.IsZero() && !h.Recreating && len(h.Streaks) == 0 {
					serves = time.Now()
				}
				dead := !serves.IsZero() && time.Since(serves) > lives
				mu.Unlock()
				if dead {
					return staysSilent(nil).RoundTrip(req)
				}
				return testkit.Answer(req)
			})
		}
		rt = start(t, mortal(), respawn.WithFactory(testkit.Builds(mortal).Make))
		var under sync.WaitGroup
		for rt.Health().Generation < 5 {
			under.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				_, err := get(ctx, rt, "http://a.test/")
				assert.NoError(t, err, "generation %d, lives for %v, every %v", rt.Health().Generation, lives, every)
			})
			time.Sleep(every)
		}
		under.Wait()
	})
}
