package respawn

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/gate"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/history"
)

// A RecreationRecord describes one recreation that has ended, and the drain that it
// began. It holds hosts and kinds of errors, never paths, headers or error texts.
type RecreationRecord struct {
	Time       time.Time     `json:"time"` // its start
	Duration   time.Duration `json:"-"`    // until promotion or rejection; duration_seconds in JSON
	Trigger    Trigger       `json:"trigger"`
	Outcome    Outcome       `json:"outcome"`
	ErrorType  ErrorType     `json:"error_type,omitempty"` // why it was rejected
	Authority  string        `json:"authority,omitempty"`  // scheme://host:port of the authority that decided, or that the transport was built for; "" if there is none
	Generation uint64        `json:"generation"`           // the one in service afterwards
	Failures   int           `json:"failures"`             // failures that led to it
	TraceID    string        `json:"trace_id,omitempty"`   // of its span; "" if nothing traces
	Outage     time.Duration `json:"-"`                    // length of the outage that it was built in, from the first failure to the first answer; 0 if there was none; outage_seconds in JSON
	OutageOpen bool          `json:"outage_open"`          // the outage still lasts: Outage is its length until now

	// The drain of the transport that a promotion retired.
	Drained   int64         `json:"drained"`  // requests that were in flight on it at the promotion
	DrainTime time.Duration `json:"-"`        // until the last of them had left; 0 while Draining; drain_seconds in JSON
	Draining  bool          `json:"draining"` // some have not left yet
}

// MarshalJSON gives the durations as seconds.
func (r RecreationRecord) MarshalJSON() ([]byte, error) {
	type fields RecreationRecord // without this method
	return json.Marshal(struct {
		fields
		Duration  float64 `json:"duration_seconds"`
		Outage    float64 `json:"outage_seconds"`
		DrainTime float64 `json:"drain_seconds"`
	}{fields(r), r.Duration.Seconds(), r.Outage.Seconds(), r.DrainTime.Seconds()})
}

// Recreations returns the last recreations that have ended, at most 64, the
// oldest first. It never blocks, whatever a recreation is doing, and is safe
// for concurrent use.
func (rt *RecoveringRoundTripper) Recreations() []RecreationRecord { return rt.records.all() }

// WithOnRecreation sets a function f to be called after each recreation, promoted or
// rejected: to warm caches, to count, to page. f gets the record that
// [RecoveringRoundTripper.Recreations] has at that time, and a context with the values
// of the recreation's context, its span among them; that context never ends. The calls
// are in order, one at a time, on a goroutine of their own. f may block or panic: that
// holds up only the calls after it, of which the last 64 are kept waiting. A nil f is
// an error. By default no function is called.
func WithOnRecreation(f func(context.Context, RecreationRecord)) Option {
	return func(c *config) error {
		if f == nil {
			return errors.New("WithOnRecreation(nil): pass a function, or leave the option out")
		}
		c.OnRecreation = func(ctx context.Context, r any) { f(ctx, r.(RecreationRecord)) }
		return nil
	}
}

// records hold what Health and Recreations report of recreations and outages.
type records struct {
	failures, replays atomic.Int64

	mu       sync.Mutex // guards all below; the gate's lock may be held
	ring     history.Ring[remembered]
	outages  history.Outages
	promoted int
	rejected int
	last     rejection
}

// A remembered recreation knows its outage.
type remembered struct {
	RecreationRecord
	of history.Key
}

// A past is a snapshot of records.
type past struct {
	promoted, rejected, outages int
	last                        rejection
	open, ended                 []history.Outage
}

// A rejection is the latest rejection of a candidate.
type rejection struct {
	at        time.Time
	authority core.Authority
	kind      ErrorType
}

// recordOf returns the record of a recreation that has ended, without its outage.
func recordOf(t gate.Told) RecreationRecord {
	about, trigger := whose(t)
	record := RecreationRecord{
		Time: t.Recreation.Start, Duration: t.At.Sub(t.Recreation.Start), Trigger: Trigger(trigger), Outcome: OutcomePromoted,
		Authority: about.Authority.String(), Generation: t.Generation, Failures: about.Failures,
		TraceID: traceID(t.Recreation), Drained: t.InFlight, Draining: t.InFlight > 0,
	}
	if t.What == core.WasRejected {
		record.Outcome, record.ErrorType = OutcomeRejected, ErrorType(t.Kind)
	}
	return record
}

