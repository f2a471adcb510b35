package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// The message as OTLP's specification has it.
func TestOTLPInJSON(t *testing.T) {
	span := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0x5b, 0x8e, 15: 1}, SpanID: trace.SpanID{0xee, 7: 2}, TraceFlags: trace.FlagsSampled,
	})
	caller := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0x5b, 0x8e, 15: 1}, SpanID: trace.SpanID{7: 3}, TraceFlags: trace.FlagsSampled, Remote: true,
	})
	text, err := json.Marshal(newOTLPMessage(tracetest.SpanStubs{{
		Name: "GET", SpanContext: span, Parent: caller, SpanKind: trace.SpanKindServer,
		StartTime: time.Unix(1544712660, 0), EndTime: time.Unix(1544712661, 5),
		Attributes: []attribute.KeyValue{
			attribute.String("s", "x"), attribute.Int("i", 7), attribute.Float64("f", 0.5),
			attribute.Bool("b", true), attribute.StringSlice("l", []string{"a", "b"}),
		},
		Events:               []sdktrace.Event{{Name: "e", Time: time.Unix(1544712660, 1), Attributes: []attribute.KeyValue{attribute.Int("n", 1)}}},
		Links:                []sdktrace.Link{{SpanContext: caller}},
		Status:               sdktrace.Status{Code: codes.Error, Description: "no"},
		Resource:             resource.NewWithAttributes("https://schema/r", attribute.String("service.name", "x")),
		InstrumentationScope: instrumentation.Scope{Name: "scope", Version: "1", SchemaURL: "https://schema/s"},
	}}.Snapshots()))
	require.NoError(t, err)
	require.JSONEq(t, `{"resourceSpans":[{
		"resource": {"attributes":[{"key":"service.name","value":{"stringValue":"x"}}]},
		"schemaUrl": "https://schema/r",
		"scopeSpans": [{
			"scope": {"name":"scope","version":"1"},
			"schemaUrl": "https://schema/s",
			"spans": [{
				"traceId":"5b8e0000000000000000000000000001", "spanId":"ee00000000000002", "parentSpanId":"0000000000000003",
				"flags": 769, "name":"GET", "kind":2,
				"startTimeUnixNano":"1544712660000000000", "endTimeUnixNano":"1544712661000000005",
				"attributes": [
					{"key":"s","value":{"stringValue":"x"}}, {"key":"i","value":{"intValue":"7"}},
					{"key":"f","value":{"doubleValue":0.5}}, {"key":"b","value":{"boolValue":true}},
					{"key":"l","value":{"arrayValue":{"values":[{"stringValue":"a"},{"stringValue":"b"}]}}}
				],
				"events": [{"timeUnixNano":"1544712660000000001","name":"e","attributes":[{"key":"n","value":{"intValue":"1"}}]}],
				"links": [{"traceId":"5b8e0000000000000000000000000001","spanId":"0000000000000003","flags":769}],
				"status": {"code":2,"message":"no"}
			}]
		}]
	}]}`, string(text))
}

func TestWhereTheEnvironmentSendsTraces(t *testing.T) {
	for name, c := range map[string]struct {
		env      map[string]string
		endpoint string // none where it is empty
		says     string
	}{
		"nowhere":         {},
		"to a collector":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces", ""},
		"traces alone":    {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t/x"}, "https://t/x", ""},
		"to the default":  {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces", ""},
		"not at all":      {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, "", ""},
		"by grpc":         {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "", "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"to no URL":       {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4318"}, "", "OTEL_EXPORTER_OTLP_ENDPOINT"},
		"to the unknown":  {map[string]string{"OTEL_TRACES_EXPORTER": "carrier-pigeon"}, "", "OTEL_TRACES_EXPORTER"},
		"but not metrics": {map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			exporter, err := otlpFromEnvironment()
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			if c.endpoint == "" {
				require.Nil(t, exporter)
				return
			}
			require.Equal(t, c.endpoint, exporter.endpoint)
		})
	}
}

func TestACollectorThatRefusesIsAnError(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	exporter, err := otlpFromEnvironment()
	require.NoError(t, err)
	require.ErrorContains(t, exporter.ExportSpans(t.Context(), nil), "404 Not Found")
	require.NoError(t, exporter.Shutdown(t.Context()))
}
