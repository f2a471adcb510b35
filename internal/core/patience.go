package core

import (
	"slices"
	"time"
)

// patience learns how long the answers of an authority may take. WithPatience sets the least. Who waits,
// and since when, is known to internal/patience, which tells the core of each wait that was too long
// (Silent in events.go).
type patience struct {
	table[learnt]
	least time.Duration
}

// learnt holds the longest answered wait of this window and of the one before it,
// so that what is forgotten is between one and two windows old.
type learnt struct {
	began        time.Time
	now          longest
	before       time.Duration
	doubled      time.Duration // by trials that were no faster
	doubledUntil time.Time
	guessed      time.Duration // by candidates that the outage under way refused
}

// inForce: what was learned makes room as it comes.
func (learnt) inForce(time.Time) bool { return false }

// MostPatience bounds what is learned of an authority.
const MostPatience = time.Hour

const (
	window   = 30 * time.Minute
	mostHeld = 2 * time.Minute
)

// of is how long a request to a that has waited since then may wait before that is a stall:
// the longest of what is known of a, and what an outage under way made of it.
func (p *patience) of(now, since time.Time, a Authority) time.Duration {
	d := p.known(now, since, a)
	if l := p.get(a); l != nil {
		d = max(d, l.guessed)
	}
	return d
}

// known is the longest of what answers have taught of a and, for a window, what noFaster made
// of it. It is no more than MostPatience.
func (p *patience) known(now, since time.Time, a Authority) time.Duration {
	l := p.get(a)
	if l == nil {
		return p.least
	}
	l.turn(now)
	d := p.taught(l, since)
	if now.Before(l.doubledUntil) {
		d = max(d, l.doubled)
	}
	return min(d, MostPatience)
}

// taught is the longer of the client's patience and twice the longest answered wait of this window
// and the one before, as it was when a wait began.
//
// Answers that have come since teach this wait nothing, unless one took at least twice that patience:
// the upstream is slower than this wait is long. Else a request on a dark connection would never be
// silent while older requests on another one are answered, each later than the one before.
func (p *patience) taught(l *learnt, since time.Time) time.Duration {
	d := max(p.least, 2*max(l.now.by(since), l.before))
	if longest := max(l.now.wait, l.before); longest >= 2*d {
		return 2 * longest
	}
	return d
}

// ofLeaving is how long a request to a that has waited since then must have waited for its
// caller's leaving to be a stall.
func (p *patience) ofLeaving(now, since time.Time, a Authority) time.Duration {
	if d := p.known(now, since, a); d > p.least {
		return max(leaving, d/2)
	}
	return leaving
}

// ofTrial is how long a trial of a may hold back the next candidate of others. Doublings alone raise
// it to no more than mostHeld: nothing was ever answered that took longer.
func (p *patience) ofTrial(now time.Time, a Authority) time.Duration {
	l := p.get(a)
	if l == nil {
		return p.least
	}
	return min(p.of(now, now, a), max(p.least, 2*max(l.now.wait, l.before), mostHeld))
}

// answered: a request to a was answered, after it had waited for so long. Half of the client's
// patience or less teaches nothing.
func (p *patience) answered(now time.Time, a Authority, waited time.Duration) {
	if 2*waited <= p.least {
		return
	}
	l := p.use(now, a)
	l.turn(now)
	l.now.raise(now, waited)
}

// noFaster doubles the patience of a: a fresh transport was no faster than the one in
// service. waited is how long that one has kept a request waiting, if it is known to be
// well; else 0.
func (p *patience) noFaster(now time.Time, a Authority, waited time.Duration) {
	d := min(2*max(p.known(now, now, a), waited), MostPatience)
	l := p.use(now, a)
	l.turn(now)
	l.doubled, l.doubledUntil = d, now.Add(window)
}

// refused doubles the patience of a for as long as its outage lasts: neither transport
// answers. The upstream may be slow, and then its answers, or noFaster, will tell how slow. It
// may as well be down, which says nothing of the time after it.
func (p *patience) refused(now time.Time, a Authority) {
	d := min(2*p.of(now, now, a), MostPatience)
	p.use(now, a).guessed = d
}

// over notes that the outage of a has ended.
func (p *patience) over(a Authority) {
	if l := p.get(a); l != nil {
		l.guessed = 0
	}
}

func (l *learnt) turn(now time.Time) {
	switch age := now.Sub(l.began); {
	case age >= 2*window:
		l.began, l.now, l.before = now, longest{}, 0
	case age >= window:
		l.began, l.now, l.before = now, longest{}, l.now.wait
	}
}

// longest is the longest answered wait of a window, and what it was before. Of that it keeps
// what was at least a quarter more than what it kept before, so that there is little to keep.
type longest struct {
	seen
	steps []seen
}

type seen struct {
	at   time.Time
	wait time.Duration
}

func (l *longest) raise(now time.Time, waited time.Duration) {
	if waited <= l.wait {
		return
	}
	l.seen = seen{now, waited}
	if n := len(l.steps); n == 0 || waited >= l.steps[n-1].wait*5/4 {
		l.steps = append(l.steps, l.seen)
	}
}

// by returns the longest wait that was known at a time. If that has grown since, it is what was kept
// of it, which is at least four fifths.
func (l *longest) by(then time.Time) time.Duration {
	if !l.at.After(then) {
		return l.wait
	}
	for _, s := range slices.Backward(l.steps) {
		if !s.at.After(then) {
			return s.wait
		}
	}
	return 0
}
