package test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

func TestCloseShutsTheTransportAndLetsNobodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.Stub{}
		rt := start(t, base, respawn.WithFactory(stubs().Make))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.NoError(t, rt.Close())
		require.NoError(t, rt.Close(), "twice is once")
		sweepsPass()
		assert.EqualValues(t, 1, base.Closes.Load())
		for range 3 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.ErrorIs(t, err, respawn.ErrClosed)
		}
		assert.Same(t, base, rt.WrappedRoundTripper())
		assert.Equal(t, respawn.StateClosed, rt.Health().State)
	})
}

// Close while a recreation is under way, at each of its stages.
func TestCloseEndsARecreationAtEachOfItsStages(t *testing.T) {
	for _, stage := range []time.Duration{50 * time.Millisecond, 150 * time.Millisecond} { // building, on trial
		synctest.Test(t, func(t *testing.T) {
			p := testkit.NewProbe(t)
			made := &testkit.Stub{Delay: 100 * time.Millisecond}
			f := testkit.Builds(func() http.RoundTripper { time.Sleep(100 * time.Millisecond); return made })
			rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), respawn.WithFactory(f.Make))...)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { _, _ = get(t.Context(), rt, "http://a.test/") })
			}
			time.Sleep(stage)
			require.NoError(t, rt.Close())
			wg.Wait()
			sweepsPass()
			assert.EqualValues(t, 1, made.Closes.Load())
			assert.Equal(t, map[string]int{"connection_refused rejected": 1}, p.Outcomes())
			assert.Equal(t, "closed", testkit.Attributes(p.Recreations()[0].Attributes())["error.type"])
		})
	}
}

// A request that is in flight at Close gets its own error.
func TestWhatIsInFlightAtCloseKeepsItsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := testkit.Refused()
		base := testkit.Dead(own)
		base.Delay = time.Second
		rt := start(t, base, respawn.WithFactory(stubs().Make))
		time.AfterFunc(500*time.Millisecond, func() { rt.Close() })
		_, err := get(t.Context(), rt, "http://a.test/")
		assert.Same(t, own, err)
		_, err = get(t.Context(), rt, "http://a.test/")
		assert.Same(t, respawn.ErrClosed, err)
	})
}
