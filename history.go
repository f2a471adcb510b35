package respawn

import (
	"encoding/json"
	"time"

	"github.com/respawnhttp/respawn/internal/generation"
)

// A RecreationRecord tells of one recreation that has ended, and of the drain
// that it began. It holds hosts and kinds of errors, never paths, headers or
// error texts.
type RecreationRecord struct {
	Time       time.Time     `json:"time"`                 // its start
	Duration   time.Duration `json:"-"`                    // until promotion or rejection; duration_seconds in JSON
	Trigger    string        `json:"trigger"`              // as respawn.trigger in traces
	Outcome    string        `json:"outcome"`              // promoted or rejected
	ErrorType  string        `json:"error_type,omitempty"` // why it was rejected
	Authority  string        `json:"authority,omitempty"`  // scheme://host:port whose trip it was; "" if it was planned
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

// maxHistory bounds the memory of past recreations.
const maxHistory = 64

// A history is a ring of the last recreations, guarded by
// RecoveringRoundTripper.mu.
type history struct {
	entries []entry // the oldest is at next, once there are maxHistory
	next    int
}

type entry struct {
	record  RecreationRecord
	retired *generation.Generation // nil once it has drained
	since   time.Time              // when it was retired
}

// remember notes the end of r, whose promotion retired old; nil for a
// rejection. The caller holds rt.mu and has put the candidate in service.
func (rt *RecoveringRoundTripper) remember(r *recreation, old *generation.Generation, kind string, now time.Time) {
	e := entry{record: RecreationRecord{
		Time:       r.start,
		Duration:   now.Sub(r.start),
		Trigger:    r.trigger,
		Outcome:    outcomeRejected,
		ErrorType:  kind,
		Authority:  r.authority.String(),
		Generation: r.generation,
		Failures:   r.failures,
	}}
	if r.trace.IsValid() {
		e.record.TraceID = r.trace.String()
	}
	if !r.since.IsZero() {
		e.record.Outage = now.Sub(r.since)
	}
	if old != nil {
		e.record.Outcome, e.record.Generation = outcomePromoted, r.candidate.Number
		if e.record.Drained = old.InFlight(); e.record.Drained > 0 {
			e.record.Draining, e.retired, e.since = true, old, now
		}
	}
	h := &rt.history
	if len(h.entries) < maxHistory {
		h.entries = append(h.entries, e)
		return
	}
	h.entries[h.next] = e
	h.next = (h.next + 1) % maxHistory
}

// drained notes that the last request has left g.
func (rt *RecoveringRoundTripper) drained(g *generation.Generation) {
	now := time.Now()
	rt.mu.Lock()
	defer rt.mu.Unlock()
	for i := range rt.history.entries {
		if e := &rt.history.entries[i]; e.retired == g {
			e.record.DrainTime, e.record.Draining, e.retired = now.Sub(e.since), false, nil
		}
	}
}

// Recreations returns the last recreations that have ended, at most 64, the
// oldest first. It never blocks, whatever a recreation is doing, and is safe
// for concurrent use.
func (rt *RecoveringRoundTripper) Recreations() []RecreationRecord {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	h := &rt.history
	records := make([]RecreationRecord, 0, len(h.entries))
	for i := range h.entries {
		records = append(records, h.entries[(h.next+i)%len(h.entries)].record)
	}
	return records
}
