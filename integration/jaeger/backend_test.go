package jaeger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A backend is a Jaeger, by its two addresses.
type backend struct {
	query string // of the UI and the API that it uses
	otlp  string // where spans are sent to
}

// A trace is one as Jaeger's query API has it.
type trace struct {
	TraceID string
	Spans   []span
}

type span struct {
	TraceID       string
	SpanID        string
	OperationName string
	References    []reference
	StartTime     int64 // in µs
	Duration      int64 // in µs
	Tags          []tag
}

type reference struct{ RefType, TraceID, SpanID string }

type tag struct {
	Key, Type string
	Value     any
}

// ask gets data of the query API.
func (b backend) ask(path string, query url.Values, data any) error {
	resp, err := http.Get(b.query + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %v: %s: %s", path, query, resp.Status, text)
	}
	return json.Unmarshal(text, &struct{ Data any }{data})
}

func (b backend) services() (names []string, err error) {
	return names, b.ask("/api/services", nil, &names)
}

// operations returns the operations of a service with their kinds.
func (b backend) operations(service string) (operations []operation, err error) {
	return operations, b.ask("/api/operations", url.Values{"service": {service}}, &operations)
}

type operation struct{ Name, SpanKind string }

// search returns what the UI's search page shows for the same query, the
// latest first.
func (b backend) search(query url.Values) (traces []trace, err error) {
	return traces, b.ask("/api/traces", query, &traces)
}

// trace returns one trace.
func (b backend) trace(id string) (trace, error) {
	var traces []trace
	err := b.ask("/api/traces/"+id, nil, &traces)
	if err == nil && len(traces) != 1 {
		err = fmt.Errorf("%d traces are %s", len(traces), id)
	}
	if err != nil {
		return trace{}, err
	}
	return traces[0], nil
}

// named returns the spans of an operation.
func (t trace) named(operation string) []span {
	return slices.DeleteFunc(slices.Clone(t.Spans), func(s span) bool { return s.OperationName != operation })
}

// span returns the one with the id.
func (t trace) span(id string) (span, bool) {
	i := slices.IndexFunc(t.Spans, func(s span) bool { return s.SpanID == id })
	if i < 0 {
		return span{}, false
	}
	return t.Spans[i], true
}

// parent is the id of the span that s is a child of.
func (s span) parent() string {
	for _, r := range s.References {
		if r.RefType == "CHILD_OF" {
			return r.SpanID
		}
	}
	return ""
}

// links are the trace ids of the span's links.
func (s span) links() (ids []string) {
	for _, r := range s.References {
		if r.RefType == "FOLLOWS_FROM" {
			ids = append(ids, r.TraceID)
		}
	}
	return ids
}

// tags are the span's attributes, each as "type value".
func (s span) tags() map[string]string {
	m := make(map[string]string, len(s.Tags))
	for _, t := range s.Tags {
		m[t.Key] = fmt.Sprintf("%s %v", t.Type, t.Value)
	}
	return m
}

// text draws the trace for people: when each span began, how long it took,
// and what respawn says.
func (t trace) text() string {
	var b strings.Builder
	spans := slices.SortedFunc(slices.Values(t.Spans), func(a, b span) int { return cmp.Compare(a.StartTime, b.StartTime) })
	fmt.Fprintf(&b, "trace %s\n", t.TraceID)
	var draw func(parent, indent string)
	draw = func(parent, indent string) {
		for _, s := range spans {
			_, known := t.span(s.parent())
			if s.parent() != parent && (parent != "" || known) {
				continue // a root's parent may be the caller's span, which is not here
			}
			tags := s.tags()
			kind := strings.ToUpper(strings.TrimPrefix(tags["span.kind"], "string "))
			fmt.Fprintf(&b, "%-44s%8s%12s\n", indent+s.OperationName+" "+kind,
				"+"+milliseconds(s.StartTime-spans[0].StartTime), milliseconds(s.Duration))
			for _, key := range slices.Sorted(maps.Keys(tags)) {
				if strings.HasPrefix(key, "respawn.") || key == "error.type" || key == "otel.status_code" ||
					key == "http.response.status_code" || key == "http.request.resend_count" {
					_, value, _ := strings.Cut(tags[key], " ")
					fmt.Fprintf(&b, "%s    %s = %s\n", indent, key, value)
				}
			}
			for _, id := range s.links() {
				fmt.Fprintf(&b, "%s    link to trace %s\n", indent, id)
			}
			draw(s.SpanID, indent+"  ")
		}
	}
	draw("", "")
	return b.String()
}

func milliseconds(us int64) string {
	return fmt.Sprintf("%d ms", (time.Duration(us) * time.Microsecond).Milliseconds())
}
