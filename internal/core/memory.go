package core

import (
	"slices"
	"time"
)

// A table remembers something about a bounded number of authorities. Who was
// used longest ago makes room.
type table[T any] struct {
	entries []entry[T]
}

type entry[T any] struct {
	authority Authority
	used      time.Time
	value     T
}

func (t *table[T]) get(a Authority) *T {
	for i := range t.entries {
		if t.entries[i].authority == a {
			return &t.entries[i].value
		}
	}
	return nil
}

func (t *table[T]) use(now time.Time, a Authority) *T {
	for i := range t.entries {
		if t.entries[i].authority == a {
			t.entries[i].used = now
			return &t.entries[i].value
		}
	}
	if len(t.entries) >= maxMemories {
		oldest := slices.MinFunc(t.entries, func(a, b entry[T]) int { return a.used.Compare(b.used) })
		t.entries = slices.DeleteFunc(t.entries, func(e entry[T]) bool { return e.authority == oldest.authority })
	}
	t.entries = append(t.entries, entry[T]{authority: a.Clone(), used: now})
	return &t.entries[len(t.entries)-1].value
}

// recent remembers the latest outages and swaps of authorities.
type recent struct {
	table[recently]
}

type recently struct {
	over    time.Time // when its last outage ended
	swapped time.Time // when a transport was promoted for it
	answers int       // that its next proof takes; 0 is one
	down    time.Time // when the transport in service was last found well again after a candidate had failed
	useless time.Time // when such a promotion was last seen not to help
	served  Instant   // when the latest attempt began that was answered in service while the authority was suspected
}

// servedSince reports whether the transport in service has answered a request of a that began later
// than the given instant.
func (r *recent) servedSince(a Authority, began Instant) bool {
	m := r.get(a)
	return m != nil && m.served > began
}

// wasDown reports whether the upstream of a was down until less than a minute ago: a candidate
// failed a, and then the transport in service answered it.
func (r *recent) wasDown(now time.Time, a Authority) bool {
	m := r.get(a)
	return m != nil && now.Sub(m.down) < calm
}

// over notes that an outage of a has ended.
func (r *recent) over(now time.Time, a Authority) {
	m := r.use(now, a)
	m.over = now
	if r.answers(now, a) > 1 {
		m.useless = now
	}
}

func (r *recent) swappedFor(now time.Time, a Authority) { r.use(now, a).swapped = now }

// didNotHelp: a failure or a stall of a has counted. If a transport was promoted for a less than
// judgedFor ago, a's next proof takes more answers, until vainFor has passed in which nothing
// counted against a, and no outage of a ended.
func (r *recent) didNotHelp(now time.Time, a Authority) {
	m := r.get(a)
	switch {
	case m == nil:
	case now.Sub(m.swapped) < judgedFor:
		m.answers = min(moreAnswers*r.answers(now, a), mostAnswers)
		m.useless, m.swapped = now, time.Time{}
	case r.answers(now, a) > 1:
		m.useless = now
	}
}

// answers is how many a proof of a takes.
func (r *recent) answers(now time.Time, a Authority) int {
	if m := r.get(a); m != nil && now.Sub(m.useless) < vainFor {
		return m.answers
	}
	return 1
}
