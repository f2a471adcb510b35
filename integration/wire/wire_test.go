package wire

import (
	"encoding/hex"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

const respawnScope = "github.com/respawnhttp/respawn"

// TestOnTheWire lets a client meet a dead connection and then an upstream that is
// down, and reads what a backend is sent about it.
func TestOnTheWire(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			c, endpoint := startCollector(t, protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_SERVICE_NAME", "wire")
			t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
			traces, metrics, logs, send := exporters(t)
			s := newStage(t, traces, metrics, logs)
			stalled := s.blackhole()
			failed := s.outage()
			require.Eventually(t, func() bool { return c.generation() == 2 }, patience, 10*time.Millisecond)
			send()

			w := wire{t: t, collector: c}
			w.resources()
			w.scopes()
			port := w.promotion(stalled)
			w.rejection(failed, port)
			w.measured(stalled)
			w.logged(stalled, failed)
			w.documented()
		})
	}
}

// generation is the one in service by the latest gauge, and 0 before there was
// one.
func (c *collector) generation() (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.metrics {
		if points := m.is.GetGauge().GetDataPoints(); m.is.GetName() == "respawn.transport.generation" && len(points) > 0 {
			n = points[0].GetAsInt()
		}
	}
	return n
}

// A wire is what has come over it. Nobody sends any more.
type wire struct {
	t *testing.T
	*collector
}

func (w wire) resources() {
	w.t.Helper()
	for _, s := range w.spans {
		assert.Equal(w.t, "wire", plain(w.t, s.resource.GetAttributes())["service.name"])
	}
	for _, m := range w.metrics {
		assert.Equal(w.t, "wire", plain(w.t, m.resource.GetAttributes())["service.name"])
	}
	for _, l := range w.logs {
		assert.Equal(w.t, "wire", plain(w.t, l.resource.GetAttributes())["service.name"])
	}
}

// scopes asserts that respawn's own signals name who made them.
func (w wire) scopes() {
	w.t.Helper()
	spans, metrics := 0, 0
	for _, s := range w.spans {
		if s.scope.GetName() == respawnScope {
			spans++
			assert.Equal(w.t, respawn.Version, s.scope.GetVersion())
			assert.Equal(w.t, semconv.SchemaURL, s.schema)
			assert.Equal(w.t, "HTTP transport_recreation", s.is.GetName())
		}
	}
	for _, m := range w.metrics {
		if m.scope.GetName() == respawnScope {
			metrics++
			assert.Equal(w.t, respawn.Version, m.scope.GetVersion())
			assert.Equal(w.t, semconv.SchemaURL, m.schema)
			assert.True(w.t, strings.HasPrefix(m.is.GetName(), "respawn."), m.is.GetName())
		}
	}
	assert.GreaterOrEqual(w.t, spans, 2)
	assert.GreaterOrEqual(w.t, metrics, 8)
}

// trace returns the spans of one trace, by kind.
func (w wire) trace(id trace.TraceID) map[tracepb.Span_SpanKind][]*tracepb.Span {
	found := map[tracepb.Span_SpanKind][]*tracepb.Span{}
	for _, s := range w.spans {
		if trace.TraceID(s.is.GetTraceId()) == id {
			found[s.is.GetKind()] = append(found[s.is.GetKind()], s.is)
		}
	}
	return found
}

// request returns the CLIENT span, of the caller's own.
func (w wire) request(r tracedRequest) *tracepb.Span {
	w.t.Helper()
	spans := w.trace(r.span.TraceID())
	require.Len(w.t, spans[tracepb.Span_SPAN_KIND_CLIENT], 1, "one for all attempts")
	client := spans[tracepb.Span_SPAN_KIND_CLIENT][0]
	assert.Equal(w.t, r.span.SpanID(), trace.SpanID(client.GetParentSpanId()))
	return client
}

// recreations returns respawn's spans in one trace.
func (w wire) recreations(r tracedRequest) []*tracepb.Span {
	return w.trace(r.span.TraceID())[tracepb.Span_SPAN_KIND_INTERNAL]
}

