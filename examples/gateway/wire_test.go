package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A collector receives spans by OTLP over HTTP, in JSON, and keeps all of them.
type collector struct {
	mu       sync.Mutex
	messages []otlpMessage
	headers  []http.Header
}

func (c *collector) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var message otlpMessage
	d := json.NewDecoder(req.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&message); err != nil || req.URL.Path != "/v1/traces" {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	c.messages = append(c.messages, message)
	c.headers = append(c.headers, req.Header)
}

// TestOnTheWire runs the gateway as a user does, lets it meet a dead connection
// and then an upstream that is down, and reads what a backend is sent about it.
// What respawn itself reports is on the wire of integration/wire.
func TestOnTheWire(t *testing.T) {
	t.Parallel()
	c := &collector{}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	cmd, base, stderr := startGatewayWith(t, []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + server.URL,
		"OTEL_EXPORTER_OTLP_HEADERS=x-tenant=a%20b, x-other=c",
		"OTEL_RESOURCE_ATTRIBUTES=service.version=1.2.3",
	}, "-first-byte", "1s")
	gateway := caller{base}
	gateway.chaos(t, chaosNone)
	stalled := gateway.blackhole(t)
	failed := gateway.outage(t)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), stderr)
	require.NotContains(t, stderr.String(), "gateway: warning", "everything was sent")
	require.Contains(t, stderr.String(), "trace_id="+stalled[len(stalled)-1].traceID, "the log leads to the trace")

	require.NotEmpty(t, c.messages)
	for _, h := range c.headers {
		assert.Equal(t, "a b", h.Get("X-Tenant"))
		assert.Equal(t, "c", h.Get("X-Other"))
	}
	w := wire{t: t}
	for _, m := range c.messages {
		require.Len(t, m.ResourceSpans, 1)
		resource := plain(t, m.ResourceSpans[0].Resource.Attributes)
		assert.Equal(t, "respawn-gateway", resource["service.name"])
		assert.Equal(t, "1.2.3", resource["service.version"], "the environment's")
		assert.Equal(t, "go", resource["telemetry.sdk.language"])
		for _, scope := range m.ResourceSpans[0].ScopeSpans {
			w.spans = append(w.spans, scope.Spans...)
			for _, s := range scope.Spans {
				assert.Equal(t, scope.Scope.Name == "github.com/respawnhttp/respawn", s.Name == recreationSpan, s.Name)
			}
		}
	}
	w.promotion(stalled)
	w.rejection(failed)
}

// plain turns attributes into what their values are in JSON. A key that comes
// twice fails the test.
func plain(t *testing.T, attributes []otlpAttribute) map[string]any {
	t.Helper()
	m := make(map[string]any, len(attributes))
	for _, a := range attributes {
		require.NotContains(t, m, a.Key, "twice")
		require.Len(t, a.Value, 1)
		for _, v := range a.Value {
			m[a.Key] = v
		}
	}
	return m
}

// The kinds of spans in OTLP.
const (
	kindInternal = iota + 1
	kindServer
	kindClient
)

// statusError is OTLP's for a span that failed; an unset one is 0.
const statusOfFailed = 2

// A wire is what has come over it. Nobody sends any more.
type wire struct {
	t     *testing.T
	spans []otlpSpan
}

// trace returns the spans of one trace, by kind.
func (w wire) trace(id string) map[int][]otlpSpan {
	found := map[int][]otlpSpan{}
	for _, s := range w.spans {
		if s.TraceID == id {
			found[s.Kind] = append(found[s.Kind], s)
		}
	}
	return found
}

// request returns the SERVER and the CLIENT span of the gateway that answer
// the caller's own span.
func (w wire) request(r tracedRequest) (server, client otlpSpan) {
	w.t.Helper()
	spans := w.trace(r.traceID)
	require.Len(w.t, spans[kindServer], 1)
	require.Len(w.t, spans[kindClient], 1, "one for all attempts")
	server, client = spans[kindServer][0], spans[kindClient][0]
	assert.Equal(w.t, r.spanID, server.ParentSpanID)
	assert.Equal(w.t, server.SpanID, client.ParentSpanID)
	assert.Equal(w.t, strconv.Itoa(r.status), plain(w.t, server.Attributes)["http.response.status_code"])
	return server, client
}

// recreations returns respawn's spans in one trace.
func (w wire) recreations(r tracedRequest) []otlpSpan { return w.trace(r.traceID)[kindInternal] }

// promotion asserts what was sent about the dead connection.
func (w wire) promotion(stalled []tracedRequest) {
	w.t.Helper()
	before, trial := stalled[:len(stalled)-1], stalled[len(stalled)-1]
	_, client := w.request(trial)
	assert.Equal(w.t, "200", plain(w.t, client.Attributes)["http.response.status_code"])
	assert.Zero(w.t, client.Status, "to its caller all was well")
	require.Len(w.t, w.recreations(trial), 1)
	s := w.recreations(trial)[0]
	assert.Equal(w.t, client.SpanID, s.ParentSpanID, "child of the request that made the trial")
	assert.Zero(w.t, s.Status)
	assert.Empty(w.t, s.Events, "nobody refused it")
	assert.Less(w.t, s.Start, s.End)
	attributes := plain(w.t, s.Attributes)
	assert.IsType(w.t, 0.0, attributes["respawn.outage.duration"])
	assert.Equal(w.t, "promoted", attributes["respawn.outcome"])
	assert.Equal(w.t, "2", attributes["respawn.transport.generation"], "a 64-bit integer is a string")

	var linked, want []string
	for _, link := range s.Links {
		linked = append(linked, link.TraceID+link.SpanID)
	}
	for _, r := range before {
		server, client := w.request(r)
		assert.Equal(w.t, statusOfFailed, server.Status.Code)
		assert.Equal(w.t, statusOfFailed, client.Status.Code)
		assert.Empty(w.t, w.recreations(r))
		want = append(want, r.traceID+client.SpanID)
	}
	assert.Equal(w.t, want, linked, "the requests that failed before, in the callers' traces")
}

// rejection asserts what was sent about the upstream that was down.
func (w wire) rejection(failed []tracedRequest) {
	w.t.Helper()
	i := slices.IndexFunc(failed, func(r tracedRequest) bool { return len(w.recreations(r)) > 0 })
	require.GreaterOrEqual(w.t, i, 0)
	s := w.recreations(failed[i])[0]
	assert.Equal(w.t, otlpStatus{Code: statusOfFailed}, s.Status, "error texts can hold secrets")
	assert.Equal(w.t, "connection_refused", plain(w.t, s.Attributes)["error.type"])
	require.Len(w.t, s.Events, 1)
	assert.Equal(w.t, "respawn.refusal", s.Events[0].Name)
	assert.Equal(w.t, "connection_refused", plain(w.t, s.Events[0].Attributes)["error.type"])
	assert.GreaterOrEqual(w.t, s.Events[0].Time, s.Start)
}
