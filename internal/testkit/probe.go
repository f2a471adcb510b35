package testkit

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// A Probe is the telemetry of one client, in memory.
type Probe struct {
	t       testing.TB
	spans   *tracetest.SpanRecorder
	tracers *sdktrace.TracerProvider
	reader  *sdkmetric.ManualReader
	meters  *sdkmetric.MeterProvider

	mu   sync.Mutex
	logs []LogRecord
}

// A LogRecord is a record that a Probe's logger was given, with the context it
// came with and its own attributes by key.
type LogRecord struct {
	slog.Record
	Context context.Context
	Attrs   map[string]any
}

// NewProbe returns an empty Probe, which fails t where telemetry cannot be read.
func NewProbe(t testing.TB) *Probe {
	p := &Probe{t: t, spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	p.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p.spans))
	p.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(p.reader))
	return p
}

// TracerProvider returns the provider whose spans Spans returns.
func (p *Probe) TracerProvider() trace.TracerProvider { return p.tracers }

// MeterProvider returns the provider whose metrics Metric returns.
func (p *Probe) MeterProvider() metric.MeterProvider { return p.meters }

// Logger returns a logger, enabled at every level, whose records Logs returns.
func (p *Probe) Logger() *slog.Logger { return slog.New(probeHandler{p}) }

// Spans returns the spans that have ended.
func (p *Probe) Spans() []sdktrace.ReadOnlySpan { return p.spans.Ended() }

// Recreations returns the spans that have ended, and fails the test if one
// that was started has not.
func (p *Probe) Recreations() []sdktrace.ReadOnlySpan {
	p.t.Helper()
	ended, started := p.spans.Ended(), p.spans.Started()
	if len(ended) != len(started) {
		p.t.Fatalf("%d of %d spans that were started have not ended", len(started)-len(ended), len(started))
	}
	return ended
}

// Outcomes counts the spans by trigger and outcome, as in
// "connection_refused promoted".
func (p *Probe) Outcomes() map[string]int {
	p.t.Helper()
	n := map[string]int{}
	for _, s := range p.Recreations() {
		a := Attributes(s.Attributes())
		trigger, _ := a["respawn.trigger"].(string)
		outcome, _ := a["respawn.outcome"].(string)
		n[trigger+" "+outcome]++
	}
	return n
}

// Metrics collects all metrics.
func (p *Probe) Metrics() metricdata.ResourceMetrics {
	p.t.Helper()
	var rm metricdata.ResourceMetrics
	if err := p.reader.Collect(context.Background(), &rm); err != nil {
		p.t.Fatalf("collecting metrics: %v", err)
	}
	return rm
}

// Metric collects and returns the named metric, which is empty where there is
// none.
func (p *Probe) Metric(name string) metricdata.Metrics {
	p.t.Helper()
	for _, sm := range p.Metrics().ScopeMetrics {
		for _, m := range sm.Metrics {
			if m.Name == name {
				return m
			}
		}
	}
	return metricdata.Metrics{}
}

// Total returns the sum over all points of an integer counter or gauge.
func (p *Probe) Total(name string) int64 {
	p.t.Helper()
	var points []metricdata.DataPoint[int64]
	switch data := p.Metric(name).Data.(type) {
	case metricdata.Sum[int64]:
		points = data.DataPoints
	case metricdata.Gauge[int64]:
		points = data.DataPoints
	}
	var n int64
	for _, pt := range points {
		n += pt.Value
	}
	return n
}

// Logs returns the records for which keep says yes; all, if it is nil.
func (p *Probe) Logs(keep func(LogRecord) bool) []LogRecord {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []LogRecord
	for _, r := range p.logs {
		if keep == nil || keep(r) {
			found = append(found, r)
		}
	}
	return found
}

// Logged returns the records whose message contains part.
func (p *Probe) Logged(part string) []LogRecord {
	return p.Logs(func(r LogRecord) bool { return strings.Contains(r.Message, part) })
}

// Warnings returns the records at slog.LevelWarn.
func (p *Probe) Warnings() []LogRecord {
	return p.Logs(func(r LogRecord) bool { return r.Level == slog.LevelWarn })
}

// Attributes returns the attributes of a span or a point by key.
func Attributes(kvs []attribute.KeyValue) map[string]any {
	m := map[string]any{}
	for _, kv := range kvs {
		m[string(kv.Key)] = kv.Value.AsInterface()
	}
	return m
}

// A probeHandler is the slog.Handler of a Probe. It keeps a handler's methods off the Probe.
type probeHandler struct{ p *Probe }

func (h probeHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h probeHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h probeHandler) WithGroup(string) slog.Handler            { return h }

func (h probeHandler) Handle(ctx context.Context, r slog.Record) error {
	attrs := map[string]any{}
	r.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.Any(); return true })
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	h.p.logs = append(h.p.logs, LogRecord{r, ctx, attrs})
	return nil
}
