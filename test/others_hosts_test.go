package test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// allDown refuses whatever it is asked.
func allDown() http.RoundTripper { return testkit.Dead(testkit.Refused()) }

// Hosts that are down and always asked for first do not keep one from its trial
// whose transport is dead: one candidate is for all, whether its callers come
// again or wait, and however many are down.
func TestACandidateIsForAllThatAreTripped(t *testing.T) {
	for name, opts := range map[string][]respawn.Option{"come again": nil, "wait": {respawn.WithWaitForReady(time.Minute)}} {
		for _, down := range []int{1, 5, testkit.InCI(60, 20)} {
			t.Run(fmt.Sprint(name, " ", down), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := testkit.Builds(func() http.RoundTripper { return downBut("good.test") })
					rt := start(t, allDown(), append(opts, respawn.WithFactory(f.Make), every(time.Second))...)
					var recovered atomic.Bool
					var callers sync.WaitGroup
					ask := func(host string) { // whoever waits holds up nobody
						callers.Go(func() {
							_, err := get(t.Context(), rt, "http://"+host)
							recovered.Store(recovered.Load() || err == nil)
						})
						synctest.Wait()
					}
					began := time.Now()
					for i := 0; !recovered.Load() && i < 100; i++ {
						for n := range down {
							ask(fmt.Sprintf("down-%d.test", n))
						}
						if i >= 10 {
							ask("good.test")
						}
						if !recovered.Load() {
							time.Sleep(100 * time.Millisecond)
						}
					}
					// It trips at 1 s, as the second candidate is over; the third is
					// built an interval later.
					assert.Equal(t, 2*time.Second, time.Since(began))
					assert.EqualValues(t, 3, f.Calls.Load())
					assert.EqualValues(t, 2, rt.Health().Generation)
					callers.Wait()
				})
			})
		}
	}
}

// A host that is asked for now and then is served by the candidate of others, too,
// however many of them are asked for at every moment.
func TestASeldomAskedHostFindsACandidate(t *testing.T) {
	for _, period := range []time.Duration{900 * time.Millisecond, 1700 * time.Millisecond, 2500 * time.Millisecond, 5 * time.Second} {
		t.Run(period.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := testkit.Builds(func() http.RoundTripper { return downBut("good.test") })
				rt := start(t, allDown(), respawn.WithFactory(f.Make), every(time.Second))
				began := time.Now()
				next, asked := began.Add(2550*time.Millisecond), 0
				for n := 0; time.Since(began) < time.Minute; n++ {
					_, err := get(t.Context(), rt, fmt.Sprintf("http://%d.test/", n))
					require.Error(t, err)
					if time.Now().After(next) {
						next = next.Add(period)
						asked++
						if _, err := get(t.Context(), rt, "http://good.test/"); err == nil {
							assert.LessOrEqual(t, asked, 2, "its first request trips it, the next finds a candidate")
							return
						}
					}
					time.Sleep(200 * time.Millisecond)
				}
				t.Error("it never recovered")
			})
		})
	}
}

// Callers of a host that is known to be down do not wait for another's trial.
func TestAHostKnownToBeDownWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "slow.test" { // nothing answers its dials
				time.Sleep(9 * time.Second)
			}
			return nil, testkit.Refused()
		})
		rt := start(t, serve, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return serve }).Make))
		ask := func() {
			for range 60 {
				began := time.Now()
				_, err := get(t.Context(), rt, "http://down.test/")
				require.Error(t, err)
				require.Zero(t, time.Since(began))
				time.Sleep(time.Second)
			}
		}
		ask()
		var slow sync.WaitGroup
		slow.Go(func() { _, _ = get(t.Context(), rt, "http://slow.test/") })
		ask()
		slow.Wait()
	})
}
