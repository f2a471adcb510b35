package main

import (
	"io"
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestACollectorTakesOverFromTheSummary(t *testing.T) {
	c := &collector{}
	server := httptest.NewServer(c)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)

	out, logs := &safeBuffer{}, &safeBuffer{}
	tel, err := newTelemetry(t.Context(), summary{spans: &recreationPrinter{w: out}, logs: slog.NewTextHandler(logs, nil)})
	require.NoError(t, err)
	ctx, span := tel.traces.Tracer("test").Start(t.Context(), recreationSpan)
	tel.logger.With("a", 1).WithGroup("g").WarnContext(ctx, "hello")
	span.End()
	tel.logger.Warn("no trace")
	flush(tel, io.Discard)

	require.Empty(t, out.String())
	require.Regexp(t, `msg=hello a=1 g.trace_id=[0-9a-f]{32} g.span_id=[0-9a-f]{16}\n.*msg="no trace"\n$`, logs.String())
	require.Len(t, c.messages, 1)
}

func TestACollectorThatIsAwayIsNoFailure(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+freePort(t))
	tel, err := newTelemetry(t.Context(), summary{logs: slog.DiscardHandler})
	require.NoError(t, err)
	_, span := tel.traces.Tracer("test").Start(t.Context(), "test")
	span.End()
	stderr := &safeBuffer{}
	flush(tel, stderr)
	require.Empty(t, stderr.String(), "the SDK has said so already")
}
