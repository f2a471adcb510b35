package patience

import (
	"slices"
	"time"
	"weak"

	"github.com/respawnhttp/respawn/internal/core"
)

// arm sets the timer, if that is not done.
func (r *Registry) arm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.armed.Load() {
		r.armed.Store(true)
		r.setLocked(r.least)
	}
}

func (r *Registry) setLocked(d time.Duration) {
	switch {
	case r.closed:
	case r.timer == nil:
		self := weak.Make(r) // a client that its user has dropped is not kept
		r.timer = time.AfterFunc(d, func() {
			if r := self.Value(); r != nil {
				r.sweep()
			}
		})
	default:
		r.timer.Reset(d)
	}
}

// sweep is the timer's.
func (r *Registry) sweep() {
	now := time.Now()
	condemned := r.takeCondemned()
	var due []*Entry
	for i := range r.shards {
		due = append(due, r.shards[i].due(now, r.least)...)
	}
	r.rearm(now) // first: a waiter that is told something may be slow, if a logger blocks
	for _, c := range condemned {
		r.condemn(c)
	}
	s := sweep{Registry: r, now: now, all: make(map[core.Authority]*awaited)}
	for _, e := range due {
		s.look(e)
	}
}

func (r *Registry) takeCondemned() []condemned {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.condemned
	r.condemned = nil
	return taken
}

// condemn tells the waiters whose transport was replaced.
func (r *Registry) condemn(c condemned) {
	for i := range r.shards {
		for _, e := range r.shards[i].on(c.on) {
			if slices.Contains(c.all, e.waiter.Authority()) {
				e.waiter.Condemned()
			}
		}
	}
}

// on returns the waiters on a transport that was replaced that have not been judged.
func (s *shard) on(transport uint64) []*Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Entry
	for e := s.first; e != nil; e = e.next {
		if e.on == transport && !e.judged {
			e.told, e.judged = true, true
			all = append(all, e)
		}
	}
	return all
}

// due returns the waiters to look at now, and puts them behind the others.
func (s *shard) due(now time.Time, patience time.Duration) []*Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Entry
	for e := s.first; e != nil && !e.due.After(now); e = s.first {
		s.unlink(e)
		e.told, e.due = true, now.Add(patience)
		s.link(e)
		all = append(all, e)
	}
	return all
}

// rearm sets the timer to when the next one is to be looked at. Where nobody waits it
// clears armed, and looks once more: someone who came in meanwhile has seen it set.
func (r *Registry) rearm(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.nextLocked()
	if next.IsZero() {
		r.armed.Store(false)
		if next = r.nextLocked(); next.IsZero() {
			return
		}
		r.armed.Store(true)
	}
	if len(r.condemned) > 0 {
		r.setLocked(0)
		return
	}
	r.setLocked(max(next.Sub(now), r.rest))
}

// nextLocked is when the next one is to be looked at; zero: nobody waits.
func (r *Registry) nextLocked() (next time.Time) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		if s.first != nil && (next.IsZero() || s.first.due.Before(next)) {
			next = s.first.due
		}
		s.mu.Unlock()
	}
	return next
}

// A sweep looks at the waiters that are due. It asks for the present patience of each authority
// once, for all of its waiters, and again only for those that have waited for less than that: when
// their waits began it may have been shorter.
type sweep struct {
	*Registry
	now  time.Time
	all  map[core.Authority]*awaited
	last *awaited // of them: many in a row wait for one
}

// awaited is an authority that somebody waits for.
type awaited struct {
	core.Authority
	patience time.Duration
	told     int // how many waiters
}

// look tells e's waiter if it has been silent for another patience.
func (s *sweep) look(e *Entry) {
	since := e.waiter.Since()
	if since.IsZero() {
		return
	}
	a := s.awaited(e.waiter.Authority())
	since, in := e.waitsSince(since)
	if !in || !s.isStall(a, since) {
		return
	}
	e.waitsAgain(s.now)
	if a.told < mostTold {
		a.told++
		e.waiter.Silent()
	}
}

func (s *sweep) awaited(a core.Authority) *awaited {
	if s.last != nil && s.last.Authority == a {
		return s.last
	}
	if s.last = s.all[a]; s.last == nil {
		s.last = &awaited{Authority: a, patience: s.of(a, s.now)}
		s.all[a] = s.last
	}
	return s.last
}

// isStall reports whether a wait for a that began at a time has lasted for a patience.
func (s *sweep) isStall(a *awaited, since time.Time) bool {
	waited := s.now.Sub(since)
	return waited >= a.patience || waited >= s.least && waited >= s.of(a.Authority, since)
}
