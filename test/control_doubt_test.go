package test

import (
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

// A dial that takes three seconds to fail may have met an outage of its upstream that is over
// when the fresh transport answers. Nobody asks the upstream again. Where the transport in service
// answers other hosts meanwhile, it stays.
func TestAnAnswerInDoubtReplacesATransportThatServesNobody(t *testing.T) {
	for name, others := range map[string]bool{"it answers others": true, "it answers nobody": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					if req.URL.Host == "b.test" {
						return (&testkit.Stub{}).RoundTrip(req)
					}
					time.Sleep(3 * time.Second)
					return nil, syscall.ECONNREFUSED
				})
				rt := start(t, base, respawn.WithThreshold(1), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} }).Make))
				put := func() error {
					_, err := testkit.Do(rt, request(t.Context(), http.MethodPut, "http://a.test/", nil))
					return err
				}
				require.Error(t, put())
				require.NoError(t, put(), "the fresh transport answers")
				time.Sleep(time.Minute)
				if others {
					_, err := get(t.Context(), rt, "http://b.test/")
					require.NoError(t, err)
				}
				time.Sleep(2 * time.Minute)
				require.EqualValues(t, 1, rt.Health().Generation)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				assert.Equal(t, others, rt.Health().Generation == 1)
			})
		})
	}
}
