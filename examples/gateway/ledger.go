package main

import (
	"sync"
	"time"
)

// A record is one request of the show. Times count from the show's start.
type record struct {
	sent  time.Duration
	ended time.Duration // 0 while it is waiting
	err   error         // nil: answered to the last word
}

func (r record) waiting() bool  { return r.ended == 0 }
func (r record) answered() bool { return r.ended > 0 && r.err == nil }
func (r record) failed() bool   { return r.ended > 0 && r.err != nil }

// A ledger keeps the records of one lane, and is safe for concurrent use.
type ledger struct {
	mu      sync.Mutex
	records []record
}

// open notes that a request was sent. The function it returns notes its end.
func (l *ledger) open(sent time.Duration) (closeAt func(ended time.Duration, err error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := len(l.records)
	l.records = append(l.records, record{sent: sent})
	return func(ended time.Duration, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.records[i].ended, l.records[i].err = ended, err
	}
}

// snapshot returns a copy of the records so far, in the order of sending.
func (l *ledger) snapshot() []record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]record(nil), l.records...)
}

// A tick is what happened in one short span of the show.
type tick struct {
	answered, failed int // requests that ended in it
	waiting          int // requests in flight at its end
}

// ticksOf sums the records up in n ticks of the given length, up to now.
func ticksOf(records []record, length time.Duration, n int, now time.Duration) []tick {
	ticks := make([]tick, min(n, int(now/length)))
	for _, r := range records {
		for i := range ticks {
			from, to := time.Duration(i)*length, time.Duration(i+1)*length
			switch {
			case r.sent < to && (r.waiting() || r.ended >= to):
				ticks[i].waiting++
			case r.answered() && r.ended >= from && r.ended < to:
				ticks[i].answered++
			case r.failed() && r.ended >= from && r.ended < to:
				ticks[i].failed++
			}
		}
	}
	return ticks
}

// A look is what a tick shows when there is room for one thing only.
type look int

const (
	lookIdle look = iota
	lookAnswered
	lookFailed  // at least one request, whatever became of others
	lookWaiting // nothing ended, and somebody would have liked it to
)

func (t tick) look() look {
	switch {
	case t.failed > 0:
		return lookFailed
	case t.answered > 0:
		return lookAnswered
	case t.waiting > 0:
		return lookWaiting
	}
	return lookIdle
}
