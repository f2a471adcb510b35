// Package hook calls a user's function for each event in a queue, off the path of
// whoever adds the events.
package hook

import (
	"sync"

	"github.com/respawnhttp/respawn/internal/build"
)

// limit bounds what waits for a function that does not return.
const limit = 64

// A Queue calls one function at a time, in order. The zero value is empty. It is safe
// for concurrent use.
type Queue struct {
	mu      sync.Mutex // guards all below
	waiting []func()
	running bool
}

// Add queues f to be called after the functions that were added before, and does not
// wait. If 64 are waiting already, the oldest of them is never called.
func (q *Queue) Add(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == limit {
		q.waiting = q.waiting[1:]
	}
	q.waiting = append(q.waiting, f)
	if !q.running {
		q.running = true
		go q.run()
	}
}

// run calls the waiting functions, and those that are added meanwhile. If a function
// panics or ends its goroutine, only its own call is lost.
func (q *Queue) run() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.waiting, q.running = nil, false
			q.mu.Unlock()
			return
		}
		f := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		build.Safely(f)
	}
}
