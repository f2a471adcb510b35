package core

import (
	"slices"
	"time"
)

// The account of who waits for a place in a pool.

// placed: f has its place. If it is the control of an answered copy, it begins after the answer.
func (acc *account) placed(w *world, f *flight) {
	h := &acc.hosts[hostOf(f.x.q.Authority)]
	if f.on == w.current {
		h.changed = w.now
	}
	acc.served = slices.Clone(acc.served)
	for i := range acc.served {
		if s := &acc.served[i]; s.main == f.a {
			s.own = true
		}
	}
}

// holding notes, at a trip, for how long the places have been held.
func (acc *account) holding(w *world, h *hostAccount) {
	h.moved, h.held = w.now, 0
	for _, g := range w.flights {
		known := g.under == h.suspicion || g.silentIn == h.suspicion && g.silences > 0
		if g.on == w.current && &acc.hosts[hostOf(g.x.q.Authority)] == h && !g.queued && !g.held && known && !g.hidden && !g.extra {
			h.held = min(max(h.held, acc.waited(w, g)), time.Duration(w.Stalls)*w.Patience)
		}
	}
}

// isExcused reports whether f waits for a place and that is nobody's fault, at the least.
func (acc *account) isExcused(w *world, f *flight) bool {
	h := &acc.hosts[hostOf(f.x.q.Authority)]
	return f.queued && (w.now.Before(h.moved.Add(max(w.Patience, h.held))) || w.now.Before(h.changed.Add(w.Patience)))
}

// A lateStall is a stall of what had waited for a place; the zero value is none.
type lateStall struct {
	kind    Kind
	began   int
	silence time.Duration // since it had its place
}

// silence is how long another request has to be silent to be the control of s.
func (s *served) silence() time.Duration { return max(2*s.at.Sub(s.start), time.Second) }

// isLike reports whether a request like that of s failed in service that began at this step or later, or
// has been silent there for twice as long as the candidate took.
func (acc *account) isLike(w *world, h *hostAccount, s *served, since int) bool {
	silent := func(f *flight) bool {
		return f.on == w.current && !f.held && likeOf(f.x.q.Kind) == likeOf(s.kind) && f.x.q.Authority == hosts[s.host] && f.began >= since &&
			!acc.isExcused(w, f) && acc.waited(w, f) >= s.silence()
	}
	return h.like[likeOf(s.kind)] >= since || slices.ContainsFunc(w.flights, silent) || h.cut.kind == likeOf(s.kind) && h.cut.began >= since && h.cut.silence >= 2*s.at.Sub(s.start)+100*time.Millisecond
}