// promotion asserts what was sent about the dead connection, and returns the
// upstream's port.
func (w wire) promotion(stalled []tracedRequest) (port any) {
	w.t.Helper()
	before, trial := stalled[:len(stalled)-1], stalled[len(stalled)-1]
	require.Len(w.t, before, 2, "the third stall trips, and its request asks the transport in service once more, and a fresh one beside it")

	client := w.request(trial)
	attributes := plain(w.t, client.GetAttributes())
	assert.Equal(w.t, int64(2), attributes["http.request.resend_count"], "the control and the trial")
	assert.Equal(w.t, int64(http.StatusOK), attributes["http.response.status_code"])
	assert.Equal(w.t, tracepb.Status_STATUS_CODE_UNSET, client.GetStatus().GetCode(), "to its caller all was well")

	require.Len(w.t, w.recreations(trial), 1)
	s := w.recreations(trial)[0]
	assert.Equal(w.t, "HTTP transport_recreation", s.GetName())
	assert.Equal(w.t, client.GetSpanId(), s.GetParentSpanId(), "child of the request that made the trial")
	assert.Equal(w.t, tracepb.Status_STATUS_CODE_UNSET, s.GetStatus().GetCode())
	assert.Empty(w.t, s.GetStatus().GetMessage())
	assert.Empty(w.t, s.GetEvents(), "nobody refused it")
	assert.Less(w.t, s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano())

	attributes = plain(w.t, s.GetAttributes())
	outage, _ := attributes["respawn.outage.duration"].(float64)
	assert.Greater(w.t, outage, 3.0, "three stalls of a second, and the control's")
	assert.Less(w.t, outage, patience.Seconds())
	port = attributes["server.port"]
	assert.IsType(w.t, int64(0), port)
	age, _ := attributes["respawn.transport.age"].(float64)
	assert.Greater(w.t, age, outage, "it was well before")
	delete(attributes, "respawn.outage.duration")
	delete(attributes, "respawn.transport.age")
	delete(attributes, "server.port")
	assert.Equal(w.t, map[string]any{
		"network.protocol.version":     "2",
		"respawn.name":                 "upstream",
		"respawn.trigger":              "stall",
		"respawn.outcome":              "promoted",
		"respawn.failure.count":        int64(4),
		"respawn.transport.generation": int64(2),
		"respawn.backoff.delay":        0.0,
		"server.address":               "127.0.0.1",
		"url.scheme":                   "https",
	}, attributes)

	var linked []string
	for _, link := range s.GetLinks() {
		linked = append(linked, hex.EncodeToString(link.GetTraceId())+hex.EncodeToString(link.GetSpanId()))
	}
	var want []string
	for _, r := range before {
		client := w.request(r)
		assert.Equal(w.t, tracepb.Status_STATUS_CODE_ERROR, client.GetStatus().GetCode())
		assert.NotContains(w.t, plain(w.t, client.GetAttributes()), "http.request.resend_count")
		assert.Empty(w.t, w.recreations(r))
		want = append(want, r.span.TraceID().String()+hex.EncodeToString(client.GetSpanId()))
	}
	assert.Equal(w.t, want, linked, "the requests that failed before, in the callers' traces")
	return port
}

