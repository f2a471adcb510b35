package sim

import (
	"context"
	"slices"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/respawnhttp/respawn/internal/testkit"
)

// This file notes what the client tells by its logs and spans.

// An outage is a line of the client's log: an authority has tripped, or has recovered.
type outage struct {
	at      service // when, and the transport that was in service
	au      int     // -1: the client's own, whose transport in service has ended
	tripped bool    // else it has recovered
	runs    int     // how many recreations had begun
}

// A refusal is an authority's verdict against a candidate.
type refusal struct {
	au  int
	run *run
	at  service
}

// told is called with what the client logs.
func (w *world) told(message string, attrs map[string]any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	host, _ := attrs["server.address"].(string)
	o := outage{service{w.serving(), w.now()}, auOf(host), strings.Contains(message, "tripped"), len(w.runs)}
	if o.tripped || strings.Contains(message, "recovered") {
		w.outages = append(w.outages, o)
	}
}

// auOf is the authority of a host; -1 for none.
func auOf(host string) int {
	if host == "" {
		return -1
	}
	n, _ := strconv.Atoi(strings.TrimSuffix(host[1:], ".sim"))
	return letters*n + int(host[0]-'a')
}

const spanName = "HTTP transport_recreation"

// tracers returns the probe's tracers, whose spans the world watches as well.
func (w *world) tracers() *sdktrace.TracerProvider {
	p := w.probe.TracerProvider().(*sdktrace.TracerProvider)
	p.RegisterSpanProcessor(w)
	return p
}

// OnStart is called when a recreation begins.
func (w *world) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	if s.Name() != spanName {
		return
	}
	w.free()
	w.mu.Lock()
	defer w.mu.Unlock()
	a := testkit.Attributes(s.Attributes())
	r := &run{number: len(w.runs) + 1, start: s.StartTime().Sub(w.began), trigger: a["respawn.trigger"].(string)}
	r.from, _ = a["server.address"].(string)
	w.runs = append(w.runs, r)
	w.bySpan[s.SpanContext().SpanID()] = r
	w.noteLocked("client", "recreation of %q: %s", r.from, r.trigger)
}

// OnEnd is called when a recreation ends.
func (w *world) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.Name() != spanName {
		return
	}
	w.free()
	w.ended(s)
	w.mood("the tracer", int(w.now()))
}

func (w *world) ended(s sdktrace.ReadOnlySpan) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.bySpan[s.SpanContext().SpanID()]
	w.must(!r.over, "a recreation ends twice")
	a := testkit.Attributes(s.Attributes())
	r.over, r.end = true, s.EndTime().Sub(w.began)
	r.promoted = a["respawn.outcome"] == "promoted"
	r.to, _ = a["server.address"].(string)
	r.kind, _ = a["error.type"].(string)
	for _, e := range s.Events() {
		if e.Name == "respawn.refusal" {
			host, _ := testkit.Attributes(e.Attributes)["server.address"].(string)
			w.refusals = append(w.refusals, refusal{auOf(host), r, service{nil, e.Time.Sub(w.began)}})
		}
	}
	w.noteLocked("client", "recreation of %q for %q: %v %s", r.from, r.to, a["respawn.outcome"], r.kind)
	w.must(r.end == w.now() || w.plan.moody, "a recreation's span ends at %v", r.end)
	if r.failed { // its error is the factory's, whatever it is; only who calls it off may come first
		w.must(r.end <= r.failedAt, "a recreation goes on for %v after its factory has failed", r.end-r.failedAt)
		w.must(r.end < r.failedAt || slices.Contains([]string{"factory_error", "given_up", "superseded", "closed"}, r.kind), "a factory's error is called %q", r.kind)
	}
	switch l := r.link; {
	case !r.promoted:
		w.must(r.kind != "", "a rejection without an error")
		if l != nil {
			w.must(!l.served, "%v is in service and rejected", l)
			l.retire()
		}
	case l == nil:
		w.must(false, "promoted, and nothing was built")
	default:
		w.must(l.served, "promoted, and %v is not in service", l)
	}
}

func (w *world) Shutdown(context.Context) error   { return nil }
func (w *world) ForceFlush(context.Context) error { return nil }
