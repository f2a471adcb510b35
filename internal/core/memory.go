package core

import (
	"slices"
	"time"
)

// A table remembers something about a bounded number of authorities. Who was used longest ago makes
// room, but those last whose memory is a verdict in force: a flood of names must not wipe it out.
type table[T interface{ inForce(now time.Time) bool }] struct {
	entries []entry[T]
}

type entry[T interface{ inForce(now time.Time) bool }] struct {
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
		oldest := slices.MinFunc(t.entries, func(a, b entry[T]) int {
			switch inForce := a.value.inForce(now); {
			case inForce == b.value.inForce(now):
				return a.used.Compare(b.used)
			case inForce:
				return 1
			}
			return -1
		})
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
	useless time.Time // when such a promotion was seen not to help, or the latest outage since then ended
	served  Instant   // when the latest attempt began that was answered in service while the authority was suspected
}

// inForce reports whether something was promoted within the last minute, or a promotion did not help.
func (m recently) inForce(now time.Time) bool {
	return now.Sub(m.swapped) < calm || m.answers > 1 && now.Sub(m.useless) < vainFor
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

// over notes that an outage of a has ended, which began when a tripped.
func (r *recent) over(now, tripped time.Time, a Authority) {
	m := r.use(now, a)
	m.over = now
	if r.answers(tripped, a) > 1 {
		m.useless = now
	}
}

func (r *recent) swappedFor(now time.Time, a Authority) { r.use(now, a).swapped = now }

// didNotHelp: a failure or a stall of a has counted. If a transport was promoted for a within the last
// minute, a's next proof takes more answers, until vainFor has passed in which a had no outage.
func (r *recent) didNotHelp(now time.Time, a Authority) {
	if m := r.get(a); m != nil && now.Sub(m.swapped) < calm {
		m.answers = min(moreAnswers*r.answers(now, a), mostAnswers)
		m.useless, m.swapped = now, time.Time{}
	}
}

// answers is how many a proof of a takes in an outage that began then.
func (r *recent) answers(tripped time.Time, a Authority) int {
	if m := r.get(a); m != nil && tripped.Sub(m.useless) < vainFor {
		return m.answers
	}
	return 1
}
