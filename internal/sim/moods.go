package sim

import (
	"bytes"
	"runtime"
	"strconv"
)

// What the client calls back may panic, or end its goroutine. That costs whoever
// ran into it, and nobody else.

// mood makes the callback panic or exit, if the seed says so. of tells one call
// from another, so that the same call has the same mood.
func (w *world) mood(who string, of ...int) {
	switch w.temper(who, of...) {
	case willPanic:
		w.note("mood", "%s panics", who)
		w.spoil(who + " panicked")
		panic(who + " panics")
	case willExit:
		w.exit(who)
	}
}

// A temper is one of many, of which those below are bad.
type temper uint64

const (
	willPanic temper = iota
	willExit
	willFail        // where that is the callback's to do
	tempers  temper = 24
)

func (w *world) temper(who string, of ...int) temper {
	if !w.plan.moody || w.now() >= w.plan.storm {
		return tempers
	}
	return temper(w.hash("mood of "+who, of...)) % tempers
}

// exit ends the goroutine.
func (w *world) exit(who string) {
	w.note("mood", "%s ends its goroutine", who)
	w.spoil(who + " has ended it")
	w.mu.Lock()
	w.exits = append(w.exits, w.now())
	w.mu.Unlock()
	runtime.Goexit()
}

// spoil notes that whatever this goroutine does may fail.
func (w *world) spoil(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spoiled[goroutine()] = why
}

// inFree reports whether it is the simulation that asks, see world.free.
func inFree() bool {
	var buf [8 << 10]byte
	return bytes.Contains(buf[:runtime.Stack(buf[:], false)], []byte("(*world).free("))
}

// goroutine is the number of this goroutine.
func goroutine() uint64 {
	var buf [64]byte
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	n, _ := strconv.ParseUint(string(text[:bytes.IndexByte(text, ' ')]), 10, 64)
	return n
}
