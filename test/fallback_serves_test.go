package test

import (
	"context"
	"errors"
	"math"
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

// A fallback serves what is tripped, and is not asked for anything else. Once per
// interval a request asks the transport in service all the same.
func TestFallbackServesWhatIsTrippedAndAsksInServiceOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var asked []time.Duration
		base := testkit.RoundTripperFunc(func(*http.Request) (*http.Response, error) {
			asked = append(asked, time.Since(begin))
			return nil, testkit.Refused()
		})
		spare := &testkit.Stub{}
		var well atomic.Bool
		rt := start(t, base, respawn.WithFallback(spare), every(time.Second), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			if well.Load() {
				return &testkit.Stub{}, nil
			}
			return nil, errors.New("no route")
		}))
		for range 50 {
			status, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			require.Equal(t, 200, status)
			time.Sleep(100 * time.Millisecond)
		}
		const ms = time.Millisecond
		assert.Equal(t, []time.Duration{0, 0, 0, 100 * ms, 1100 * ms, 2100 * ms, 3100 * ms, 4100 * ms}, asked,
			"the threshold, and then once per interval")
		assert.EqualValues(t, 50, spare.Calls.Load())
		assert.NotEqual(t, respawn.StateHealthy, rt.Health().State, "an answer from the fallback does not end the outage")
		well.Store(true)
		time.Sleep(time.Second)
		for range 5 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
		}
		assert.EqualValues(t, 50, spare.Calls.Load())
		assert.Equal(t, respawn.StateHealthy, rt.Health().State)
		assert.Zero(t, spare.Closes.Load()+spare.IdleCloses.Load(), "the fallback is not ours to close")
	})
}

// A policy that says "not in my lifetime" leaves the fallback to serve, also where an
// interval is taken several times.
func TestTheLongestIntervalLeavesTheFallbackAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := testkit.Dead(testkit.ConnReset())
		rt := start(t, base, respawn.WithFallback(&testkit.Stub{}), every(math.MaxInt64), respawn.WithFactory(testkit.Fails(errFactory).Make))
		post := func() {
			_, _ = testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", strings.NewReader(payload)))
		}
		for range 10 {
			post()
		}
		once := base.Calls.Load()
		for range 20 {
			time.Sleep(time.Minute)
			post()
		}
		assert.Equal(t, once, base.Calls.Load())
	})
}
