package patience

import (
	"slices"
	"time"

	"github.com/respawnhttp/respawn/internal/core"
)

// Late counts the waiters of one authority that have waited for longer than its patience was when
// they began.
type Late struct {
	Authority core.Authority
	Waiting   int
	Longest   time.Duration // that one of them has waited
	Patience  time.Duration // as far as it has been learned by now
}

// Late counts the late waiters, by authority, in no order. It looks at all that have waited
// for the client's own patience.
func (r *Registry) Late() []Late {
	var all []Late
	now := time.Now()
	for i := range r.shards {
		for _, e := range r.shards[i].looked() {
			since, a := e.waiter.Since(), e.waiter.Authority()
			if !since.IsZero() && a != (core.Authority{}) { // else it has left meanwhile
				all = r.addLate(all, a, now, since)
			}
		}
	}
	return slices.DeleteFunc(all, func(l Late) bool { return l.Waiting == 0 })
}

// addLate counts one late waiter.
func (r *Registry) addLate(all []Late, a core.Authority, now, since time.Time) []Late {
	i := slices.IndexFunc(all, func(l Late) bool { return l.Authority == a })
	if i < 0 {
		i, all = len(all), append(all, Late{Authority: a, Patience: r.of(a, now)})
	}
	if l, waited := &all[i], now.Sub(since); waited >= l.Patience || waited >= r.of(a, since) {
		l.Waiting++
		l.Longest = max(l.Longest, waited)
	}
	return all
}

// looked returns the entries that were looked at: their waiters have waited for a patience.
// Only these are safe to ask.
func (s *shard) looked() []*Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Entry
	for e := s.first; e != nil; e = e.next {
		if e.told {
			all = append(all, e)
		}
	}
	return all
}
