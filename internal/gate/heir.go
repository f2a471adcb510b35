package gate

import (
	"net/http"
	"time"
	"weak"

	"github.com/respawnhttp/respawn/internal/generation"
)

// lingersAfter is how long a generation may drain before a warning is due.
const lingersAfter = 5 * time.Minute

// An heir is the gate for one generation that has been retired.
type heir struct {
	gate *Gate
	gen  *generation.Generation
	late *time.Timer // tells that the generation drains on
}

// discard retires a transport that was never offered.
func (g *Gate) discard(product http.RoundTripper) {
	gen := generation.New(product, g.cfg.DrainTimeout)
	g.mu.Lock()
	g.retired[gen] = time.Now()
	g.mu.Unlock()
	g.retire(gen)
}

// retire lets gen, which is noted as retired, finish its requests in flight, and then
// closes it.
func (g *Gate) retire(gen *generation.Generation) {
	h := &heir{gate: g, gen: gen, late: time.AfterFunc(lingersAfter, weakly(g, (*Gate).linger))}
	gen.Retire(g.cfg.DrainTimeout, h)
}

// weakly returns a function for a timer that does not keep a client in memory once its
// user has dropped it.
func weakly(g *Gate, f func(*Gate)) func() {
	w := weak.Make(g)
	return func() {
		if g := w.Value(); g != nil {
			f(g)
		}
	}
}

// Drained implements [generation.Heir].
func (h *heir) Drained() {
	h.late.Stop()
	h.gate.listener.Drained(h.gen)
}

// Gone implements [generation.Heir].
func (h *heir) Gone() {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	delete(h.gate.retired, h.gen)
}

// Broke implements [generation.Heir].
func (h *heir) Broke(method string) {
	defer func() { _ = recover() }() // a logger's panic costs its record
	h.gate.listener.Broke(h.gen, method)
}

// linger tells, once, that generations drain for minutes.
func (g *Gate) linger() {
	defer func() { _ = recover() }() // a logger's panic costs its record
	var draining []Retired
	for _, r := range g.View().Retired {
		if r.InFlight() > 0 {
			draining = append(draining, r)
		}
	}
	if len(draining) > 0 && !g.lingering.Swap(true) {
		g.listener.Lingers(draining)
	}
}
