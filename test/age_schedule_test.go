package test

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// Generations are replaced by age: each within a tenth of WithMaxAge, and the next
// one counts from the swap.
func TestAgeReplacesGenerationAfterGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const age = time.Minute
		p := testkit.NewProbe(t)
		last := time.Now()
		var apart []time.Duration
		base := &testkit.Stub{}
		rt := start(t, base, append(observed(p), respawn.WithMaxAge(age), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			apart = append(apart, time.Since(last))
			last = time.Now()
			return &testkit.Stub{}, nil
		}))...)
		for range 6000 {
			status, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			require.Equal(t, 200, status)
			time.Sleep(100 * time.Millisecond)
		}
		assert.GreaterOrEqual(t, len(apart), 9)
		for _, d := range apart {
			assert.InDelta(t, age.Seconds(), d.Seconds(), age.Seconds()*0.1)
		}
		assert.Equal(t, map[string]int{"max_age promoted": len(apart)}, p.Outcomes())
		assert.EqualValues(t, 1, base.Closes.Load(), "the first generation was retired")
	})
}

// The jitter is a tenth, exactly, drawn once per generation.
func TestAgeIsJitteredByATenth(t *testing.T) {
	for draw, at := range map[float64]time.Duration{0: 54 * time.Second, 0.5: time.Minute, 1: 66 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			var made []time.Duration
			rt := start(t, &testkit.Stub{}, chance(func() float64 { return draw }),
				respawn.WithMaxAge(time.Minute), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
					made = append(made, time.Since(begin))
					return &testkit.Stub{}, nil
				}))
			time.Sleep(70 * time.Second)
			synctest.Wait()
			assert.Equal(t, []time.Duration{at}, made)
			assert.EqualValues(t, 2, rt.Health().Generation, "with nobody there to prove it")
		})
	}
}

// A transport that is replaced by age is proven by a copy while something is in
// flight, and a bad one costs nobody a request. The next one is due an interval
// after the end of WithRecreateTimeout.
func TestAgeCostsNobodyARequestWhenTheFreshTransportIsBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		begin := time.Now()
		var made []time.Duration
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			made = append(made, time.Since(begin))
			if call < 3 {
				return testkit.Dead(testkit.Refused()), nil
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, &testkit.Stub{}, append(observed(p), chance(func() float64 { return 0.5 }), respawn.WithMaxAge(time.Minute),
			every(5*time.Second), respawn.WithFactory(f.Make))...)
		stream, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://stream.test/", nil))
		require.NoError(t, err)
		for range 900 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait() // it is 90 s, and the third is ready
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, []time.Duration{60 * time.Second, 75 * time.Second, 90 * time.Second}, made)
		assert.Equal(t, map[string]int{"max_age rejected": 2, "max_age promoted": 1}, p.Outcomes())
		assert.EqualValues(t, 2, rt.Health().Generation)
		require.NoError(t, stream.Body.Close())
	})
}

// The longest duration that there is means never, whatever is drawn: nothing
// overflows.
func TestAnAgeOfAllTimeIsNever(t *testing.T) {
	for _, draw := range []float64{0, 0.5, rand.Float64(), 1} {
		synctest.Test(t, func(t *testing.T) {
			f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
			rt := start(t, &testkit.Stub{}, chance(func() float64 { return draw }), respawn.WithMaxAge(math.MaxInt64), respawn.WithFactory(f.Make))
			for generation := range 2 { // each has an age of its own
				time.Sleep(60 * 365 * 24 * time.Hour)
				assert.EqualValues(t, generation, f.Calls.Load(), "drawn: %v", draw)
				require.NoError(t, rt.Recreate(t.Context()))
			}
		})
	}
}
