package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// halfDark is a transport whose connection is dark, but for slow requests from before, which are
// answered on another one.
func halfDark(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/slow" {
		takes, _ := time.ParseDuration(req.Header.Get("Takes"))
		return answersAfter(takes).RoundTrip(req)
	}
	return staysSilent(nil).RoundTrip(req)
}

// Case B5. Slow requests from before finish one after the other, on a connection that is alive, while
// a dark one swallows all others. What those answers teach about patience is not for requests that were
// silent already.
func TestLateAnswersDoNotHideADarkConnection(t *testing.T) {
	const slow = 90
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, left := range []time.Duration{time.Second, 3 * time.Second, 30 * time.Second, 10 * time.Minute} {
			t.Run(fmt.Sprint(method, " ", left), func(t *testing.T) {
				for seed := range uint64(12) {
					rnd := rand.New(rand.NewPCG(seed, 5))
					synctest.Test(t, func(t *testing.T) {
						rt := start(t, testkit.RoundTripperFunc(halfDark), respawn.WithThreshold(1+rnd.IntN(4)), respawn.WithFactory(stubs().Make))
						for n := range slow {
							go func() {
								req := request(t.Context(), http.MethodGet, "http://a.test/slow", nil)
								req.Header.Set("Takes", (time.Duration(n+1) * time.Second).String())
								_, _ = testkit.Do(rt, req)
							}()
						}
						period := time.Duration(300+rnd.IntN(100)) * time.Millisecond
						time.Sleep(time.Duration(rnd.Int64N(int64(period))))
						var lost atomic.Int64
						for began := time.Now(); time.Since(began) < slow*time.Second; time.Sleep(period) {
							go func() {
								ctx, cancel := context.WithTimeout(t.Context(), left)
								defer cancel()
								if _, err := testkit.Do(rt, request(ctx, method, "http://a.test/", nil)); err != nil {
									lost.Add(1)
								}
							}()
						}
						time.Sleep(11 * time.Minute)
						most := (left+1500*time.Millisecond)/period + 3
						switch {
						case left >= 30*time.Second && method == http.MethodGet:
							most = 0
						case left >= 30*time.Second:
							most = 7500*time.Millisecond/period + 3 // a patience is 4 to 6 s
						}
						assert.LessOrEqual(t, lost.Load(), int64(most), "each %v, draw %d", period, seed)
						assert.EqualValues(t, 2, rt.Health().Generation)
					})
				}
			})
		}
	}
}
