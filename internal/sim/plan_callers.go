package sim

import (
	"net/http"
	"time"
)

// This file plans what callers do, and what else is called on the client.

// An errand is one request: when, what, and how its caller behaves.
type errand struct {
	id     int
	pause  time.Duration // since the caller's errand before
	au     int           // to which authority
	method string
	body   bodyKind
	key    bool // has an Idempotency-Key
	span   bool // has a CLIENT span around it

	ends leaving       // how the caller gives up, after `in`
	in   time.Duration // how long the caller waits; endures says if ends is late

	answer answerKind
	early  bool // the answer comes before the request body is read
	chunks int  // of a stream
	gap    time.Duration
	reads  readKind
}

func (e *errand) idempotent() bool { return e.method == http.MethodGet || e.key }

type bodyKind int

const (
	bare       bodyKind = iota // no body
	rewinds                    // with GetBody
	oneShot                    // without
	unreadable                 // without, and its Read fails
)

type leaving int

const (
	byDeadline leaving = iota
	byCancel
	byCause  // canceled with a cause
	byLegacy // closes req.Cancel
	late     // by a cancel long after all is well: it waits for as long as it takes
)

type answerKind int

const (
	noBody answerKind = iota
	short
	stream
	upgrade
)

type readKind int

const (
	readsAll     readKind = iota
	readsSome             // closes in the middle
	readsNothing          // closes at once
	closesTwice           // closes twice, and reads after that
	abandons              // never closes, until the whole simulation is over
)

// A hand is a call on the client that is no caller's request.
type hand struct {
	at    time.Duration
	what  does
	limit time.Duration // of its context
}

type does int

const (
	recreates does = iota
	closesIdle
	middleware // a request that comes in through it
	closes
)

// callers draws a few callers with several errands each, or many all at once.
func (d dice) callers(p *plan, authorities int) (all [][]errand) {
	id, crowd, most := 0, 2+d.IntN(4), 14
	atOnce := d.in(4)
	if atOnce {
		crowd, most = 8+d.IntN(12), 3
	}
	for range crowd {
		var list []errand
		mean := d.between(20*time.Millisecond, 2*time.Second)
		if atOnce {
			mean = d.between(time.Millisecond, 50*time.Millisecond)
		}
		for at := time.Duration(0); at < p.storm && len(list) < most; {
			e := d.errand(id, authorities, mean)
			id++
			at += e.pause
			list = append(list, e)
		}
		all = append(all, list)
	}
	return all
}

func (d dice) hands(storm time.Duration) (all []hand) {
	for range d.IntN(5) {
		what := pick(d, recreates, recreates, closesIdle, middleware)
		all = append(all, hand{d.between(0, storm), what, d.between(time.Millisecond, 5*time.Second)})
	}
	if d.in(8) {
		all = append(all, hand{d.between(0, storm), closes, 0})
	}
	return all
}

func (d dice) errand(id, authorities int, mean time.Duration) errand {
	e := errand{
		id:     id,
		pause:  d.between(time.Microsecond, 2*mean),
		au:     d.IntN(authorities),
		method: pick(d, http.MethodGet, http.MethodGet, http.MethodGet, http.MethodPost),
		key:    d.in(8),
		span:   d.in(3),
		ends:   pick(d, byDeadline, byDeadline, byDeadline, byCancel, byCause, byLegacy),
		in:     pick(d, d.between(time.Millisecond, 50*time.Millisecond), d.between(50*time.Millisecond, time.Second), d.between(time.Second, 6*time.Second)),
		answer: pick(d, noBody, short, short, stream, upgrade),
		reads:  pick(d, readsAll, readsAll, readsAll, readsAll, readsSome, readsNothing, closesTwice, abandons),
		chunks: 1 + d.IntN(6),
		gap:    d.between(time.Millisecond, 600*time.Millisecond),
	}
	switch d.IntN(8) {
	case 0:
		e.ends = late
	case 1:
		e.in = d.between(5*time.Second, time.Minute)
	}
	if e.method == http.MethodPost {
		e.body = pick(d, bare, rewinds, rewinds, oneShot, oneShot, oneShot, unreadable)
		e.early = d.in(8)
	}
	return e
}
