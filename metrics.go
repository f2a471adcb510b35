package respawn

import (
	"context"
	"errors"
	"runtime"
	"weak"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// meters are the instruments of one client.
type meters struct {
	recreations        metric.Int64Counter
	failures           metric.Int64Counter
	replays            metric.Int64Counter
	recreationDuration metric.Float64Histogram
	recoveryDuration   metric.Float64Histogram
	gauges             metric.Registration
	dropped            runtime.Cleanup // ends the gauges of a client that was dropped without Close
}

// open makes the instruments. name is on what is observed, not recorded.
func (m *meters) open(rt *RecoveringRoundTripper, name metric.MeasurementOption) error {
	provider := rt.cfg.MeterProvider
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter(scopeName, metric.WithInstrumentationVersion(Version), metric.WithSchemaURL(semconv.SchemaURL))

	var errs [9]error
	m.recreations, errs[0] = meter.Int64Counter("respawn.transport.recreations",
		metric.WithUnit("{recreation}"), metric.WithDescription("Recreations of the transport, by trigger and outcome."))
	m.failures, errs[1] = meter.Int64Counter("respawn.transport.failures",
		metric.WithUnit("{failure}"), metric.WithDescription("Attempts whose error spoke against the transport in service."))
	m.replays, errs[2] = meter.Int64Counter("respawn.request.replays",
		metric.WithUnit("{replay}"), metric.WithDescription("Times that a request, or a copy of it, was sent again."))
	bounds := metric.WithExplicitBucketBoundaries(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
	m.recreationDuration, errs[3] = meter.Float64Histogram("respawn.transport.recreation.duration",
		metric.WithUnit("s"), metric.WithDescription("Time from the start of a recreation to its promotion or rejection."), bounds)
	m.recoveryDuration, errs[4] = meter.Float64Histogram("respawn.recovery.duration",
		metric.WithUnit("s"), metric.WithDescription("Time from an outage's first failure to its first success."), bounds)

	var generation, inFlight, draining metric.Int64ObservableGauge
	generation, errs[5] = meter.Int64ObservableGauge("respawn.transport.generation",
		metric.WithUnit("{generation}"), metric.WithDescription("Number of the transport generation in service."))
	inFlight, errs[6] = meter.Int64ObservableGauge("respawn.transport.in_flight",
		metric.WithUnit("{request}"), metric.WithDescription("Requests in flight, those on draining generations included."))
	draining, errs[7] = meter.Int64ObservableGauge("respawn.transport.draining",
		metric.WithUnit("{generation}"), metric.WithDescription("Retired generations that still have requests in flight."))
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	client := weak.Make(rt) // the provider lives on
	m.gauges, errs[8] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		rt := client.Value()
		if rt == nil {
			return nil
		}
		h := rt.Health()
		o.ObserveInt64(generation, int64(h.Generation), name)
		o.ObserveInt64(inFlight, h.InFlight, name)
		o.ObserveInt64(draining, int64(h.Draining), name)
		return nil
	}, generation, inFlight, draining)
	// Unregister waits for the provider, and the next cleanup for this one.
	m.dropped = runtime.AddCleanup(rt, func(r metric.Registration) { go unregister(r) }, m.gauges)
	return errs[8]
}

// close ends the gauges.
func (m *meters) close() {
	m.dropped.Stop()
	unregister(m.gauges)
}

// unregister ends gauges. Whether the provider could do so, or panicked, is nothing
// that anybody can do anything about.
func unregister(r metric.Registration) {
	defer func() { _ = recover() }()
	_ = r.Unregister()
}
