package gate

import (
	"cmp"
	"slices"
	"time"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/generation"
)

// A Failure is the latest one that counted against a transport in service.
type Failure struct {
	Time      time.Time
	Authority core.Authority
	Trigger   string
}

// A View is a snapshot of the gate.
type View struct {
	core.View
	Time    time.Time
	Serving *generation.Generation // in service, or when the gate was closed
	OnTrial *generation.Generation // the candidate that can be tried; nil: there is none
	Retired []Retired              // that are not closed yet, the oldest first
	Failure Failure                // zero: there was none
}

// Retired is a generation that was replaced, or a candidate that was rejected.
type Retired struct {
	*generation.Generation
	Since time.Time
}

// View returns a snapshot of the gate, without waiting for anything.
func (g *Gate) View() View { return g.ViewWith(func() {}) }

// ViewWith is View that also calls the function also at the same instant, under the lock:
// whatever a [Listener] has noted by then belongs to that instant, too.
func (g *Gate) ViewWith(also func()) View {
	g.mu.Lock()
	defer g.mu.Unlock()
	also()
	now := time.Now()
	v := View{View: g.core.View(now, core.Instant(g.served.Load())), Time: now, Serving: g.last, OnTrial: g.candidateLocked(), Failure: g.failure}
	for gen, since := range g.retired {
		v.Retired = append(v.Retired, Retired{gen, since})
	}
	slices.SortFunc(v.Retired, func(a, b Retired) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return v
}
