//go:build !race

package test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A fleet whose upstream slows down does not ask it twice at one instant: each client
// has a patience of its own, and learns. A thousand clients take minutes under the race
// detector, which has nothing to find in them: CI runs them without it.
func TestAFleetDoesNotCopyInLockstep(t *testing.T) {
	const clients, period, length = 1000, 100 * time.Millisecond, 16 * time.Second
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		slowAt := begin.Add(2 * time.Second)
		var extra [60]atomic.Int64 // by second
		answer := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			took := 50 * time.Millisecond
			if time.Now().After(slowAt) {
				took = 8 * time.Second
			}
			select {
			case <-time.After(took):
				return noBody, nil
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		})
		fresh := testkit.Builds(func() http.RoundTripper {
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				extra[int(time.Since(begin)/time.Second)].Add(1)
				return answer(req)
			})
		})
		var wg sync.WaitGroup
		var swaps atomic.Int64
		for i := range clients {
			draws := float64(i*389%clients) / clients
			rt := start(t, answer, respawn.WithFactory(fresh.Make), chance(func() float64 { return draws }))
			wg.Go(func() {
				time.Sleep(time.Duration(i) * period / clients)
				var mine sync.WaitGroup
				for time.Since(begin) < length {
					mine.Go(func() {
						_, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
						assert.NoError(t, err)
					})
					time.Sleep(period)
				}
				mine.Wait()
				swaps.Add(int64(rt.Health().Generation) - 1)
			})
		}
		wg.Wait()
		most := int64(0)
		for i := range extra {
			most = max(most, extra[i].Load())
		}
		t.Logf("at most %d copies in a second, of %d requests; %d swaps", most, clients*int(time.Second/period), swaps.Load())
		assert.LessOrEqual(t, most, int64(clients*int(time.Second/period)/10))
		assert.Zero(t, swaps.Load())
	})
}

var noBody = &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}
