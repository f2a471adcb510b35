package respawn

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/streak"
)

const (
	scopeName = "github.com/respawnhttp/respawn"
	spanName  = "HTTP transport_recreation" // as semconv's .NET "HTTP connection_setup"

	keyName       = attribute.Key("respawn.name")
	keyTrigger    = attribute.Key("respawn.trigger")
	keyOutcome    = attribute.Key("respawn.outcome")
	keyFailures   = attribute.Key("respawn.failure.count")
	keyGeneration = attribute.Key("respawn.transport.generation")
	keyDelay      = attribute.Key("respawn.backoff.delay")
	keyOutage     = attribute.Key("respawn.outage.duration")

	outcomePromoted = "promoted"
	outcomeRejected = "rejected"
)

// telemetry says what happened. Nothing of it runs on the healthy path, and
// nothing of an error or a request but its kind and its authority gets in:
// error texts can hold URLs and credentials.
type telemetry struct {
	name   attribute.KeyValue
	traces trace.TracerProvider // nil: resolved per recreation
	logger *slog.Logger         // nil: slog.Default at the time

	recreations        metric.Int64Counter
	failures           metric.Int64Counter
	replays            metric.Int64Counter
	recreationDuration metric.Float64Histogram
	recoveryDuration   metric.Float64Histogram
	gauges             metric.Registration
}

func newTelemetry(rt *RecoveringRoundTripper) (*telemetry, error) {
	t := &telemetry{
		name:   keyName.String(rt.cfg.Name),
		traces: rt.cfg.TracerProvider,
		logger: rt.cfg.Logger,
	}
	provider := rt.cfg.MeterProvider
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	m := provider.Meter(scopeName, metric.WithInstrumentationVersion(Version), metric.WithSchemaURL(semconv.SchemaURL))

	var errs [9]error
	t.recreations, errs[0] = m.Int64Counter("respawn.transport.recreations",
		metric.WithUnit("{recreation}"), metric.WithDescription("Recreations of the transport, by trigger and outcome."))
	t.failures, errs[1] = m.Int64Counter("respawn.transport.failures",
		metric.WithUnit("{failure}"), metric.WithDescription("Attempts whose error spoke against the transport in service."))
	t.replays, errs[2] = m.Int64Counter("respawn.request.replays",
		metric.WithUnit("{replay}"), metric.WithDescription("Requests sent again after a failed attempt."))
	bounds := metric.WithExplicitBucketBoundaries(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
	t.recreationDuration, errs[3] = m.Float64Histogram("respawn.transport.recreation.duration",
		metric.WithUnit("s"), metric.WithDescription("Time from the start of a recreation to its promotion or rejection."), bounds)
	t.recoveryDuration, errs[4] = m.Float64Histogram("respawn.recovery.duration",
		metric.WithUnit("s"), metric.WithDescription("Time from an outage's first failure to its first success."), bounds)

	var generation, inFlight, draining metric.Int64ObservableGauge
	generation, errs[5] = m.Int64ObservableGauge("respawn.transport.generation",
		metric.WithUnit("{generation}"), metric.WithDescription("Number of the transport generation in service."))
	inFlight, errs[6] = m.Int64ObservableGauge("respawn.transport.in_flight",
		metric.WithUnit("{request}"), metric.WithDescription("Requests in flight, those on draining generations included."))
	draining, errs[7] = m.Int64ObservableGauge("respawn.transport.draining",
		metric.WithUnit("{generation}"), metric.WithDescription("Retired generations that still have requests in flight."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	t.gauges, errs[8] = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		h := rt.Health()
		set := metric.WithAttributes(t.name)
		o.ObserveInt64(generation, int64(h.Generation), set)
		o.ObserveInt64(inFlight, h.InFlight, set)
		o.ObserveInt64(draining, int64(h.Draining), set)
		return nil
	}, generation, inFlight, draining)
	return t, errs[8]
}

// close ends the gauges, which would keep the client in memory. Whether the
// provider could do so is nothing that a caller of Close can do anything about.
func (t *telemetry) close() { _ = t.gauges.Unregister() }

// tracer resolves the provider anew: the request's own, if there is one, leads
// where the rest of the request's trace is.
func (t *telemetry) tracer(ctx context.Context) trace.Tracer {
	provider := t.traces
	if provider == nil {
		if span := trace.SpanFromContext(ctx); span.SpanContext().IsValid() {
			provider = span.TracerProvider()
		} else {
			provider = otel.GetTracerProvider()
		}
	}
	return provider.Tracer(scopeName, trace.WithInstrumentationVersion(Version), trace.WithSchemaURL(semconv.SchemaURL))
}

func (t *telemetry) startSpan(r *recreation) (context.Context, trace.Span) {
	parent := trace.SpanContextFromContext(r.ctx)
	opts := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindInternal),
		trace.WithTimestamp(r.start),
		trace.WithAttributes(t.name, keyTrigger.String(r.trigger), keyFailures.Int(r.failures),
			keyDelay.Float64(r.delay.Seconds())),
		trace.WithAttributes(authorityAttributes(r.authority)...),
	}
	for _, sc := range r.links {
		if !sc.Equal(parent) {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: sc}))
		}
	}
	return t.tracer(r.ctx).Start(r.ctx, spanName, opts...)
}

