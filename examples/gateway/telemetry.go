package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

const serviceName = "respawn-gateway"

// A telemetry is all that the program reports with. None of it is global, so
// that two of them, or a test, never meet.
type telemetry struct {
	traces     *sdktrace.TracerProvider
	meters     *sdkmetric.MeterProvider
	logger     *slog.Logger
	metrics    http.Handler // for /metrics
	propagator propagation.TextMapPropagator
}

// A summary is where people read what happens.
type summary struct {
	spans sdktrace.SpanProcessor // where no OTEL_* variable sends them elsewhere; may be nil
	logs  slog.Handler
}

// newTelemetry exports traces to where the standard OTEL_* variables say, or to
// the summary, metrics to the metrics handler, and logs to the summary.
// Processors see all spans.
func newTelemetry(ctx context.Context, s summary, processors ...sdktrace.SpanProcessor) (*telemetry, error) {
	res, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName(serviceName)),
		resource.WithTelemetrySDK(), resource.WithFromEnv()) // the environment has the last word
	if err != nil {
		return nil, fmt.Errorf("cannot describe this service to OpenTelemetry, check OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &telemetry{
		logger:     slog.New(tracedHandler{s.logs}),
		propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
	}
	if err := errors.Join(t.setUpTraces(res, s.spans, processors), t.setUpMetrics(res)); err != nil {
		return nil, errors.Join(err, t.shutdown(ctx))
	}
	return t, nil
}

func (t *telemetry) setUpTraces(res *resource.Resource, unset sdktrace.SpanProcessor, processors []sdktrace.SpanProcessor) error {
	exporter, err := otlpFromEnvironment()
	if err != nil {
		return err
	}
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	if exporter != nil {
		opts = append(opts, sdktrace.WithBatcher(exporter))
	} else if unset != nil {
		processors = append(processors, unset)
	}
	for _, p := range processors {
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	t.traces = sdktrace.NewTracerProvider(opts...)
	return nil
}

func (t *telemetry) setUpMetrics(res *resource.Resource) error {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return fmt.Errorf("cannot export metrics: %w", err)
	}
	t.metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}) // which carries exemplars
	t.meters = sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithReader(exporter))
	return nil
}

// shutdown sends what is still on its way, for as long as ctx allows.
func (t *telemetry) shutdown(ctx context.Context) error {
	var errs []error
	if t.traces != nil {
		errs = append(errs, t.traces.Shutdown(ctx))
	}
	if t.meters != nil {
		errs = append(errs, t.meters.Shutdown(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot flush telemetry: %w", err)
	}
	return nil
}
