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

// recent remembers the last minute's outages and swaps of authorities.
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

func (r *recent) swappedFor(now time.Time, a Authority) { r.use(now, a).swapped = now }

// didNotHelp: a has stalled or tripped again. If a transport was promoted for a within the
// last minute, a's next proof takes more answers, until a minute has passed in which a
// neither stalled nor tripped.
func (r *recent) didNotHelp(now time.Time, a Authority) {
	m := r.get(a)
	switch {
	case m == nil:
	case now.Sub(m.swapped) < calm:
		m.answers = min(moreAnswers*r.answers(now, a), mostAnswers)
		m.useless, m.swapped = now, time.Time{}
	case r.answers(now, a) > 1:
		m.useless = now
	}
}

// answers is how many a proof of a takes.
func (r *recent) answers(now time.Time, a Authority) int {
	if m := r.get(a); m != nil && now.Sub(m.useless) < calm {
		return m.answers
	}
	return 1
}

// patience learns how long the answers of an authority may take.
type patience struct {
	table[learnt]
	least time.Duration
}

// learnt holds the longest answered wait of this window and of the one before it,
// so that what is forgotten is between one and two windows old.
type learnt struct {
	began        time.Time
	now, before  time.Duration
	doubled      time.Duration // by trials that were no faster
	doubledUntil time.Time
	guessed      time.Duration // by candidates that the outage under way refused
}

// MostPatience bounds what is learned of an authority.
const MostPatience = time.Hour

const (
	window   = 30 * time.Minute
	mostHeld = 2 * time.Minute
)

// of is how long a request to a may wait before that is a stall: the longest of what is
// known of a, and what an outage under way made of it.
func (p *patience) of(now time.Time, a Authority) time.Duration {
	d := p.known(now, a)
	if l := p.get(a); l != nil {
		d = max(d, l.guessed)
	}
	return d
}

// known is the longest of the client's patience, twice the longest answered wait of this
// window and the one before, and, for a window, what noFaster made of it. It is no more than
// MostPatience.
func (p *patience) known(now time.Time, a Authority) time.Duration {
	l := p.get(a)
	if l == nil {
		return p.least
	}
	l.turn(now)
	most := 2 * max(l.now, l.before)
	if now.Before(l.doubledUntil) {
		most = max(most, l.doubled)
	}
	return min(max(p.least, most), MostPatience)
}

// ofLeaving is how long a request to a must have waited for its caller's leaving to
// be a stall.
func (p *patience) ofLeaving(now time.Time, a Authority) time.Duration {
	if d := p.known(now, a); d > p.least {
		return max(leaving, d/2)
	}
	return leaving
}

// ofTrial is how long a trial of a may hold back the next candidate of others. What
// was never answered has no claim to more than a few doublings.
func (p *patience) ofTrial(now time.Time, a Authority) time.Duration {
	l := p.get(a)
	if l == nil {
		return p.least
	}
	return min(p.of(now, a), max(p.least, 2*max(l.now, l.before), mostHeld))
}

// answered: a request to a was, after that long. Only what teaches something is
// written down.
func (p *patience) answered(now time.Time, a Authority, waited time.Duration) {
	if 2*waited <= p.least {
		return
	}
	l := p.use(now, a)
	l.turn(now)
	l.now = max(l.now, waited)
}

// noFaster doubles the patience of a: a fresh transport was no faster than the one in
// service. waited is how long that one has kept a request waiting, if it is known to be
// well; else 0.
func (p *patience) noFaster(now time.Time, a Authority, waited time.Duration) {
	d := min(2*max(p.known(now, a), waited), MostPatience)
	l := p.use(now, a)
	l.turn(now)
	l.doubled, l.doubledUntil = d, now.Add(window)
}

// refused doubles the patience of a for as long as its outage lasts: neither transport
// answers. The upstream may be slow, and then its answers, or noFaster, will tell how slow. It
// may as well be down, which says nothing of the time after it.
func (p *patience) refused(now time.Time, a Authority) {
	d := min(2*p.of(now, a), MostPatience)
	p.use(now, a).guessed = d
}

// over: the outage of a is.
func (p *patience) over(a Authority) {
	if l := p.get(a); l != nil {
		l.guessed = 0
	}
}

func (l *learnt) turn(now time.Time) {
	switch age := now.Sub(l.began); {
	case age >= 2*window:
		l.began, l.now, l.before = now, 0, 0
	case age >= window:
		l.began, l.now, l.before = now, 0, l.now
	}
}
