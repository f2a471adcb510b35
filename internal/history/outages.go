package history

import (
	"slices"
	"time"

	"github.com/respawnhttp/respawn/internal/core"
)

// A Key identifies an outage among those of its client.
type Key struct {
	Authority core.Authority // zero: of the client, whose transport had ended
	Begin     time.Time      // its first failure
}

// KeyOf returns the key of the outage that a is about; zero if there is none.
func KeyOf(a core.About) Key {
	if a.Tripped.IsZero() {
		return Key{}
	}
	return Key{a.Authority, a.Since}
}

// An Outage is one of an authority, or of the client.
type Outage struct {
	Key
	Trigger string    // of the failure that tripped it
	End     time.Time // zero while it lasts
	EndedBy string
}

// Lasts returns how long the outage lasted, or has lasted so far.
func (o Outage) Lasts(now time.Time) time.Duration {
	if o.End.IsZero() {
		return now.Sub(o.Begin)
	}
	return o.End.Sub(o.Begin)
}

// Outages remembers the outages that last, and the latest that have ended. Its owner
// guards it.
type Outages struct {
	Total int
	open  []Outage // by their begins
	ended Ring[Outage]
}

// Note takes a report that an authority has tripped, or that its outage is over,
// which it then returns.
func (h *Outages) Note(r core.Report) (over Outage, isOver bool) {
	key := KeyOf(r.About)
	i := slices.IndexFunc(h.open, func(o Outage) bool { return o.Key == key })
	switch {
	case r.What == core.HasTripped && i < 0:
		h.Total++
		h.open = append(h.open, Outage{Key: key, Trigger: r.About.Trigger})
	case r.What == core.HasTripped:
		h.open[i].Trigger = r.About.Trigger // on a fresh transport, too
	case i >= 0:
		over, isOver = h.open[i], true
		over.End, over.EndedBy = r.Over, r.Kind
		h.open = slices.Delete(h.open, i, i+1)
		h.ended.Add(0, over, nil, r.At)
	}
	return over, isOver
}

// Find returns the outage of that key, if it is still remembered.
func (h *Outages) Find(key Key) (Outage, bool) {
	for _, all := range [][]Outage{h.open, h.ended.All()} {
		if i := slices.IndexFunc(all, func(o Outage) bool { return o.Key == key }); i >= 0 {
			return all[i], true
		}
	}
	return Outage{}, false
}

// Open returns the outages that still last, in the order in which they began.
func (h *Outages) Open() []Outage { return slices.Clone(h.open) }

// Ended returns the latest outages that have ended, in the order in which they ended.
func (h *Outages) Ended() []Outage { return h.ended.All() }
