package test

import (
	"context"
	"errors"
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
