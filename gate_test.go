package respawn

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
	"go.opentelemetry.io/otel/metric/noop"
)

// An authority that nobody asks for any more does not keep the others off the
// healthy path.
func TestForgottenAuthorityFreesTheHealthyPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "gone.test" {
				return nil, refused()
			}
			return answer(req)
		})
		rt := start(t, base, WithReplay(ReplayNever), WithFactory(fresh))
		_, err := get(t.Context(), rt, "http://gone.test/")
		require.Error(t, err)
		require.True(t, rt.alert.Load())
		for range 3 {
			time.Sleep(time.Hour)
			_, err := get(t.Context(), rt, "http://well.test/")
			require.NoError(t, err)
		}
		assert.False(t, rt.alert.Load())
	})
}

// eagerMeters collects as soon as it can, as a periodic reader may.
type eagerMeters struct{ embedded.MeterProvider }

func (eagerMeters) Meter(string, ...metric.MeterOption) metric.Meter { return eagerMeter{} }

type eagerMeter struct{ noop.Meter }

func (eagerMeter) RegisterCallback(collect metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	return noop.Registration{}, collect(context.Background(), noop.Observer{})
}

func TestMetricsAreCollectedDuringNew(t *testing.T) {
	rt, err := New(&http.Transport{}, WithMeterProvider(eagerMeters{}))
	require.NoError(t, err)
	require.NoError(t, rt.Close())
}

// A stall that was not watched says nothing of how fast a candidate must be: one
// more is needed, or the trial could not win.
func TestOneStallIsNoMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := builds(func() http.RoundTripper { return &stub{delay: 10 * time.Millisecond} })
		rt := start(t, hole(), WithFactory(f.make), WithStallThreshold(1, 0))
		for range 2 {
			stallOnce(t, rt, "http://a.test/", 5*time.Second)
		}
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// A recreation that was called off says nothing: who waited for it makes the
// first trial.
func TestCalledOffIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{build: func(n int64, ctx context.Context) (http.RoundTripper, error) {
			if n == 1 {
				return hangs(ctx)
			}
			return &stub{}, nil
		}}
		rt := start(t, dead(refused()), WithFactory(f.make))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var recreate sync.WaitGroup
		recreate.Go(func() { assert.ErrorIs(t, rt.Recreate(ctx), context.DeadlineExceeded) })
		synctest.Wait()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		recreate.Wait()
	})
}

// A request that is in flight at Close gets its own error.
func TestInFlightAtCloseKeepsItsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := refused()
		base := dead(own)
		base.delay = time.Second
		rt := start(t, base, WithFactory(fresh))
		time.AfterFunc(500*time.Millisecond, func() { rt.Close() })
		_, err := get(t.Context(), rt, "http://a.test/")
		assert.Same(t, own, err)
		_, err = get(t.Context(), rt, "http://a.test/")
		assert.Same(t, ErrClosed, err)
	})
}
