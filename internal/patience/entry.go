package patience

import (
	"sync"
	"time"
	"unsafe"
)

// An Entry is a waiter's place in a Registry, and part of it: that somebody waits
// costs no allocation. An Entry is used once.
type Entry struct {
	waiter Waiter
	on     uint64 // the transport
	shard  *shard // nil: it was never entered

	// Guarded by the shard.
	prev, next *Entry
	in         bool
	told       bool      // the waiter was told something, or will be
	judged     bool      // its transport was replaced, which happens once
	last       time.Time // its start, or when it was silent
	due        time.Time // when to look at it
}

// Leave ends the wait of e's waiter. It reports whether the waiter may have been told
// something, which may yet go on. It may be called twice.
func (e *Entry) Leave() (told bool) {
	s := e.shard
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.in {
		s.unlink(e)
	}
	return e.told
}

// waitsSince returns the time since when e's waiter has waited in silence, or for another patience,
// and whether it still does. Only the transport has kept it waiting since the given time.
func (e *Entry) waitsSince(since time.Time) (time.Time, bool) {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	if since.After(e.last) {
		e.last = since
	}
	return e.last, e.in
}

// waitsAgain: e's waiter was silent, and waits for another patience from now on.
func (e *Entry) waitsAgain(now time.Time) {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	e.last = now
}

// A shard is a share of the waiters: a list of all would be a lock for all. They are
// in the order in which they are to be looked at, which is that of coming in, since
// all are looked at a patience after that.
type shard struct {
	mu          sync.Mutex
	first, last *Entry
	_           [128 - 24]byte // two cache lines each: they are fetched in pairs
}

// shardOf spreads the waiters over the shards, as a generation spreads requests over its
// stripes.
func (r *Registry) shardOf(e *Entry) *shard {
	return &r.shards[uint64(uintptr(unsafe.Pointer(e)))*0x9E3779B97F4A7C15>>(64-shardBits)]
}

func (s *shard) add(e *Entry) {
	s.mu.Lock()
	s.link(e)
	s.mu.Unlock()
}

func (s *shard) link(e *Entry) {
	e.in, e.prev, e.next = true, s.last, nil
	if s.last == nil {
		s.first = e
	} else {
		s.last.next = e
	}
	s.last = e
}

func (s *shard) unlink(e *Entry) {
	if e.prev == nil {
		s.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		s.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.in, e.prev, e.next = false, nil, nil
}
