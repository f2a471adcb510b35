package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// A collector receives OTLP, as it is on the wire, and keeps all of it.
type collector struct {
	mu      sync.Mutex
	spans   []sent[*tracepb.Span]
	metrics []sent[*metricspb.Metric]
	logs    []sent[*logspb.LogRecord]
}

// sent is one of the things that come over OTLP, with what it came in.
type sent[T any] struct {
	is       T
	resource *resourcepb.Resource
	scope    *common.InstrumentationScope
	schema   string
}

func (c *collector) takeTraces(req *coltrace.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		for _, s := range r.GetScopeSpans() {
			for _, span := range s.GetSpans() {
				c.spans = append(c.spans, sent[*tracepb.Span]{span, r.GetResource(), s.GetScope(), s.GetSchemaUrl()})
			}
		}
	}
}

func (c *collector) takeMetrics(req *colmetrics.ExportMetricsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceMetrics() {
		for _, s := range r.GetScopeMetrics() {
			for _, metric := range s.GetMetrics() {
				c.metrics = append(c.metrics, sent[*metricspb.Metric]{metric, r.GetResource(), s.GetScope(), s.GetSchemaUrl()})
			}
		}
	}
}

func (c *collector) takeLogs(req *collogs.ExportLogsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceLogs() {
		for _, s := range r.GetScopeLogs() {
			for _, record := range s.GetLogRecords() {
				c.logs = append(c.logs, sent[*logspb.LogRecord]{record, r.GetResource(), s.GetScope(), s.GetSchemaUrl()})
			}
		}
	}
}

// startCollector receives by the given OTEL_EXPORTER_OTLP_PROTOCOL, and returns
// its OTEL_EXPORTER_OTLP_ENDPOINT.
func startCollector(t *testing.T, protocol string) (*collector, string) {
	t.Helper()
	c := &collector{}
	switch protocol {
	case "http/protobuf":
		mux := http.NewServeMux()
		mux.HandleFunc("POST /v1/traces", overHTTP(c.takeTraces, &coltrace.ExportTraceServiceResponse{}))
		mux.HandleFunc("POST /v1/metrics", overHTTP(c.takeMetrics, &colmetrics.ExportMetricsServiceResponse{}))
		mux.HandleFunc("POST /v1/logs", overHTTP(c.takeLogs, &collogs.ExportLogsServiceResponse{}))
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		return c, server.URL
	case "grpc":
		server := grpc.NewServer()
		coltrace.RegisterTraceServiceServer(server, traceService{c: c})
		colmetrics.RegisterMetricsServiceServer(server, metricsService{c: c})
		collogs.RegisterLogsServiceServer(server, logsService{c: c})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = server.Serve(listener)
		}()
		t.Cleanup(func() { server.Stop(); <-done })
		return c, "http://" + listener.Addr().String()
	}
	require.FailNow(t, "no such protocol", protocol)
	return nil, ""
}

// overHTTP receives one signal by OTLP/HTTP.
func overHTTP[M any, P interface {
	*M
	proto.Message
}](take func(P), answer proto.Message) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		message := P(new(M))
		body, err := io.ReadAll(req.Body)
		if err == nil && req.Header.Get("Content-Type") != "application/x-protobuf" {
			err = errors.New("not application/x-protobuf")
		}
		if err == nil {
			err = proto.Unmarshal(body, message)
		}
		var text []byte
		if err == nil {
			text, err = proto.Marshal(answer)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		take(message)
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(text)
	}
}

// The services of OTLP/gRPC: all three call their one method Export.
type (
	traceService struct {
		coltrace.UnimplementedTraceServiceServer
		c *collector
	}
	metricsService struct {
		colmetrics.UnimplementedMetricsServiceServer
		c *collector
	}
	logsService struct {
		collogs.UnimplementedLogsServiceServer
		c *collector
	}
)

func (s traceService) Export(_ context.Context, req *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	s.c.takeTraces(req)
	return &coltrace.ExportTraceServiceResponse{}, nil
}

func (s metricsService) Export(_ context.Context, req *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	s.c.takeMetrics(req)
	return &colmetrics.ExportMetricsServiceResponse{}, nil
}

func (s logsService) Export(_ context.Context, req *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	s.c.takeLogs(req)
	return &collogs.ExportLogsServiceResponse{}, nil
}

// plain turns attributes into Go values of the types that they have on the
// wire. A key that comes twice fails the test.
func plain(t *testing.T, kvs []*common.KeyValue) map[string]any {
	t.Helper()
	m := make(map[string]any, len(kvs))
	for _, kv := range kvs {
		require.NotContains(t, m, kv.GetKey(), "twice")
		switch v := kv.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			m[kv.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			m[kv.GetKey()] = v.IntValue
		case *common.AnyValue_DoubleValue:
			m[kv.GetKey()] = v.DoubleValue
		default:
			m[kv.GetKey()] = fmt.Sprintf("%T", v) // equal to nothing that a test expects
		}
	}
	return m
}
