package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// recreationSpan is the name of the spans that respawn makes.
const recreationSpan = "HTTP transport_recreation"

// A recreation is one of them, as a person or a machine would read it.
type recreation struct {
	Name         string  `json:"name"`
	TraceID      string  `json:"trace_id"`
	Parent       string  `json:"parent"`               // name and kind of the parent span; "" for a root
	Trigger      string  `json:"trigger"`              // what spoke against the transport
	Outcome      string  `json:"outcome"`              // promoted or rejected
	Error        string  `json:"error_type,omitempty"` // why it was rejected
	Generation   int64   `json:"generation"`           // in service afterwards
	Failures     int64   `json:"failure_count"`        // that led to it
	BackoffDelay float64 `json:"backoff_delay_seconds"`
	Outage       float64 `json:"outage_seconds"` // that it ended; 0: it ended none
	Duration     float64 `json:"duration_seconds"`
	Links        int     `json:"links"` // earlier failing requests
}

func newRecreation(span sdktrace.ReadOnlySpan, parent string) recreation {
	attrs := attribute.NewSet(span.Attributes()...)
	value := func(key attribute.Key) attribute.Value {
		v, _ := attrs.Value(key)
		return v
	}
	if parent == "" && span.Parent().IsValid() {
		parent = "span " + span.Parent().SpanID().String()
	}
	return recreation{
		Name:         span.Name(),
		TraceID:      span.SpanContext().TraceID().String(),
		Parent:       parent,
		Trigger:      value("respawn.trigger").AsString(),
		Outcome:      value("respawn.outcome").AsString(),
		Error:        value("error.type").AsString(),
		Generation:   value("respawn.transport.generation").AsInt64(),
		Failures:     value("respawn.failure.count").AsInt64(),
		BackoffDelay: value("respawn.backoff.delay").AsFloat64(),
		Outage:       value("respawn.outage.duration").AsFloat64(),
		Duration:     span.EndTime().Sub(span.StartTime()).Seconds(),
		Links:        len(span.Links()),
	}
}

// recreationsOf finds the recreations among spans, and their parents' names.
func recreationsOf(spans []sdktrace.ReadOnlySpan) []recreation {
	names := make(map[string]string, len(spans))
	for _, s := range spans {
		names[s.SpanContext().SpanID().String()] = fmt.Sprintf("%s (%s)", s.Name(), s.SpanKind())
	}
	found := []recreation{} // none is [] in JSON
	for _, s := range spans {
		if s.Name() == recreationSpan {
			found = append(found, newRecreation(s, names[s.Parent().SpanID().String()]))
		}
	}
	return found
}

// writeTo writes the recreation as a person would read it.
func (r recreation) writeTo(w io.Writer) {
	parent := r.Parent
	if parent == "" {
		parent = "none, a root"
	}
	fmt.Fprintf(w, "%s\n", r.Name)
	line := func(label, format string, values ...any) {
		fmt.Fprintf(w, "  %-15s%s\n", label, fmt.Sprintf(format, values...))
	}
	line("parent", "%s", parent)
	line("trigger", "%s", r.Trigger)
	if r.Error == "" {
		line("outcome", "%s after %s", r.Outcome, seconds(r.Duration))
	} else {
		line("outcome", "%s after %s: %s", r.Outcome, seconds(r.Duration), r.Error)
	}
	line("generation", "%d", r.Generation)
	line("failure count", "%d", r.Failures)
	line("backoff delay", "%s", seconds(r.BackoffDelay))
	if r.Outage > 0 {
		line("outage", "%s", seconds(r.Outage))
	}
	line("links", "%d to earlier failing requests", r.Links)
	line("trace", "%s", r.TraceID)
}

func seconds(s float64) string { return fmt.Sprintf("%.3f s", s) }

// A recreationPrinter is a span processor that prints recreations as they end.
type recreationPrinter struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *recreationPrinter) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (p *recreationPrinter) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.Name() != recreationSpan {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	newRecreation(s, "").writeTo(p.w)
}

func (p *recreationPrinter) Shutdown(context.Context) error   { return nil }
func (p *recreationPrinter) ForceFlush(context.Context) error { return nil }
