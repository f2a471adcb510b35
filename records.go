package respawn

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/gate"
	"github.com/respawnhttp/respawn/internal/generation"
	"github.com/respawnhttp/respawn/internal/history"
)

// A RecreationRecord tells of one recreation that has ended, and of the drain
// that it began. It holds hosts and kinds of errors, never paths, headers or
// error texts.
type RecreationRecord struct {
	Time       time.Time     `json:"time"` // its start
	Duration   time.Duration `json:"-"`    // until promotion or rejection; duration_seconds in JSON
	Trigger    Trigger       `json:"trigger"`
	Outcome    Outcome       `json:"outcome"`
	ErrorType  ErrorType     `json:"error_type,omitempty"` // why it was rejected
	Authority  string        `json:"authority,omitempty"`  // scheme://host:port that decided, or that it was built for; "" if there is none
	Generation uint64        `json:"generation"`           // in service after it
	Failures   int           `json:"failures"`             // that led to it
	TraceID    string        `json:"trace_id,omitempty"`   // of its span; "" if nothing traces
	Outage     time.Duration `json:"-"`                    // from the first failure to its end; 0 if there was none; outage_seconds in JSON

	// What a promotion retired.
	Drained   int64         `json:"drained"`  // requests that were in flight on it then
	DrainTime time.Duration `json:"-"`        // until the last of them had left; 0 while Draining; drain_seconds in JSON
	Draining  bool          `json:"draining"` // some have not
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

// records are what is told of recreations that have ended.
type records struct {
	mu    sync.Mutex // guards all below
	ring  history.Ring[RecreationRecord]
	total totals
}

type totals struct {
	promotions, rejections int
	last                   rejection
}

// A rejection is the latest one.
type rejection struct {
	at      time.Time
	kind    ErrorType
	unbuilt bool // the factory gave no transport to try
}

// recordOf is the record of a recreation that has ended.
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
	if !about.Tripped.IsZero() {
		record.Outage = t.At.Sub(about.Since)
	}
	return record
}

// whose says which authority a recreation is told of, and with which trigger: the
// one that decided, if it was promoted, or that it was built for.
func whose(t gate.Told) (about core.About, trigger string) {
	about, trigger = t.Recreation.Need, t.Recreation.Trigger
	if t.What == core.WasPromoted && t.About.Authority != (core.Authority{}) {
		about = t.About
	}
	if !t.Recreation.Planned && about.Trigger != "" {
		trigger = about.Trigger
	}
	return about, trigger
}

// traceID is that of the recreation's span; "" if there is none, or not yet.
func traceID(r *gate.Recreation) string {
	if !r.Begun() {
		return ""
	}
	if id := spanOf(r).SpanContext().TraceID(); id.IsValid() {
		return id.String()
	}
	return ""
}

// add notes the end of a recreation.
func (r *records) add(t gate.Told) {
	record := recordOf(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	if record.Outcome == OutcomePromoted {
		r.total.promotions++
	} else {
		r.total.rejections++
		r.total.last = rejection{at: t.At, kind: record.ErrorType, unbuilt: t.Unbuilt}
	}
	var draining *generation.Generation
	if record.Draining {
		draining = t.Retired
	}
	r.ring.Add(t.Candidate, record, draining, t.At)
}

// traced notes the trace of a recreation that ended before its span was there.
func (r *records) traced(candidate uint64, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.Change(candidate, func(record *RecreationRecord) { record.TraceID = id })
}

// drained notes that the last request has left g.
func (r *records) drained(g *generation.Generation) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.Drained(g, func(record *RecreationRecord, since time.Time) {
		record.DrainTime, record.Draining = now.Sub(since), false
	})
}

func (r *records) all() []RecreationRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ring.All()
}

func (r *records) totals() totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}
