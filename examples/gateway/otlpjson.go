package main

import (
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// OTLP's messages for traces, as its JSON has them: ids in hex, and 64-bit
// integers in strings.
type (
	otlpMessage struct {
		ResourceSpans []otlpResourceSpans `json:"resourceSpans"`
	}
	otlpResourceSpans struct {
		Resource   otlpResource     `json:"resource"`
		ScopeSpans []otlpScopeSpans `json:"scopeSpans"`
		SchemaURL  string           `json:"schemaUrl,omitempty"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpScopeSpans struct {
		Scope     otlpScope  `json:"scope"`
		Spans     []otlpSpan `json:"spans"`
		SchemaURL string     `json:"schemaUrl,omitempty"`
	}
	otlpScope struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	}
	otlpSpan struct {
		TraceID       string          `json:"traceId"`
		SpanID        string          `json:"spanId"`
		TraceState    string          `json:"traceState,omitempty"`
		ParentSpanID  string          `json:"parentSpanId,omitempty"`
		Flags         uint32          `json:"flags"`
		Name          string          `json:"name"`
		Kind          int             `json:"kind"`
		Start         int64           `json:"startTimeUnixNano,string"`
		End           int64           `json:"endTimeUnixNano,string"`
		Attributes    []otlpAttribute `json:"attributes,omitempty"`
		Events        []otlpEvent     `json:"events,omitempty"`
		Links         []otlpLink      `json:"links,omitempty"`
		Status        otlpStatus      `json:"status"`
		DroppedEvents int             `json:"droppedEventsCount,omitempty"`
		DroppedLinks  int             `json:"droppedLinksCount,omitempty"`
	}
	otlpEvent struct {
		Time       int64           `json:"timeUnixNano,string"`
		Name       string          `json:"name"`
		Attributes []otlpAttribute `json:"attributes,omitempty"`
	}
	otlpLink struct {
		TraceID    string          `json:"traceId"`
		SpanID     string          `json:"spanId"`
		TraceState string          `json:"traceState,omitempty"`
		Flags      uint32          `json:"flags"`
		Attributes []otlpAttribute `json:"attributes,omitempty"`
	}
	otlpStatus struct {
		Code    int    `json:"code,omitempty"`
		Message string `json:"message,omitempty"`
	}
	otlpAttribute struct {
		Key   string         `json:"key"`
		Value map[string]any `json:"value"`
	}
)

// newOTLPMessage puts spans of one provider, which have one resource, under
// the scopes that made them.
func newOTLPMessage(spans []sdktrace.ReadOnlySpan) otlpMessage {
	if len(spans) == 0 {
		return otlpMessage{ResourceSpans: []otlpResourceSpans{}}
	}
	resource := spans[0].Resource()
	all := otlpResourceSpans{
		Resource:  otlpResource{otlpAttributes(resource.Attributes())},
		SchemaURL: resource.SchemaURL(),
	}
	at := map[instrumentation.Scope]int{}
	for _, s := range spans {
		scope := s.InstrumentationScope()
		i, ok := at[scope]
		if !ok {
			i = len(all.ScopeSpans)
			at[scope] = i
			all.ScopeSpans = append(all.ScopeSpans, otlpScopeSpans{
				Scope: otlpScope{scope.Name, scope.Version}, SchemaURL: scope.SchemaURL,
			})
		}
		all.ScopeSpans[i].Spans = append(all.ScopeSpans[i].Spans, newOTLPSpan(s))
	}
	return otlpMessage{[]otlpResourceSpans{all}}
}

func newOTLPSpan(s sdktrace.ReadOnlySpan) otlpSpan {
	span := otlpSpan{
		TraceID:       s.SpanContext().TraceID().String(),
		SpanID:        s.SpanContext().SpanID().String(),
		TraceState:    s.SpanContext().TraceState().String(),
		Flags:         otlpFlags(s.SpanContext(), s.Parent()),
		Name:          s.Name(),
		Kind:          int(s.SpanKind()), // the numbers are OTLP's
		Start:         s.StartTime().UnixNano(),
		End:           s.EndTime().UnixNano(),
		Attributes:    otlpAttributes(s.Attributes()),
		Status:        otlpStatus{Message: s.Status().Description},
		DroppedEvents: s.DroppedEvents(),
		DroppedLinks:  s.DroppedLinks(),
	}
	if s.Parent().HasSpanID() {
		span.ParentSpanID = s.Parent().SpanID().String()
	}
	switch s.Status().Code { // these numbers are not
	case codes.Ok:
		span.Status.Code = 1
	case codes.Error:
		span.Status.Code = 2
	}
	for _, e := range s.Events() {
		span.Events = append(span.Events, otlpEvent{e.Time.UnixNano(), e.Name, otlpAttributes(e.Attributes)})
	}
	for _, l := range s.Links() {
		span.Links = append(span.Links, otlpLink{
			TraceID:    l.SpanContext.TraceID().String(),
			SpanID:     l.SpanContext.SpanID().String(),
			TraceState: l.SpanContext.TraceState().String(),
			Flags:      otlpFlags(l.SpanContext, l.SpanContext),
			Attributes: otlpAttributes(l.Attributes),
		})
	}
	return span
}

// otlpFlags are the W3C's, and above them whether another process made the
// context that is named.
func otlpFlags(c, named trace.SpanContext) uint32 {
	const known, remote = 1 << 8, 1 << 9
	flags := uint32(c.TraceFlags()) | known
	if named.IsRemote() {
		flags |= remote
	}
	return flags
}

func otlpAttributes(attributes []attribute.KeyValue) []otlpAttribute {
	all := make([]otlpAttribute, 0, len(attributes))
	for _, a := range attributes {
		all = append(all, otlpAttribute{string(a.Key), otlpValue(a.Value)})
	}
	return all
}

func otlpValue(v attribute.Value) map[string]any {
	switch v.Type() {
	case attribute.BOOL:
		return map[string]any{"boolValue": v.AsBool()}
	case attribute.INT64:
		return map[string]any{"intValue": strconv.FormatInt(v.AsInt64(), 10)}
	case attribute.FLOAT64:
		return map[string]any{"doubleValue": v.AsFloat64()}
	case attribute.STRINGSLICE:
		values := []map[string]any{}
		for _, s := range v.AsStringSlice() {
			values = append(values, map[string]any{"stringValue": s})
		}
		return map[string]any{"arrayValue": map[string]any{"values": values}}
	}
	return map[string]any{"stringValue": v.String()}
}
