package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// An otlpExporter sends spans as OTLP has them over HTTP, in JSON, which every
// collector takes. A service will rather use otlptracehttp: it retries, and
// compresses. Its messages come with grpc, though, and that with twenty more
// modules, of which an example needs none.
type otlpExporter struct {
	endpoint string
	headers  http.Header
	client   http.Client
}

// otlpFromEnvironment returns an exporter where the standard variables ask for
// one, and else nil.
func otlpFromEnvironment() (*otlpExporter, error) {
	exporter := os.Getenv("OTEL_TRACES_EXPORTER")
	endpoint, given := os.LookupEnv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if base := os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"); !given && base != "" {
		endpoint = strings.TrimSuffix(base, "/") + "/v1/traces"
	}
	switch {
	case exporter == "none", exporter == "" && endpoint == "":
		return nil, nil
	case exporter != "" && exporter != "otlp":
		return nil, fmt.Errorf("cannot export traces to %q: OTEL_TRACES_EXPORTER can be otlp or none here", exporter)
	case endpoint == "":
		endpoint = "http://localhost:4318/v1/traces"
	}
	if u, err := url.Parse(endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("cannot export traces to %q: OTEL_EXPORTER_OTLP_ENDPOINT is an http or https URL", endpoint)
	}
	if protocol := otlpVariable("PROTOCOL"); strings.HasPrefix(protocol, "grpc") {
		return nil, fmt.Errorf("cannot export traces by %s: OTEL_EXPORTER_OTLP_PROTOCOL can be http/json here", protocol)
	}
	headers := http.Header{"Content-Type": {"application/json"}}
	for pair := range strings.SplitSeq(otlpVariable("HEADERS"), ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			if plain, err := url.PathUnescape(strings.TrimSpace(value)); err == nil {
				headers.Set(strings.TrimSpace(name), plain)
			}
		}
	}
	return &otlpExporter{endpoint: endpoint, headers: headers, client: http.Client{Timeout: 10 * time.Second}}, nil
}

// otlpVariable is a variable for traces, or the one for all signals.
func otlpVariable(name string) string {
	if value, given := os.LookupEnv("OTEL_EXPORTER_OTLP_TRACES_" + name); given {
		return value
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_" + name)
}

// ExportSpans implements [sdktrace.SpanExporter].
func (e *otlpExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	text, err := json.Marshal(newOTLPMessage(spans))
	if err != nil {
		return fmt.Errorf("cannot write spans as OTLP: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.endpoint, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("cannot send spans: %w", err)
	}
	req.Header = e.headers.Clone()
	resp, err := e.client.Do(req)
	if err != nil {
		return fmt.Errorf("cannot send spans: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("cannot send spans: %s answered %s", e.endpoint, resp.Status)
	}
	return nil
}

// Shutdown implements [sdktrace.SpanExporter].
func (e *otlpExporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}
