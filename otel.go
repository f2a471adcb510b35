package respawn

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/gate"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/hook"
	"github.com/respawnhttp/respawn/internal/names"
)

const (
	scopeName = "github.com/respawnhttp/respawn"
	spanName  = "HTTP transport_recreation" // as semconv's .NET "HTTP connection_setup"

	keyName       = attribute.Key("respawn.name")
	keyTrigger    = attribute.Key("respawn.trigger")
	keyOutcome    = attribute.Key("respawn.outcome")
	keyFailures   = attribute.Key("respawn.failure.count")
	keyGeneration = attribute.Key("respawn.transport.generation")
	keyAge        = attribute.Key("respawn.transport.age")
	keyDelay      = attribute.Key("respawn.backoff.delay")
	keyOutage     = attribute.Key("respawn.outage.duration")
	keyEndedBy    = attribute.Key("respawn.outage.ended_by")
)

// telemetry reports what happened. None of it runs on the healthy path. It
// reports only the kind of an error and only the authority of a request: error texts can
// hold URLs and credentials.
type telemetry struct {
	name   attribute.KeyValue
	traces trace.TracerProvider // nil: resolved per recreation
	logger *slog.Logger         // nil: slog.Default at the time
	hook   func(context.Context, any)
	hooked hook.Queue

	meters

	records  *records
	promoted context.Context // the latest promotion's; only Tell uses it
	unname   func()          // gives the client's name back
}

func newTelemetry(rt *RecoveringRoundTripper) (*telemetry, error) {
	t := &telemetry{
		name:   keyName.String(rt.cfg.Name),
		traces: rt.cfg.TracerProvider,
		logger: rt.cfg.Logger, hook: rt.cfg.OnRecreation, records: &rt.records,
	}
	if err := t.open(rt, t.name); err != nil {
		return nil, err
	}
	shared := false
	if t.unname, shared = names.Claim(rt.cfg.Names, rt, rt.cfg.Name); shared {
		build.Safely(t.nameShared) // the logger is the user's
	}
	return t, nil
}

// tracer resolves the provider anew each time. The request's own provider comes first, so
// that the span goes where the rest of the request's trace goes.
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

// Begin implements [gate.Listener]: the span is open while the factory is at work.
func (t *telemetry) Begin(r *gate.Recreation) context.Context {
	parent := trace.SpanContextFromContext(r.Ctx)
	opts := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindInternal),
		trace.WithTimestamp(r.Start),
		trace.WithAttributes(t.name, keyTrigger.String(r.Trigger), keyFailures.Int(r.Need.Failures),
			keyDelay.Float64(r.Delay.Seconds())),
		trace.WithAttributes(authorityAttributes(r.Need.Authority)...),
	}
	for _, w := range r.Need.Witnesses {
		if sc := w.(*trace.SpanContext); !sc.Equal(parent) {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: *sc}))
		}
	}
	ctx, span := t.tracer(r.Ctx).Start(r.Ctx, spanName, opts...)
	if ctx == nil || span == nil {
		return r.Ctx // as of a tracer that panics: the recreation goes on without a span
	}
	r.Seen = sight(span)
	return ctx
}

// Tell implements [gate.Listener].
func (t *telemetry) Tell(told gate.Told) {
	switch told.What {
	case core.HasTripped:
		t.tripped(told)
	case core.HasRecovered, core.WasForgotten:
		t.recovered(told)
	case core.HasRefused:
		t.refused(told)
	case core.WasPromoted, core.WasRejected:
		t.ended(told)
	}
}

// Drained implements [gate.Listener].
func (t *telemetry) Drained(g *generation.Generation) { t.records.drained(g) }

// Lingers implements [gate.Listener].
func (t *telemetry) Lingers(draining []gate.Retired) {
	t.log(context.Background(), slog.LevelWarn, "respawn: replaced transports drain for minutes: are response bodies read to their end or closed?",
		slog.Int("respawn.transport.draining", len(draining)), slog.Time("respawn.draining.since", draining[0].Since))
}

// nameShared warns that another open client has the same name.
func (t *telemetry) nameShared() {
	t.log(context.Background(), slog.LevelWarn, "respawn: another client has the same name, so telemetry and health cannot tell them apart: see WithName")
}

// pingless logs that base speaks HTTP/2 and sends no pings.
func (t *telemetry) pingless() {
	t.log(context.Background(), slog.LevelInfo, "respawn: base sends no HTTP/2 pings, so a dead connection shows only in requests that wait on it: see HTTP2.SendPingTimeout, or NewTransport")
}

// pingsLost logs that base's settings of golang.org/x/net/http2 are not carried over.
func (t *telemetry) pingsLost() {
	t.log(context.Background(), slog.LevelInfo, "respawn: base's settings of golang.org/x/net/http2 cannot be carried over: fresh transports send HTTP/2 pings as NewTransport does",
		slog.Float64("respawn.ping.interval", build.PingAfter.Seconds()), slog.Float64("respawn.ping.timeout", build.PingTimeout.Seconds()))
}

// Broke implements [gate.Listener]. The value of the panic may hold anything, and is not
// logged.
func (t *telemetry) Broke(g *generation.Generation, method string) {
	t.log(context.Background(), slog.LevelWarn, "respawn: a replaced transport panicked in "+method,
		slog.Uint64(string(keyGeneration), g.Number))
}

// Note implements [gate.Listener]. It comes before Tell, so that whoever hears of a
// verdict finds its record.
func (t *telemetry) Note(told gate.Told) { t.records.note(told) }

