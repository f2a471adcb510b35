package sim

import (
	"bytes"
	"runtime"
	"strconv"
)

// Callbacks may panic or end their goroutine. That may cost the request that ran into it, and no
// other.

// mood makes the callback panic or exit, if the seed says so. of identifies the call, so that it
// has the same mood each time that the seed runs.
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

// A temper decides how a callback's call ends. There are 24, of which those named below are bad.
type temper uint64

const (
	willPanic temper = iota
	willExit
	willFail          // if the callback can return an error
	willLinger        // if it is GetBody: nothing else of the user's may block for long
	tempers    temper = 24
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

// inFree reports whether world.free led here, that is, the simulation itself asks.
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
