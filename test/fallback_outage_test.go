package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// An outage that the fallback serves is as long as it is, and costs the threshold
// and, of what can be asked only once, a control every fourth interval.
func TestAnOutageServedByTheFallbackIsAsLongAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		var back atomic.Bool
		f := testkit.NewFactory(func(context.Context, int64) (http.RoundTripper, error) {
			if back.Load() {
				return &testkit.Stub{}, nil
			}
			return nil, errors.New("no route")
		})
		rt := start(t, testkit.Dead(testkit.ConnReset()), append(observed(p), respawn.WithFallback(&testkit.Stub{}),
			every(30*time.Second), respawn.WithFactory(f.Make))...)
		lost := 0
		for began := time.Now(); time.Since(began) < 3*time.Hour; time.Sleep(10 * time.Second) {
			if _, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", strings.NewReader("x"))); err != nil {
				lost++
			}
		}
		back.Store(true)
		for range 10 {
			_, err := get(t.Context(), rt, "http://a.test/")
			assert.NoError(t, err)
			time.Sleep(10 * time.Second)
		}
		assert.Equal(t, 3+3*60/2, lost, "the threshold, and one in two minutes")
		recs := p.Logged("recovered")
		require.Len(t, recs, 1)
		assert.InDelta(t, 3*3600, recs[0].Attrs["respawn.outage.duration"], 30)
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// What is called back from its trial and cannot be sent again, since its GetBody
// fails, has GetBody's own error.
func TestTheFallbackDoesWithoutWhatHasNoBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("no more")
		fallback := &testkit.Stub{}
		rt := start(t, staysSilent(nil), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return staysSilent(nil) }).Make),
			respawn.WithStallThreshold(1, 0), respawn.WithFallback(fallback), every(time.Hour))
		stallsFor(t, rt, "http://a.test/", time.Second)
		done := make(chan error, 1)
		go func() {
			put := request(t.Context(), http.MethodPut, "http://a.test/", strings.NewReader("x"))
			put.Header.Set("Idempotency-Key", "1")
			put.GetBody = func() (io.ReadCloser, error) { return nil, gone }
			resp, err := rt.RoundTrip(put)
			assert.False(t, resp == nil && err == nil)
			done <- err
		}()
		time.Sleep(5 * time.Second)
		stallsFor(t, rt, "http://a.test/", time.Second) // who asks the transport in service
		require.True(t, <-done == gone)
		assert.Zero(t, fallback.Calls.Load())
	})
}

// Case A5, through a client with a fallback and without: a load balancer most of whose backends are
// dead, in turn. One swap shows that it does not help, and that is not forgotten while the fallback
// serves. If controls keep getting the dead ones and trials the others, a second one is made in time.
func TestALoadBalancerWithDeadBackendsIsNotReplacedAgainAndAgain(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for seed := range uint64(6) {
				t.Run(fmt.Sprint("fallback: ", fallback, ", ", method, ", ", seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						rnd := rand.New(rand.NewPCG(seed, 5))
						var asked atomic.Int64
						backends := 3 + rnd.Int64N(3)
						balancer := func(req *http.Request) (*http.Response, error) {
							if asked.Add(1)%backends != 0 {
								return unsent(req)
							}
							return testkit.Answer(req)
						}
						opts := []respawn.Option{respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return testkit.RoundTripperFunc(balancer) }).Make)}
						if fallback {
							opts = append(opts, respawn.WithFallback(&testkit.Stub{}))
						}
						rt := start(t, testkit.RoundTripperFunc(balancer), opts...)
						period := time.Duration(50+rnd.IntN(850)) * time.Millisecond
						for began := time.Now(); time.Since(began) < 20*time.Minute; time.Sleep(period) {
							_, _ = testkit.Do(rt, request(t.Context(), method, "http://a.test/", nil))
						}
						assert.LessOrEqual(t, rt.Health().Generation, uint64(3))
					})
				})
			}
		}
	}
}
