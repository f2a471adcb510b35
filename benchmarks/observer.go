package main

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// An observer is what otelhttp reports to: the SDK as its documentation sets it
// up, but that the spans are dropped at the exporter.
type observer struct {
	tracers *sdktrace.TracerProvider
	meters  *sdkmetric.MeterProvider
}

func newObserver() *observer {
	return &observer{
		tracers: sdktrace.NewTracerProvider(sdktrace.WithBatcher(dropSpans{})),
		meters:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
	}
}

func (o *observer) wrap(base http.RoundTripper) http.RoundTripper {
	return otelhttp.NewTransport(base, otelhttp.WithTracerProvider(o.tracers), otelhttp.WithMeterProvider(o.meters))
}

func (o *observer) close() error {
	ctx := context.Background()
	return errors.Join(o.tracers.Shutdown(ctx), o.meters.Shutdown(ctx))
}

type dropSpans struct{}

func (dropSpans) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (dropSpans) Shutdown(context.Context) error                             { return nil }