// tripped logs a trip, at Info: it may be a false alarm, which should page nobody. It also
// makes the counters of the host exist, before a logger that blocks can keep the host from
// its name: a host that is silent counts nothing else before its recreation ends.
func (t *telemetry) tripped(told gate.Told) {
	defer t.log(told.Ctx, slog.LevelInfo, "respawn: tripped, a fresh transport will be tried",
		append(authorityLog(told.About.Authority),
			slog.String(string(keyTrigger), told.About.Trigger),
			slog.Int(string(keyFailures), told.About.Failures),
			slog.Uint64(string(keyGeneration), told.Generation))...)
	t.meet(told.About.Authority)
}

// recovered reports the end of an outage, which is its first answer. If the answer came on
// a fresh transport, the report belongs to the promotion's trace.
func (t *telemetry) recovered(told gate.Told) {
	a := told.About
	if a.Authority == (core.Authority{}) || told.What == core.WasForgotten {
		return // an outage of the client: its swap was reported; or a forgotten one: nothing was answered
	}
	ctx := told.Ctx
	if a.State == core.Healing && t.promoted != nil {
		ctx = t.promoted
	}
	outage := told.Over.Sub(a.Since).Seconds()
	defer t.log(ctx, slog.LevelInfo, "respawn: recovered",
		append(authorityLog(a.Authority), slog.String(string(keyTrigger), a.Trigger),
			slog.Float64(string(keyOutage), outage), slog.String(string(keyEndedBy), told.Kind))...)
	t.recoveryDuration.Record(ctx, outage, t.measured(a.Authority, keyTrigger.String(a.Trigger)))
}

// refused adds one authority's refusal to the recreation's span, as an event.
func (t *telemetry) refused(told gate.Told) {
	attrs := append(authorityAttributes(told.About.Authority), semconv.ErrorTypeKey.String(told.Kind))
	spanOf(told.Recreation).AddEvent("respawn.refusal", trace.WithTimestamp(told.At), trace.WithAttributes(attrs...))
}

// spanOf returns the recreation's span; one that records nothing if there is none.
func spanOf(r *gate.Recreation) trace.Span {
	if s, ok := r.Seen.(sighting); ok {
		return s.span
	}
	return trace.SpanFromContext(context.Background())
}

// ended ends the recreation's span, counts the recreation and logs it. Note has recorded
// it already.
func (t *telemetry) ended(told gate.Told) {
	r, record := told.Recreation, t.records.traced(told)
	about, _ := whose(told)
	outcome := keyOutcome.String(string(record.Outcome))
	attrs := []attribute.KeyValue{keyTrigger.String(string(record.Trigger)), outcome}
	span := spanOf(r)
	// These are the user's, and one that panics, or ends its goroutine, does not take the
	// others along. They are called from the last to the first.
	defer t.tellHook(r.Ctx, record)
	defer t.logEnd(told, record, about.Authority)
	defer span.End(trace.WithTimestamp(told.At))
	if told.What == core.WasRejected {
		attrs = append(attrs, semconv.ErrorTypeKey.String(told.Kind))
		defer span.SetStatus(codes.Error, "")
	} else {
		t.promoted = r.Ctx
	}
	defer func() {
		t.recreationDuration.Record(r.Ctx, record.Duration.Seconds(), t.measured(about.Authority, attrs...))
	}()
	defer func() { t.recreations.Add(r.Ctx, 1, t.measured(about.Authority, outcome)) }()
	span.SetAttributes(append(describe(told, record), attrs...)...)
}

// tellHook has the user's hook called, on a goroutine of the hook's own.
func (t *telemetry) tellHook(ctx context.Context, record RecreationRecord) {
	if t.hook != nil {
		ctx = context.WithoutCancel(ctx) // the build's context has ended
		t.hooked.Add(func() { t.hook(ctx, record) })
	}
}

// logEnd warns of a swap or a rejection. A planned swap, a false alarm and a recreation
// that was called off are logged at Info.
func (t *telemetry) logEnd(told gate.Told, record RecreationRecord, a core.Authority) {
	attrs := append(authorityLog(a),
		slog.String(string(keyTrigger), string(record.Trigger)), slog.Uint64(string(keyGeneration), record.Generation))
	level, msg := slog.LevelWarn, "respawn: a fresh transport is in service"
	if told.What == core.WasRejected {
		msg = "respawn: fresh transport rejected, the current one stays"
		if told.Generation == 0 {
			msg = "respawn: fresh transport rejected, there is none yet"
		}
		attrs = append(attrs, slog.String(string(semconv.ErrorTypeKey), told.Kind))
	}
	start := told.Recreation.Trigger == core.Start
	if told.What == core.WasPromoted && (told.Recreation.Planned || start) || slices.Contains(quiet, told.Kind) {
		level = slog.LevelInfo
	}
	if p, ok := told.Fault.(*build.PanicError); ok { // one that it wraps is another factory's
		attrs = append(attrs, slog.String("exception.stacktrace", p.Stack()))
	}
	t.log(told.Recreation.Ctx, level, msg, attrs...)
}

// quiet are the kinds of rejection that nobody has to look into: the transport in
// service was well, or the recreation was called off. Untried is not among them, since a
// host may still be down that nobody has asked for in the meantime.
var quiet = []string{core.CurrentRecovered, core.UpstreamSlow, core.Superseded, core.GivenUp, core.ClosedMeanwhile}

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
	return append(host{a.Host, a.PortNumber()}.attributes(), semconv.URLScheme(a.Scheme))
}

func authorityLog(a core.Authority) []slog.Attr {
	if a == (core.Authority{}) {
		return nil
	}
	attrs := []slog.Attr{slog.String(string(semconv.ServerAddressKey), a.Host)}
	if port := a.PortNumber(); port != 0 {
		attrs = append(attrs, slog.Int(string(semconv.ServerPortKey), port))
	}
	return attrs
}
