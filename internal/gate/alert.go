package gate

import "github.com/respawnhttp/respawn/internal/core"

// An Alert says whom the healthy path is closed for. It does not change.
type Alert struct {
	everybody bool
	suspects  map[core.Authority]bool
}

// Covers reports whether requests to that authority have to ask the core.
func (a *Alert) Covers(au core.Authority) bool {
	return a.everybody || a.suspects[au]
}

// Alert returns whom the healthy path is closed for; nil: nobody.
func (g *Gate) Alert() *Alert { return g.alert.Load() }

// A cover is what an Alert was made of. The zero value is nobody's.
type cover struct {
	everybody bool
	changes   uint64 // of who is suspected
}

// publishLocked tells the healthy path what it has to know.
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
