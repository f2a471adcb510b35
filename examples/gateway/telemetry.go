package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
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
	logs       *sdklog.LoggerProvider // nil: logs go to the summary
}

// A summary is where people read what no OTEL_* variable sends elsewhere.
type summary struct {
	spans sdktrace.SpanProcessor // may be nil
	logs  slog.Handler
}

// newTelemetry exports traces, metrics and logs to where the standard OTEL_*
// variables say. Spans and logs that they say nothing about go to the summary,
// metrics always to the metrics handler as well. Processors see all spans.
func newTelemetry(ctx context.Context, s summary, processors ...sdktrace.SpanProcessor) (*telemetry, error) {
	res, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName(serviceName)),
		resource.WithTelemetrySDK(), resource.WithFromEnv()) // the environment has the last word
	if err != nil {
		return nil, fmt.Errorf("cannot describe this service to OpenTelemetry, check OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &telemetry{propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})}
	for _, setUp := range []func() error{
		func() error { return t.setUpTraces(ctx, res, s.spans, processors) },
		func() error { return t.setUpMetrics(ctx, res) },
		func() error { return t.setUpLogs(ctx, res, s.logs) },
	} {
		if err := setUp(); err != nil {
			return nil, errors.Join(err, t.shutdown(ctx))
		}
	}
	return t, nil
}

func (t *telemetry) setUpTraces(ctx context.Context, res *resource.Resource, unset sdktrace.SpanProcessor, processors []sdktrace.SpanProcessor) error {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	if exports("TRACES") {
		exporter, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return fmt.Errorf("cannot export traces, check OTEL_TRACES_EXPORTER: %w", err)
		}
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

func (t *telemetry) setUpMetrics(ctx context.Context, res *resource.Resource) error {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return fmt.Errorf("cannot export metrics: %w", err)
	}
	t.metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}) // which carries exemplars
	opts := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(exporter)}
	if exports("METRICS") {
		reader, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("cannot export metrics, check OTEL_METRICS_EXPORTER: %w", err)
		}
		opts = append(opts, sdkmetric.WithReader(reader))
	}
	t.meters = sdkmetric.NewMeterProvider(opts...)
	return nil
}

func (t *telemetry) setUpLogs(ctx context.Context, res *resource.Resource, unset slog.Handler) error {
	if !exports("LOGS") {
		t.logger = slog.New(unset)
		return nil
	}
	exporter, err := autoexport.NewLogExporter(ctx)
	if err != nil {
		return fmt.Errorf("cannot export logs, check OTEL_LOGS_EXPORTER: %w", err)
	}
	t.logs = sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)))
	t.logger = otelslog.NewLogger(serviceName, otelslog.WithLoggerProvider(t.logs))
	return nil
}

// exports reports whether the environment asks for a signal to be exported.
// autoexport alone would send to localhost when nothing is set.
func exports(signal string) bool {
	for _, name := range []string{"OTEL_" + signal + "_EXPORTER", "OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
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
	if t.logs != nil {
		errs = append(errs, t.logs.Shutdown(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot flush telemetry: %w", err)
	}
	return nil
}
