// Package history remembers a client's latest recreations and outages, and each retired
// transport for as long as it drains.
package history

import (
	"time"

	"github.com/respawnhttp/respawn/internal/generation"
)

// limit bounds the memory of the past.
const limit = 64

// A Ring holds the last events, each described by a Record. Its owner guards it.
type Ring[Record any] struct {
	entries []entry[Record] // the oldest is at next, once there are limit
	next    int
}

type entry[Record any] struct {
	id      uint64
	record  Record
	retired *generation.Generation // nil once it has drained
	since   time.Time              // when it was retired
}

// Add notes the event of that id at now, which retired a generation with requests
// in flight on it; nil if it did not.
func (h *Ring[Record]) Add(id uint64, record Record, retired *generation.Generation, now time.Time) {
	e := entry[Record]{id, record, retired, now}
	if len(h.entries) < limit {
		h.entries = append(h.entries, e)
		return
	}
	h.entries[h.next] = e
	h.next = (h.next + 1) % limit
}

// Change changes the record of that id, if it is still remembered.
func (h *Ring[Record]) Change(id uint64, change func(record *Record)) {
	for i := range h.entries {
		if e := &h.entries[i]; e.id == id {
			change(&e.record)
		}
	}
}

// Each changes all records that are remembered.
func (h *Ring[Record]) Each(change func(record *Record)) {
	for i := range h.entries {
		change(&h.entries[i].record)
	}
}

// Drained lets go of g, whose last request has left, and has the record of its
// retirement changed.
func (h *Ring[Record]) Drained(g *generation.Generation, change func(record *Record, since time.Time)) {
	for i := range h.entries {
		if e := &h.entries[i]; e.retired == g {
			change(&e.record, e.since)
			e.retired = nil
		}
	}
}

// All returns the records, the oldest first.
func (h *Ring[Record]) All() []Record {
	records := make([]Record, 0, len(h.entries))
	for i := range h.entries {
		records = append(records, h.entries[(h.next+i)%len(h.entries)].record)
	}
	return records
}
