package gate

import (
	"context"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/generation"
)

// A Listener hears of everything that happens, in the order of the events and one call
// at a time. Except for Note, it is never called under a lock.
type Listener interface {
	// Begin is told before a build: the context that it returns is the factory's.
	// It may be called at the same time as Tell.
	Begin(r *Recreation) context.Context
	// Note gets each report first, at its event and under the gate's lock, so that
	// whoever hears of a verdict finds it recorded. Note only stores: it calls nobody.
	Note(Told)
	Tell(Told)
	// Drained: the last request has left a generation that was replaced. It may be
	// called at the same time as the others.
	Drained(gen *generation.Generation)
	// Lingers is called once, when generations have drained for minutes; the oldest
	// comes first. Broke is called when a transport panicked in the named method while
	// it was being closed. Both may be called at the same time as the others.
	Lingers(draining []Retired)
	Broke(gen *generation.Generation, method string)
}

// Told is a report of the core with what the gate adds to it.
type Told struct {
	core.Report
	Ctx        context.Context // of the event
	Recreation *Recreation     // of the candidate that the report is about; nil if it is about none
	Generation uint64          // in service after the event
	Age        time.Duration   // of the transport that was in service at the event
	Protocol   string          // of the candidate's latest answer, as network.protocol.version has it; "" if it gave none
	Retired    *generation.Generation
	InFlight   int64 // on Retired, at that time
	Fault      error // behind a rejection; nil if there is none
}

// A queue holds reports until they are delivered. One goroutine at a time delivers,
// so that their order is that of the events.
type queue struct {
	waiting    []Told
	delivering bool
}

// claimLocked reports whether the caller is to deliver.
func (q *queue) claimLocked() bool {
	if q.delivering || len(q.waiting) == 0 {
		return false
	}
	q.delivering = true
	return true
}

// tellLocked queues reports.
func (g *Gate) tellLocked(ctx context.Context, reports []core.Report) {
	for _, r := range reports {
		t := Told{Report: r, Ctx: ctx, Recreation: g.recreations[r.Candidate], Generation: g.last.Number, Age: r.At.Sub(g.last.Born)}
		if r.What == core.WasPromoted {
			t.Generation++
			t.Retired, t.InFlight = g.last, g.last.InFlight()
		}
		if t.Recreation != nil {
			t.Fault, t.Protocol = t.Recreation.fault, t.Recreation.protocol()
		}
		g.listener.Note(t)
		g.told.waiting = append(g.told.waiting, t)
	}
}

// deliver delivers the queued reports, and those that are queued meanwhile.
func (g *Gate) deliver() {
	for {
		g.mu.Lock()
		if len(g.told.waiting) == 0 {
			g.told.waiting, g.told.delivering = nil, false
			g.mu.Unlock()
			return
		}
		t := g.told.waiting[0]
		g.told.waiting = g.told.waiting[1:]
		g.mu.Unlock()
		g.tell(t)
	}
}

// tell hands one report to the listener. If the listener's logger, tracer or hook
// panics or ends the goroutine, only this report is lost.
func (g *Gate) tell(t Told) {
	build.Safely(func() {
		if t.Recreation != nil {
			<-t.Recreation.begun
		}
		g.listener.Tell(t)
	})
}