// rejection asserts what was sent about the upstream that was down.
func (w wire) rejection(failed []tracedRequest, port any) {
	w.t.Helper()
	var trials []tracedRequest
	for _, r := range failed {
		if len(w.recreations(r)) > 0 {
			trials = append(trials, r)
		}
	}
	require.NotEmpty(w.t, trials)
	trial := trials[0]
	require.Len(w.t, w.recreations(trial), 1, "one request makes one trial")
	s := w.recreations(trial)[0]
	client := w.request(trial)
	assert.Equal(w.t, client.GetSpanId(), s.GetParentSpanId())
	assert.Equal(w.t, tracepb.Status_STATUS_CODE_ERROR, s.GetStatus().GetCode())
	assert.Empty(w.t, s.GetStatus().GetMessage(), "error texts can hold secrets")
	require.Len(w.t, s.GetEvents(), 1)
	refusal := s.GetEvents()[0]
	assert.Equal(w.t, "respawn.refusal", refusal.GetName())
	assert.Equal(w.t, map[string]any{
		"server.address": "127.0.0.1",
		"server.port":    port,
		"url.scheme":     "https",
		"error.type":     "connection_refused",
	}, plain(w.t, refusal.GetAttributes()))

	// The promotion shortly before takes the first interval, 500 ms ± 50 %.
	attributes := plain(w.t, s.GetAttributes())
	for key, within := range map[string][2]float64{"respawn.transport.age": {0, 2 * patience.Seconds()}, "respawn.backoff.delay": {0.25, 0.75}} {
		value, ok := attributes[key].(float64)
		assert.True(w.t, ok, "%s is a double", key)
		assert.GreaterOrEqual(w.t, value, within[0], key)
		assert.LessOrEqual(w.t, value, within[1], key)
		delete(attributes, key)
	}
	assert.NotContains(w.t, attributes, "respawn.outage.duration", "it lasts")
	failures, _ := attributes["respawn.failure.count"].(int64)
	assert.GreaterOrEqual(w.t, failures, int64(3))
	delete(attributes, "respawn.failure.count")
	assert.Contains(w.t, []any{"connection_refused", "connection_reset", "connection_closed"}, attributes["respawn.trigger"])
	delete(attributes, "respawn.trigger")
	assert.Equal(w.t, map[string]any{
		"respawn.name":                 "upstream",
		"respawn.outcome":              "rejected",
		"error.type":                   "connection_refused",
		"respawn.transport.generation": int64(2),
		"server.address":               "127.0.0.1",
		"server.port":                  port,
		"url.scheme":                   "https",
	}, attributes)
}

// measured asserts what was sent last of respawn's metrics.
func (w wire) measured(stalled []tracedRequest) {
	w.t.Helper()
	last := map[string]*metricspb.Metric{}
	for _, m := range w.metrics {
		if m.scope.GetName() == respawnScope {
			last[m.is.GetName()] = m.is
		}
	}
	for name, unit := range map[string]string{
		"respawn.transport.recreations": "{recreation}",
		"respawn.transport.failures":    "{failure}",
		"respawn.request.replays":       "{replay}",
	} {
		require.Contains(w.t, last, name)
		sum := last[name].GetSum()
		assert.Equal(w.t, unit, last[name].GetUnit())
		assert.True(w.t, sum.GetIsMonotonic(), name)
		counted := int64(0)
		for _, p := range sum.GetDataPoints() {
			counted += p.GetAsInt()
			assert.Equal(w.t, "upstream", plain(w.t, p.GetAttributes())["respawn.name"])
			assert.NotContains(w.t, plain(w.t, p.GetAttributes()), "server.address")
		}
		assert.Positive(w.t, counted, name)
	}
	require.Contains(w.t, last, "respawn.transport.generation")
	require.Len(w.t, last["respawn.transport.generation"].GetGauge().GetDataPoints(), 1)
	for _, name := range []string{"respawn.transport.in_flight", "respawn.transport.draining", "respawn.authority.tripped"} {
		require.Contains(w.t, last, name)
		sum := last[name].GetSum()
		assert.False(w.t, sum.GetIsMonotonic(), name)
		require.Len(w.t, sum.GetDataPoints(), 1, name)
		assert.IsType(w.t, &metricspb.NumberDataPoint_AsInt{}, sum.GetDataPoints()[0].GetValue())
	}

	bounds := []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}
	for _, name := range []string{"respawn.transport.recreation.duration", "respawn.recovery.duration"} {
		require.Contains(w.t, last, name)
		assert.Equal(w.t, "s", last[name].GetUnit())
		for _, p := range last[name].GetHistogram().GetDataPoints() {
			assert.Equal(w.t, bounds, p.GetExplicitBounds())
		}
	}
	trial := stalled[len(stalled)-1]
	recreation := w.recreations(trial)[0]
	var exemplars []string
	for _, p := range last["respawn.recovery.duration"].GetHistogram().GetDataPoints() {
		for _, e := range p.GetExemplars() {
			exemplars = append(exemplars, hex.EncodeToString(e.GetTraceId())+hex.EncodeToString(e.GetSpanId()))
		}
	}
	assert.Contains(w.t, exemplars, trial.span.TraceID().String()+hex.EncodeToString(recreation.GetSpanId()), "from the chart to the trace")
}

