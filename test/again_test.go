package test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
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

// What did not help several names of an ill upstream is doubted for all hosts. That keeps no dead transport:
// the proof takes more answers, which other hosts' requests wait for.
func TestADeadTransportIsReplacedThoughSwapsDidNotHelpOthers(t *testing.T) {
	overDraws(t, 20, func(t *testing.T, d draw) {
		hosts := []string{"a.ill", "b.ill", "c.ill"}
		fresh := func() http.RoundTripper {
			var dead atomic.Bool
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				dead.CompareAndSwap(false, req.URL.Path == "/dies")
				if dead.Load() || req.URL.Path == "/ill" {
					tell(req, "GetConn", "GotConn")
					return nil, testkit.ConnReset()
				}
				return testkit.Answer(req)
			})
		}
		rt := start(t, fresh(), respawn.WithFactory(testkit.Builds(fresh).Make))
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(d.between(time.Second, 10*time.Second)) {
			host := oneOf(d, hosts...)
			for _, path := range []string{"/ill", "/ill", "/ill", "/well"} {
				_, _ = testkit.Do(rt, request(t.Context(), http.MethodPost, "http://"+host+path, strings.NewReader("once")))
			}
		}
		before := rt.Health().Generation
		_, _ = testkit.Do(rt, request(t.Context(), http.MethodPost, "http://well.test/dies", strings.NewReader("once"))) // alone
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			_, err := get(ctx, rt, "http://well.test/")
			cancel()
			assert.NoError(t, err)
			time.Sleep(d.between(10*time.Millisecond, 5*time.Second))
		}
		assert.Equal(t, before+1, rt.Health().Generation)
	})
}
