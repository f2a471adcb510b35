package gate

import "github.com/respawnhttp/respawn/internal/core"

// An Alert says which requests may not take the healthy path. It never changes.
type Alert struct {
	everybody bool
	suspects  map[core.Authority]bool
}

// Covers reports whether requests to that authority have to ask the core.
func (a *Alert) Covers(au core.Authority) bool {
	return a.everybody || a.suspects[au]
}

// Alert returns which requests may not take the healthy path; nil means that all may.
func (g *Gate) Alert() *Alert { return g.alert.Load() }

// A cover holds what an Alert was made of. The zero value is that of no Alert.
type cover struct {
	everybody bool
	changes   uint64 // of the set of suspects
}

// publishLocked publishes the alert that the healthy path reads.
func (g *Gate) publishLocked() {
	g.clock.Store(uint64(g.core.Clock()))
	now := cover{g.core.Everybody() || g.cfg.DrainTimeout > 0, g.core.Changes()}
	if now == g.covered {
		return
	}
	g.covered = now
	a := &Alert{everybody: now.everybody, suspects: g.core.Suspects()}
	if !a.everybody && len(a.suspects) == 0 {
		a = nil
	}
	g.alert.Store(a)
}
