package test

import (
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// observables are the metrics that a collection asks the client for.
var observables = []string{
	"respawn.transport.generation", "respawn.transport.in_flight", "respawn.transport.draining", "respawn.authority.tripped",
}

// What is observed ends with Close, whatever is still in flight, draining or tripped: of
// a client that is gone nothing is reported for ever. What another client of the same
// name reports stays.
func TestWhatIsObservedEndsWithClose(t *testing.T) {
	p := testkit.NewProbe(t)
	seen := func() map[string]int64 {
		all := map[string]int64{}
		for _, name := range observables {
			if p.Metric(name).Data != nil {
				all[name] = p.Total(name)
			}
		}
		return all
	}
	open := func(streams int) *respawn.RecoveringRoundTripper {
		rt := start(t, testkit.RoundTripperFunc(streaming), append(observed(p), respawn.WithFactory(fails), respawn.WithReplay(respawn.ReplayNever))...)
		for _, body := range openStreams(t, rt, streams) {
			t.Cleanup(func() { require.NoError(t, body.Close()) })
		}
		for range 3 {
			_, err := get(t.Context(), rt, "http://dead.test/")
			require.Error(t, err)
		}
		return rt
	}
	stays, closes := open(4), open(1)
	assert.Equal(t, map[string]int64{
		"respawn.transport.generation": 1, "respawn.transport.in_flight": 5, "respawn.transport.draining": 0, "respawn.authority.tripped": 2,
	}, seen())
	require.NoError(t, closes.Close())
	assert.EqualValues(t, 1, closes.Health().InFlight, "it goes on")
	assert.Equal(t, map[string]int64{
		"respawn.transport.generation": 1, "respawn.transport.in_flight": 4, "respawn.transport.draining": 0, "respawn.authority.tripped": 1,
	}, seen())
	require.NoError(t, stays.Close())
	assert.Empty(t, seen())
	assert.EqualValues(t, 6, p.Total("respawn.transport.failures"), "what was counted stays")
}

// The meter provider outlives its clients: it keeps none that was closed.
func TestAClosedClientIsCollected(t *testing.T) {
	p := testkit.NewProbe(t)
	provider := &countingProvider{MeterProvider: p.MeterProvider()}
	const clients = 20
	var collected atomic.Int32
	for range clients {
		rt, err := respawn.New(&testkit.Stub{}, respawn.WithMeterProvider(provider), respawn.WithLogger(p.Logger()),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} }).Make), respawn.WithHostMetrics())
		require.NoError(t, err)
		runtime.AddCleanup(rt, func(struct{}) { collected.Add(1) }, struct{}{})
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.NoError(t, rt.Close())
	}
	assert.Zero(t, provider.registered.Load(), "at Close, and not only once it is collected")
	assert.Eventually(t, func() bool {
		runtime.GC()
		p.Metrics()
		return collected.Load() == clients
	}, 20*time.Second, 10*time.Millisecond)
}
