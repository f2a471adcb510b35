package test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// A deadline that passes while a request waits for a place in its transport's own pool is nobody's
// failure, also where nobody watched: whoever reads Health or the metrics sees none. It is a reason
// to watch the next ones, and what these are silent for is told.
func TestAWaitForAPlaceIsToldAsNoFailure(t *testing.T) {
	overDraws(t, 8, func(t *testing.T, d draw) {
		n := testnet.New(t)
		holds := d.between(5*time.Second, 20*time.Second)
		n.Serve("a.test:80", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/silent" {
				<-req.Context().Done()
				return
			}
			time.Sleep(holds)
		}))
		base := n.HTTP1()
		base.MaxConnsPerHost = 1
		defer base.CloseIdleConnections()
		p := testkit.NewProbe(t)
		rt := start(t, base, observed(p)...)
		ask := func(path string, deadline time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			_, err := get(ctx, rt, "http://a.test"+path)
			return err
		}
		go func() { _ = ask("/", time.Minute) }()
		time.Sleep(time.Second)
		for range 1 + d.IntN(3) {
			require.ErrorIs(t, ask("/", d.between(100*time.Millisecond, time.Second)), context.DeadlineExceeded)
			assert.Nil(t, rt.Health().LastFailure)
			assert.Zero(t, rt.Health().Failures)
			assert.Zero(t, p.Total("respawn.transport.failures"))
		}
		time.Sleep(time.Minute)
		for range 2 {
			require.ErrorIs(t, ask("/silent", time.Second), context.DeadlineExceeded)
		}
		require.NotNil(t, rt.Health().LastFailure)
		assert.EqualValues(t, "stall", rt.Health().LastFailure.Reason)
	})
}
