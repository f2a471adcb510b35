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
	if !w.plan.moody || w.now() >= w.plan.storm {
		return
	}
	switch w.hash("mood of "+who, of...) % 24 {
	case 0:
		w.note("mood", "%s panics", who)
		w.spoil(who + " panicked")
		panic(who + " panics")
	case 1:
		w.exit(who)
	}
}

// exit ends the goroutine.
func (w *world) exit(who string) {
	w.note("mood", "%s ends its goroutine", who)
	w.spoil(who + " has ended it")
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