// logged asserts that what was logged leads to the trace, too.
func (w wire) logged(stalled, failed []tracedRequest) {
	w.t.Helper()
	trial, back := stalled[len(stalled)-1], failed[len(failed)-1]
	trip := w.log("respawn: tripped, a fresh transport will be tried", trial)
	assert.Equal(w.t, logspb.SeverityNumber_SEVERITY_NUMBER_INFO, trip.GetSeverityNumber(), "a false alarm pages nobody")
	attributes := plain(w.t, trip.GetAttributes())
	assert.Equal(w.t, "stall", attributes["respawn.trigger"])
	assert.Equal(w.t, int64(3), attributes["respawn.failure.count"])
	swap := w.log("respawn: a fresh transport is in service", trial)
	assert.Equal(w.t, logspb.SeverityNumber_SEVERITY_NUMBER_WARN, swap.GetSeverityNumber())
	assert.Equal(w.t, w.recreations(trial)[0].GetSpanId(), swap.GetSpanId(), "with the span's context")

	for _, r := range []tracedRequest{trial, back} {
		recovered := w.log("respawn: recovered", r)
		assert.Equal(w.t, logspb.SeverityNumber_SEVERITY_NUMBER_INFO, recovered.GetSeverityNumber())
		assert.IsType(w.t, 0.0, plain(w.t, recovered.GetAttributes())["respawn.outage.duration"], "seconds")
	}
	i := slices.IndexFunc(failed, func(r tracedRequest) bool { return len(w.recreations(r)) > 0 })
	rejected := w.log("respawn: fresh transport rejected, the current one stays", failed[i])
	assert.Equal(w.t, logspb.SeverityNumber_SEVERITY_NUMBER_WARN, rejected.GetSeverityNumber())
	assert.Equal(w.t, w.recreations(failed[i])[0].GetSpanId(), rejected.GetSpanId(), "with the span's context")
}

// log returns the one record with that text in the request's trace.
func (w wire) log(text string, r tracedRequest) *logspb.LogRecord {
	w.t.Helper()
	var found []*logspb.LogRecord
	for _, l := range w.logs {
		if l.is.GetBody().GetStringValue() == text && hex.EncodeToString(l.is.GetTraceId()) == r.span.TraceID().String() {
			found = append(found, l.is)
		}
	}
	require.Len(w.t, found, 1, strconv.Quote(text))
	return found[0]
}

// documented asserts that whatever has come of respawn's has a row in a table.
func (w wire) documented() {
	w.t.Helper()
	text, err := os.ReadFile("../../docs/observability.md")
	require.NoError(w.t, err)
	explained := func(name string) {
		w.t.Helper()
		row := regexp.MustCompile("(?m)^\\| [^|]*`" + regexp.QuoteMeta(name) + "`")
		assert.True(w.t, row.Match(text), "docs/observability.md does not explain %s", name)
	}
	for _, s := range w.spans {
		if s.scope.GetName() == respawnScope {
			for _, a := range s.is.GetAttributes() {
				explained(a.GetKey())
			}
		}
	}
	for _, m := range w.metrics {
		if m.scope.GetName() == respawnScope {
			explained(m.is.GetName())
		}
	}
	for _, l := range w.logs {
		if message := l.is.GetBody().GetStringValue(); strings.HasPrefix(message, "respawn: ") {
			explained(message)
		}
	}
}
