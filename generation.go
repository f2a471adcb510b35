package respawn

import (
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/generation"
)

// retire lets g finish what is in flight, and closes it.
func (rt *RecoveringRoundTripper) retire(g *generation.Generation) {
	rt.mu.Lock()
	rt.retired[g] = time.Now()
	rt.mu.Unlock()
	g.Retire(rt.cfg.DrainTimeout, func() { rt.drained(g) }, func() {
		rt.mu.Lock()
		delete(rt.retired, g)
		rt.mu.Unlock()
	})
}

// inService reports whether a factory's product is not fresh: it would be closed
// under somebody else's feet.
func (rt *RecoveringRoundTripper) inService(product http.RoundTripper) bool {
	if build.SameInstance(product, rt) || build.SameInstance(product, rt.cfg.Fallback) {
		return true
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if g := rt.current.Load(); g != nil && build.SameInstance(product, g.Transport) {
		return true
	}
	if r := rt.running; r != nil && r.candidate != nil && build.SameInstance(product, r.candidate.Transport) {
		return true // a late product of a call that hung
	}
	for g := range rt.retired {
		if build.SameInstance(product, g.Transport) {
			return true
		}
	}
	return false
}
