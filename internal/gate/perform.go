package gate

import (
	"context"
	"time"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/generation"
)

// work holds what has to be performed for one event.
type work struct {
	todo    core.Todo
	retire  []*generation.Generation
	old     *generation.Generation // the one of retire that was in service; nil: none was
	cancel  *Recreation
	build   *Recreation
	copies  []duplicate
	deliver bool
}

// A duplicate is a copy of a request that is to be sent.
type duplicate struct {
	Flight
	trial bool // on the candidate
}

// takeLocked takes the work that the core asks for, and does the part that is only loads
// and stores.
func (g *Gate) takeLocked(ctx context.Context, now time.Time) work {
	w := work{todo: g.core.Todo()}
	g.tellLocked(ctx, w.todo.Reports)
	g.answerLocked(w.todo.Done)
	if id := w.todo.Promote; id != 0 {
		w.old = g.promoteLocked(now, id)
		w.retire = append(w.retire, w.old)
	}
	for _, id := range w.todo.Retire {
		w.retire = append(w.retire, g.recreations[id].generation)
		delete(g.recreations, id)
	}
	for _, gen := range w.retire {
		g.retired[gen] = now
	}
	w.cancel = g.recreations[w.todo.Cancel]
	g.forgetLocked()
	if b := w.todo.Build; b != nil {
		w.build = g.beginLocked(g.originLocked(ctx, b), now, *b)
	}
	for _, a := range w.todo.Copies {
		w.copies = append(w.copies, duplicate{g.flightLocked(a), a.On != g.core.Current()})
	}
	g.publishLocked()
	g.armLocked(now)
	w.deliver = g.told.claimLocked()
	return w
}

// promoteLocked puts the candidate in service, and returns the generation that was.
func (g *Gate) promoteLocked(now time.Time, id uint64) *generation.Generation {
	old, fresh := g.last, g.recreations[id].generation
	delete(g.recreations, id)
	fresh.Number, fresh.Born = old.Number+1, now
	g.last = fresh
	g.current.Store(fresh)
	return old
}

// forgetLocked lets go of recreations that have no transport to keep track of.
func (g *Gate) forgetLocked() {
	for id, r := range g.recreations {
		if r.over {
			delete(g.recreations, id)
		}
	}
}

// perform does the work that was taken, except for the reports.
func (g *Gate) perform(w work) {
	if w.cancel != nil {
		w.cancel.cancel(nil)
	}
	for _, gen := range w.retire {
		g.retire(gen)
	}
	if w.old != nil { // it lets no new request in
		g.Waits.Condemn(w.old.ID, w.todo.Condemn)
	}
	if w.build != nil {
		go g.build(w.build)
	}
	for _, d := range w.copies {
		d.Call.Ticket.(Caller).Copy(d.Flight, d.trial)
	}
	for _, a := range w.todo.Recall {
		a.Call.Ticket.(Caller).Recall(a)
	}
	for _, q := range w.todo.Part {
		q.Ticket.(Caller).Part()
	}
	w.wake()
}

// wake lets the waiting calls go on.
func (w *work) wake() {
	for _, o := range w.todo.Done {
		close(o.Ticket.(*order).done)
	}
	for _, q := range w.todo.Wake {
		q.Ticket.(Caller).Wake()
	}
}
