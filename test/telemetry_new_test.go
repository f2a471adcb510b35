package test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/respawnhttp/respawn"
)

// eagerMeters collects as soon as it can, as a periodic reader may.
type eagerMeters struct{ embedded.MeterProvider }

func (eagerMeters) Meter(string, ...metric.MeterOption) metric.Meter { return eagerMeter{} }

type eagerMeter struct{ noop.Meter }

func (eagerMeter) RegisterCallback(collect metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	return noop.Registration{}, collect(context.Background(), noop.Observer{})
}

func TestMetricsMayBeCollectedWhileNewRuns(t *testing.T) {
	rt, err := respawn.New(&http.Transport{}, respawn.WithMeterProvider(eagerMeters{}))
	require.NoError(t, err)
	require.NoError(t, rt.Close())
}