// whose returns what a recreation is reported to be about: the authority that decided, if
// the candidate was promoted, or the client, if its transport had ended; and otherwise what the
// candidate was built for. It also returns the trigger.
func whose(t gate.Told) (about core.About, trigger string) {
	about, trigger = t.Recreation.Need, t.Recreation.Trigger
	if t.What == core.WasPromoted && (t.About.Authority != (core.Authority{}) || t.About.Trigger != "") {
		about = t.About
	}
	if !t.Recreation.Planned && about.Trigger != "" {
		trigger = about.Trigger
	}
	return about, trigger
}

// describe returns what only the span of a recreation says.
func describe(told gate.Told, record RecreationRecord) []attribute.KeyValue {
	about, _ := whose(told)
	attrs := append(authorityAttributes(about.Authority),
		keyGeneration.Int64(int64(told.Generation)), keyFailures.Int(about.Failures))
	old := told.Generation // which this one replaced, or which stays
	if told.What == core.WasPromoted {
		old--
	}
	if old > 0 { // else there was none
		attrs = append(attrs, keyAge.Float64(told.Age.Seconds()))
	}
	if told.Protocol != "" {
		attrs = append(attrs, semconv.NetworkProtocolVersion(told.Protocol))
	}
	over := about.Since.Add(record.Outage) // if the outage does not last; it may have ended later than r
	if !about.Tripped.IsZero() && !record.OutageOpen && !over.After(told.At) {
		attrs = append(attrs, keyOutage.Float64(record.Outage.Seconds()))
	}
	return attrs
}

// A sighting is a recreation's span with the id of its trace. The id is needed under
// locks, where the span, which is the user's, must not be called.
type sighting struct {
	span    trace.Span
	traceID string // "" for none
}

// sight asks the span for its trace, also one that panics.
func sight(span trace.Span) sighting {
	seen := sighting{span: span}
	build.Safely(func() {
		if id := span.SpanContext().TraceID(); id.IsValid() {
			seen.traceID = id.String()
		}
	})
	return seen
}

// traceID is that of the recreation's span; "" if there is none, or not yet.
func traceID(r *gate.Recreation) string {
	if !r.Begun() {
		return ""
	}
	seen, _ := r.Seen.(sighting)
	return seen.traceID
}

// note takes a report, at its event.
func (r *records) note(t gate.Told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch t.What {
	case core.HasTripped, core.HasRecovered, core.WasForgotten:
		r.noteOutageLocked(t)
	case core.WasPromoted, core.WasRejected:
		r.addLocked(t)
	}
}

// noteOutageLocked notes that an outage begins or is over. Once it is over, the records of
// its recreations have its true length.
func (r *records) noteOutageLocked(t gate.Told) {
	over, isOver := r.outages.Note(t.Report)
	if !isOver {
		return
	}
	r.ring.Each(func(m *remembered) {
		if m.of == over.Key {
			m.Outage, m.OutageOpen = over.Lasts(t.At), false
		}
	})
}

// addLocked notes the end of a recreation.
func (r *records) addLocked(t gate.Told) {
	about, _ := whose(t)
	m := remembered{recordOf(t), history.KeyOf(about)}
	if m.Outcome == OutcomePromoted {
		r.promoted++
	} else {
		r.rejected++
		r.last = rejection{at: t.At, authority: about.Authority, kind: m.ErrorType}
	}
	if outage, ok := r.outages.Find(m.of); ok {
		m.Outage, m.OutageOpen = outage.Lasts(t.At), outage.End.IsZero()
	}
	var draining *generation.Generation
	if m.Draining {
		draining = t.Retired
	}
	r.ring.Add(t.Candidate, m, draining, t.At)
}

// traced notes the trace of a recreation that ended before its span was there, and
// returns its record.
func (r *records) traced(t gate.Told) (record RecreationRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	record = recordOf(t) // if it is not remembered any more
	r.ring.Change(t.Candidate, func(m *remembered) {
		m.TraceID = record.TraceID
		record = m.RecreationRecord
	})
	return record
}

// drained notes that the last request has left g.
func (r *records) drained(g *generation.Generation) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.Drained(g, func(m *remembered, since time.Time) {
		m.DrainTime, m.Draining = now.Sub(since), false
	})
}

func (r *records) all() []RecreationRecord {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.ring.All()
	records := make([]RecreationRecord, 0, len(all))
	for _, m := range all {
		if m.OutageOpen {
			m.Outage = now.Sub(m.of.Begin)
		}
		records = append(records, m.RecreationRecord)
	}
	return records
}

// past returns a snapshot of the records.
func (r *records) past() past {
	r.mu.Lock()
	defer r.mu.Unlock()
	return past{
		promoted: r.promoted, rejected: r.rejected, outages: r.outages.Total, last: r.last,
		open: r.outages.Open(), ended: r.outages.Ended(),
	}
}
