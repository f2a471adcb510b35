package call

import (
	"context"
	"sync"
	"time"
)

// A leash is the context of one flight. It ends with the caller's, of which it has
// the values, the deadline and the error, until it is loosened: then the flight goes
// on alone. Pulling it calls the flight back.
type leash struct {
	caller context.Context
	alone  bool // from the beginning
	done   chan struct{}
	stop   func() bool

	mu   sync.Mutex // guards the below
	err  error
	back bool // it was called back before it ended
	free bool
}

func newLeash(caller context.Context) *leash {
	l := &leash{caller: caller, done: make(chan struct{})}
	if err := caller.Err(); err != nil {
		l.end(err) // at once, so that a request whose caller has left already is not sent
	}
	l.stop = context.AfterFunc(caller, func() { l.end(caller.Err()) })
	return l
}

// newLoose returns the leash of a flight that never waits for its caller: the flight has the
// values of the caller's context, and neither its end nor its deadline.
func newLoose(caller context.Context) *leash {
	return &leash{caller: caller, alone: true, free: true, done: make(chan struct{}), stop: func() bool { return false }}
}

// end ends the context, if it has not ended yet.
func (l *leash) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(err)
}

func (l *leash) endLocked(err error) {
	if l.err == nil {
		l.err = err
		close(l.done)
	}
}

// pull calls the flight back. A transport that sees the context end finds it pulled.
func (l *leash) pull() {
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.back = l.back || l.err == nil
	l.endLocked(context.Canceled)
}

// pulled reports whether the flight was called back.
func (l *leash) pulled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.back
}

// drop lets go of the caller's context: the flight is over. It may be called twice.
func (l *leash) drop() {
	l.stop()
	l.end(context.Canceled)
}

// untie lets go of the caller's context, whose end then does not end the flight.
func (l *leash) untie() bool {
	l.stop()
	return true
}

// loosen lets the flight go on without its caller.
func (l *leash) loosen() {
	if l.stop() {
		l.mu.Lock()
		l.free = true
		l.mu.Unlock()
	}
}

// loose reports whether the flight goes on without its caller.
func (l *leash) loose() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.free
}

func (l *leash) Deadline() (time.Time, bool) {
	if l.alone {
		return time.Time{}, false
	}
	return l.caller.Deadline()
}

func (l *leash) Done() <-chan struct{} { return l.done }
func (l *leash) Value(key any) any     { return l.caller.Value(key) }

func (l *leash) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
