package test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// halfWell is a transport to a server that is well but for one endpoint: what goes there is read,
// and then ends as fails says.
func halfWell(fails http.RoundTripper) http.RoundTripper {
	return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path != "/ill" {
			return testkit.Answer(req)
		}
		tell(req, "GetConn", "GotConn")
		testkit.CloseBody(req)
		return fails.RoundTrip(req)
	})
}

// One endpoint of an upstream is ill. Requests to it come in bursts, and between two bursts there is a
// single one to an endpoint that is well: the candidate may answer it, and the first request of the next
// burst be taken for its control. The transport in service is well, and is replaced at most twice in 20 minutes.
// (Of a burst of one, with a threshold of one, nothing is left to show that the swap did not help.)
func TestAnIllEndpointAskedInBurstsReplacesLittle(t *testing.T) {
	const rounds = 30
	overDraws(t, 120, func(t *testing.T, d draw) {
		ends, fails := "silence", staysSilent(nil)
		if d.chance(0.5) {
			ends, fails = "reset", testkit.RoundTripperFunc(func(*http.Request) (*http.Response, error) { return nil, testkit.ConnReset() })
		}
		method, gap := oneOf(d, http.MethodPost, http.MethodPut, http.MethodGet), d.between(30*time.Second, 10*time.Minute)
		threshold := 1 + d.IntN(4)
		burst := max(2, threshold+d.IntN(2))
		opts := []respawn.Option{respawn.WithThreshold(threshold), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return halfWell(fails) }).Make)}
		if d.chance(0.3) {
			opts = append(opts, respawn.WithStallThreshold(1+d.IntN(3), time.Second))
		}
		rt := start(t, halfWell(fails), opts...)
		send := func(path string) error {
			ctx, cancel := context.WithTimeout(t.Context(), d.between(2*time.Second, 20*time.Second))
			defer cancel()
			_, err := testkit.Do(rt, request(ctx, method, "http://a.test"+path, strings.NewReader("")))
			return err
		}
		began := time.Now()
		for range rounds {
			for range burst {
				_ = send("/ill")
				time.Sleep(d.between(0, time.Second))
			}
			time.Sleep(time.Duration(d.Float64() * float64(gap)))
			assert.NoError(t, send("/well"))
			time.Sleep(gap)
		}
		swaps, most := rt.Health().Generation-1, 2+2*int(time.Since(began)/(20*time.Minute))
		assert.LessOrEqual(t, int(swaps), most, "%s, %s, gap %v, threshold %d, burst %d", method, ends, gap, threshold, burst)
	})
}
