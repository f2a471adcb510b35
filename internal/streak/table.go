package streak

import (
	"context"
	"iter"
	"maps"
	"time"

	"github.com/respawnhttp/respawn/internal/core"
)

// maxStreaks and maxLinks bound the memory that hostile authorities can take.
const (
	maxStreaks = 256
	maxLinks   = 8
	// forgetAfter drops authorities that nobody has asked for in that time,
	// so that one dead link does not keep everybody off the healthy path for
	// ever. It is long, since seldom used ones must trip, too.
	forgetAfter = time.Hour
)

// A Table holds the authorities under suspicion. It is empty when all is
// well, and is guarded by whoever holds it.
type Table struct {
	m     map[core.Authority]*Streak
	swept time.Time
}

// Get returns the streak of a, or nil.
func (t *Table) Get(a core.Authority) *Streak { return t.m[a] }

// Open returns the streak of a, a new one if there is none.
func (t *Table) Open(a core.Authority, now time.Time) *Streak {
	if s := t.m[a]; s != nil {
		return s
	}
	if len(t.m) >= maxStreaks {
		t.evict()
	}
	if t.m == nil {
		t.m = make(map[core.Authority]*Streak)
	}
	a = a.Clone()
	s := &Streak{Authority: a, Since: now, Last: now, Over: make(chan struct{})}
	t.m[a] = s
	return s
}

// End forgets s, and wakes those who wait for the end of its trip.
func (t *Table) End(s *Streak) {
	if t.m[s.Authority] == s {
		delete(t.m, s.Authority)
		close(s.Over)
	}
}

// evict makes room: the least failures first, among those the oldest. A flood of
// invented names that fail once cannot push out an outage; one of names that trip
// can, if there are more of them than places between two requests to its host.
func (t *Table) evict() {
	var least *Streak
	for _, s := range t.m {
		if least == nil || s.weight() < least.weight() || s.weight() == least.weight() && s.Last.Before(least.Last) {
			least = s
		}
	}
	t.End(least)
}

// Forget drops, now and then, who has not been asked for lately.
func (t *Table) Forget(now time.Time) {
	if now.Sub(t.swept) < time.Minute {
		return
	}
	t.swept = now
	for _, s := range t.m {
		if now.Sub(s.Last) >= forgetAfter {
			t.End(s)
		}
	}
}

// Restart begins all streaks anew for a fresh generation. What had tripped
// stays in the table as an outage until its first success.
func (t *Table) Restart(recovery context.Context) {
	for _, s := range t.m {
		if !s.Outage() {
			t.End(s)
			continue
		}
		close(s.Over)
		*s = Streak{
			Authority: s.Authority, Since: s.Since, Last: s.Last, Trigger: s.Trigger,
			Links: s.Links, Recovery: recovery, Over: make(chan struct{}),
		}
	}
}

// All returns every streak, in no order. The table may be changed meanwhile.
func (t *Table) All() iter.Seq[*Streak] { return maps.Values(t.m) }

// Empty reports whether nobody is under suspicion.
func (t *Table) Empty() bool { return len(t.m) == 0 }
