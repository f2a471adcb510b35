package core

import (
	"slices"
	"time"
)

// check is what holds in every state.
func (w *world) check(t Todo) {
	live := 0
	for _, f := range w.factories {
		if !f.canceled {
			live++
		}
	}
	if w.built != 0 {
		live++
	}
	w.must(live <= 1, "%d candidates", live)
	if w.closed {
		waits := slices.ContainsFunc(w.calls, func(x *traveler) bool { return x.at == resting })
		w.must(!waits && live == 0 && w.c.Deadline().IsZero() && (w.order == nil || w.told), "something is left after Close")
	}
	for _, x := range w.calls {
		w.checkAttempts(x)
		w.checkWait(x)
	}
	for _, f := range w.flights {
		w.checkSilent(f)
		x := f.x
		gone := w.roleOf(f) == retired || w.roleOf(f) == asCandidate && !w.builtPlan && w.acc.hosts[hostOf(x.q.Authority)].refused
		w.must(!f.trial || f.sent || f.late || x.q.Kind == Sealed || !gone, "a trial that was not sent is left on a candidate that is over")
		w.must(!f.copy || f.told || w.roleOf(f) != retired, "a copy is under way, and its candidate is over")
		if x.at != over || x.leaving || f.answered || x.tried != 0 || f.copy && w.builtPlan {
			continue
		}
		w.must(false, "%s is over, and something of it is under way %s", w.label(x), roleNames[w.roleOf(f)])
	}
	if !w.after {
		w.checkHealth(live)
	}
	if w.order != nil && !w.told {
		w.must(live > 0, "Recreate waits for nothing")
	}
}

// checkSilent: who waits in its transport has the answer of a copy soon, and who waits
// on one that was replaced does not wait there for ever.
func (w *world) checkSilent(f *flight) {
	if f.inside && f.answered && !w.due() {
		w.must(!w.now.After(f.awaitedAt.Add(100*time.Millisecond)), "%s has its answer, and waits in its transport", w.label(f.x))
	}
	x := f.x
	long := w.longBehind(f) && x.at == going && w.roleOf(f) == retired && !f.left
	stays := x.q.Kind <= Once || x.q.Kind == Repeatable && !x.q.Deadline.IsZero()
	spare := x.q.Kind == Copyable || x.tries < min(w.Threshold, mostAttempts)+2
	if long && !stays && spare && !w.closed {
		w.must(false, "%s is silent on what was replaced, and stays", w.label(x))
	}
}

// longBehind: f has been silent on what was replaced as often as trips an authority.
func (w *world) longBehind(f *flight) bool {
	return f.behind >= w.Stalls && w.now.Sub(f.behindAt) >= w.StallSpan
}

// checkAttempts: a request makes min(threshold, 3) attempts in a round, and two
// more in an outage of its authority, of the transport that failed it, or of its own.
func (w *world) checkAttempts(x *traveler) {
	most := min(w.Threshold, 3)
	if x.worst || w.acc.hosts[hostOf(x.q.Authority)].outage || w.acc.ended {
		x.worst = true
		most += 2
	}
	if !(x.tries <= most) {
		w.must(false, "%s makes %d attempts", w.label(x), x.tries)
	}
	if !(x.rounds <= 1+x.gens+int(w.now.Sub(x.start)/time.Second)) {
		w.must(false, "%s makes %d rounds in %v", w.label(x), x.rounds, w.now.Sub(x.start))
	}
	if !(x.asks <= 12) {
		w.must(false, "%s asks again and again", w.label(x))
	}
	if !(x.at != going || w.flying(x) > 0) {
		w.must(false, "%s is under way, and nothing is", w.label(x))
	}
}

// checkWait: nobody waits for nothing.
func (w *world) checkWait(x *traveler) {
	if w.closed || x.at != resting || x.resumes || !x.until.IsZero() && !w.now.Before(x.until) {
		return // or its wait is over
	}
	for _, f := range w.factories {
		if !f.canceled {
			return
		}
	}
	for _, f := range w.flights {
		if f.on != w.built || w.built == 0 || f.x.q.Authority != x.q.Authority {
			continue
		}
		// One that took long to fail waits for what others have tried for longer.
		brief := !x.until.IsZero() && x.until.Sub(x.rested) <= headStart
		young := w.now.Before(f.start.Add(headStart)) || w.due()
		if brief || young && (!f.sent || f.row != noConnection) {
			return
		}
	}
	h := &w.acc.hosts[hostOf(x.q.Authority)]
	if !h.tripped && h.failures >= w.Threshold && x.until.Sub(x.rested) <= headStart {
		return // for those under way
	}
	if at := w.acc.verdict(w, hostOf(x.q.Authority)); !at.IsZero() && (w.now.Before(at) || w.due()) {
		return
	}
	w.must(false, "%s waits for nothing", w.label(x))
}
