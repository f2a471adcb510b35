package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOTELVariablesTakeOverFromTheSummary(t *testing.T) {
	var mu sync.Mutex
	got := map[string]int{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got[req.URL.Path]++
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")

	out, logs := &safeBuffer{}, &safeBuffer{}
	tel, err := newTelemetry(t.Context(), summary{spans: &recreationPrinter{w: out}, logs: slog.NewTextHandler(logs, nil)})
	require.NoError(t, err)
	_, span := tel.traces.Tracer("test").Start(t.Context(), recreationSpan)
	span.End()
	tel.logger.Warn("hello")
	flush(tel, io.Discard)

	require.Empty(t, out.String())
	require.Empty(t, logs.String())
	mu.Lock()
	defer mu.Unlock()
	require.NotZero(t, got["/v1/traces"])
	require.NotZero(t, got["/v1/logs"])
}

func TestACollectorThatIsAwayIsNoFailure(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://"+freePort(t)+"/v1/metrics")
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "100")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	tel, err := newTelemetry(t.Context(), summary{logs: slog.DiscardHandler})
	require.NoError(t, err)
	counter, err := tel.meters.Meter("test").Int64Counter("test")
	require.NoError(t, err)
	counter.Add(t.Context(), 1)
	stderr := &safeBuffer{}
	flush(tel, stderr)
	require.Regexp(t, `^gateway: warning: cannot flush telemetry: .*\n$`, stderr.String())
}
