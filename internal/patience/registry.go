// Package patience keeps track of requests that wait for an answer, if their callers
// have so much time that no deadline would soon show a dead transport. It tells each of
// them whenever it has waited for another patience. It decides nothing.
package patience

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respawnhttp/respawn/internal/core"
)

// A Waiter is a request that waits for an answer. Its methods are called without a
// lock, by the registry's timer; also when the waiter has just left, and at the same
// time where one of them takes long.
type Waiter interface {
	Authority() core.Authority // it may be zero when the waiter has left
	// Since returns the time since when only the transport has kept it waiting; zero if
	// something else keeps it waiting now.
	Since() time.Time
	// Silent is told that it has waited for another patience.
	Silent()
	// Condemned is told that the transport it waits on was replaced, and why: for an
	// outage of its authority.
	Condemned()
}

const (
	// enough is how many patiences a caller has to have left: to one with less its
	// deadline will speak soon.
	enough = 1.5
	// grain is the share of a patience that the timer rests at least.
	grain = 1. / 50
	// stale is the share of a patience that the coarse clock may be behind before
	// whoever has read the real one sets it: a store holds up all processors.
	stale = 1. / 8
	// mostTold bounds how many waiters of one authority a sweep tells that they are
	// silent. The others are looked at again a patience later: that an authority is
	// silent is known by then.
	mostTold = 100

	shardBits = 5
)

// A Registry holds the waiters of one client. The zero value accompanies nobody. All
// methods but Open are safe for concurrent use.
type Registry struct {
	least  time.Duration // the client's patience; 0: nobody is accompanied
	of     Of            // the patience as learned for an authority
	left   time.Duration // that an accompanied caller has at least
	rest   time.Duration // of the timer between two sweeps, at least
	born   time.Time
	coarse atomic.Int64 // a time since born; behind
	armed  atomic.Bool  // the timer is set, since somebody waits
	latest atomic.Pointer[condemned]
	shards [1 << shardBits]shard

	mu        sync.Mutex // guards the below; shards are locked under it
	timer     *time.Timer
	condemned []condemned
	closed    bool
}

// condemned are waiters on a transport that was replaced.
type condemned struct {
	on  uint64
	all []core.Authority
}

// Of says how long answers of an authority may take for a wait that began at a time.
type Of func(a core.Authority, since time.Time) time.Duration

// Open makes r accompany requests. least is the least that of returns.
func (r *Registry) Open(least time.Duration, of Of) {
	r.least, r.of, r.born = least, of, time.Now()
	r.left = time.Duration(enough * float64(least))
	r.rest = time.Duration(grain * float64(least))
}

// Accompanies reports whether a request under ctx is to be accompanied: its caller
// has time to spare. Where it has not, Accompanies takes no lock and does not look at the
// clock: the coarse clock is behind, so a deadline looks farther away by it than it is, and
// only one that looks far away is looked at twice.
func (r *Registry) Accompanies(ctx context.Context) bool {
	if r.least == 0 {
		return false
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return true
	}
	latest := int64(deadline.Sub(r.born) - r.left)
	return latest >= r.coarse.Load() && r.isBefore(latest)
}

// isBefore reports whether the time is not later than latest.
func (r *Registry) isBefore(latest int64) bool {
	now := int64(time.Since(r.born))
	if now-r.coarse.Load() > int64(stale*float64(r.least)) {
		r.coarse.Store(now)
	}
	return latest >= now
}

// Taught reports whether an answer that took so long says something about its
// authority's patience.
func (r *Registry) Taught(waited time.Duration) bool { return 2*waited > r.least }

// Enter accompanies w, which begins on the transport of this number, and may have been
// counted in there before: if the transport was replaced in between, w is condemned as
// those are who were there.
func (r *Registry) Enter(e *Entry, w Waiter, on uint64, start time.Time) {
	if start.IsZero() {
		start = time.Now()
	}
	e.waiter, e.on, e.last = w, on, start
	e.due = start.Add(r.least)
	e.shard = r.shardOf(e)
	e.shard.add(e)
	if !r.armed.Load() {
		r.arm()
	}
	if c := r.latest.Load(); c != nil && c.on == on {
		r.condemnLater(*c)
	}
}

// Condemn tells all waiters on a transport that was replaced, if they wait for one of
// these authorities. It is done by the timer, off the path of whoever replaced it.
func (r *Registry) Condemn(on uint64, all []core.Authority) {
	if len(all) == 0 {
		return
	}
	c := condemned{on, all}
	r.latest.Store(&c) // first: a waiter that enters after the timer has looked reads this
	r.condemnLater(c)
}

// condemnLater lets the timer tell the waiters.
func (r *Registry) condemnLater(c condemned) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.armed.Load() && r.timer != nil && !r.closed { // under the lock: rearm takes back its word
		r.condemned = append(r.condemned, c)
		r.timer.Reset(0)
	}
}

// Close lets go of all waiters.
func (r *Registry) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.condemned = true, nil
	if r.timer != nil {
		r.timer.Stop()
	}
}
