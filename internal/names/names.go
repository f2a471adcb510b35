// Package names knows which names the clients of a process have. Clients that share a
// name cannot be told apart in telemetry and health, which their user may not intend.
package names

import (
	"runtime"
	"sync"
)

// A Registry holds the names of the clients that are open. The zero value is empty. It
// is safe for concurrent use, and keeps no client alive.
type Registry struct {
	mu     sync.Mutex // guards all below
	claims map[string]*claims
}

// Process is the registry of all clients of this process.
var Process Registry

// claims are those of one name.
type claims struct {
	open   int
	shared bool // it was told that there were two at once
}

// Claim notes that client has that name until release is called, or until the client
// has been dropped. It reports whether another client has the name as well, but only
// the first time: a program that names many clients alike on purpose is told once.
func Claim[T any](r *Registry, client *T, name string) (release func(), shared bool) {
	shared = r.claim(name)
	once := sync.OnceFunc(func() { r.release(name) })
	dropped := runtime.AddCleanup(client, func(release func()) { release() }, once)
	return func() {
		dropped.Stop()
		once()
	}, shared
}

func (r *Registry) claim(name string) (shared bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims == nil {
		r.claims = make(map[string]*claims)
	}
	c := r.claims[name]
	if c == nil {
		c = &claims{}
		r.claims[name] = c
	}
	c.open++
	if c.open == 1 || c.shared {
		return false
	}
	c.shared = true
	return true
}

func (r *Registry) release(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.claims[name]; c.open > 1 {
		c.open--
		return
	}
	delete(r.claims, name)
}