// settled ends the recreation's span, and counts and logs it.
func (t *telemetry) settled(r *recreation, now time.Time) {
	outcome, generation := outcomePromoted, r.generation
	attrs := []attribute.KeyValue{t.name, keyTrigger.String(r.trigger)}
	if r.err == nil {
		generation = r.candidate.Number
		attrs = append(attrs, keyOutcome.String(outcome))
	} else {
		outcome = outcomeRejected
		kind := semconv.ErrorTypeKey.String(evidence.ErrorType(r.err))
		attrs = append(attrs, keyOutcome.String(outcome), kind)
		r.span.SetAttributes(kind)
		r.span.SetStatus(codes.Error, "")
	}
	r.span.SetAttributes(keyOutcome.String(outcome), keyGeneration.Int64(int64(generation)))
	r.span.SetAttributes(authorityAttributes(r.authority)...) // the trial may have been another's
	r.span.SetAttributes(keyTrigger.String(r.trigger), keyFailures.Int(r.failures))
	if !r.since.IsZero() {
		r.span.SetAttributes(keyOutage.Float64(now.Sub(r.since).Seconds()))
	}

	set := metric.WithAttributes(attrs...)
	t.recreations.Add(r.ctx, 1, set)
	t.recreationDuration.Record(r.ctx, now.Sub(r.start).Seconds(), set)
	if r.err != nil {
		t.logRejection(r)
	} else if r.trigger == evidence.TriggerEnded {
		// The trip of an ended transport and its outcome are one event.
		t.log(r.ctx, slog.LevelWarn, "respawn: the transport had ended and was replaced",
			append(authorityLog(r.authority), slog.Uint64(string(keyGeneration), generation))...)
	}
	r.span.End(trace.WithTimestamp(now))
}

func (t *telemetry) logRejection(r *recreation) {
	attrs := append(authorityLog(r.authority),
		slog.String(string(keyTrigger), r.trigger),
		slog.String(string(semconv.ErrorTypeKey), evidence.ErrorType(r.err)),
		slog.Uint64(string(keyGeneration), r.generation),
	)
	if p, ok := errors.AsType[*build.PanicError](r.err); ok {
		attrs = append(attrs, slog.String("exception.stacktrace", p.Stack()))
	}
	t.log(r.ctx, slog.LevelWarn, "respawn: fresh transport rejected, the current one stays", attrs...)
}

func (t *telemetry) tripped(ctx context.Context, s *streak.Streak, generation uint64) {
	t.log(ctx, slog.LevelWarn, "respawn: tripped, a fresh transport will be tried",
		append(authorityLog(s.Authority),
			slog.String(string(keyTrigger), s.Trigger),
			slog.Int(string(keyFailures), max(s.Failures, s.Stalls)),
			slog.Uint64(string(keyGeneration), generation))...)
}

func (t *telemetry) failed(ctx context.Context, trigger string) {
	t.failures.Add(ctx, 1, metric.WithAttributes(t.name, keyTrigger.String(trigger)))
}

// recovered is the end of an outage: its first success.
func (t *telemetry) recovered(ctx context.Context, s *streak.Streak, now time.Time) {
	outage := now.Sub(s.Since).Seconds()
	t.recoveryDuration.Record(ctx, outage, metric.WithAttributes(t.name, keyTrigger.String(s.Trigger)))
	t.log(ctx, slog.LevelInfo, "respawn: recovered",
		append(authorityLog(s.Authority),
			slog.String(string(keyTrigger), s.Trigger),
			slog.Float64(string(keyOutage), outage))...)
}

// resent counts a replay, and says so on the request's own span if that is a
// CLIENT span: http.request.resend_count is defined for those.
func (t *telemetry) resent(ctx context.Context, n int) {
	t.replays.Add(ctx, 1, metric.WithAttributes(t.name))
	span := trace.SpanFromContext(ctx)
	if k, ok := span.(interface{ SpanKind() trace.SpanKind }); ok && k.SpanKind() == trace.SpanKindClient {
		span.SetAttributes(semconv.HTTPRequestResendCount(n))
	}
}

func (t *telemetry) log(ctx context.Context, level slog.Level, msg string, attrs ...slog.Attr) {
	logger := t.logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.LogAttrs(ctx, level, msg, append(attrs, slog.String(string(t.name.Key), t.name.Value.AsString()))...)
}

func authorityAttributes(a core.Authority) []attribute.KeyValue {
	if a == (core.Authority{}) {
		return nil
	}
	return []attribute.KeyValue{
		semconv.ServerAddress(a.Host), semconv.ServerPort(a.PortNumber()), semconv.URLScheme(a.Scheme),
	}
}

func authorityLog(a core.Authority) []slog.Attr {
	if a == (core.Authority{}) {
		return nil
	}
	return []slog.Attr{
		slog.String(string(semconv.ServerAddressKey), a.Host), slog.Int(string(semconv.ServerPortKey), a.PortNumber()),
	}
}
