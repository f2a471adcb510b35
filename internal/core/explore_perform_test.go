package core

import "slices"

// perform does what the core asks for, and gives the places that get free to others.
func (w *world) perform() {
	condemned := w.condemn(w.performOnce())
	for w.bad == "" && (condemned || w.place()) {
		condemned = w.condemn(w.performOnce())
	}
}

// performOnce does what the core asks for, in its order, and checks it. It returns the authorities that
// are condemned.
func (w *world) performOnce() []Authority {
	t := w.c.Todo()
	w.plantIn(&t)
	for _, r := range t.Reports {
		w.acc.heard(w, r)
	}
	for _, a := range t.Recall {
		f := w.flightOf(a)
		if f == nil {
			continue
		}
		f.beside = f.beside || f.trial || f.copy
		w.uncount(f)
	}
	if t.Promote != 0 {
		w.must(w.built != 0 && t.Promote == w.built, "promoted %d, and the candidate is %d", t.Promote, w.built)
		w.promote()
	}
	w.partings()
	for _, id := range t.Retire {
		w.must(id == w.built, "%d is let go, and the candidate is %d", id, w.built)
		w.say("      the candidate is let go")
		w.built, w.sick[1] = 0, false
	}
	if t.Cancel != 0 {
		w.cancel(t.Cancel)
	}
	if b := t.Build; b != nil {
		w.build(b)
	}
	for _, a := range t.Copies {
		x := w.travelerOf(a.Call)
		w.must(x.q.Kind == Copyable, "a copy of what may not be in two places")
		if a.On == w.current {
			w.say("      %s is sent in service, as the control of its copy", w.label(x))
			f := w.takeOff(x, a, a.began)
			f.extra = true
			w.acc.controls(w, f)
			if w.queue(f); f.queued {
				w.c.Asks(a, true)
			}
			continue
		}
		w.say("      a copy of %s on the candidate", w.label(x))
		for _, f := range w.flights {
			w.must(f.x != x || !f.copy, "two copies of a request")
		}
		f := w.takeOff(x, a, a.began)
		if x.leaving {
			w.tells(f) // its context has ended before it began
		}
		w.acc.asked(w, x, f)
		if w.builtPlan && !w.acc.hosts[hostOf(x.q.Authority)].tripped && !w.acc.ended {
			x.tried, x.lost, x.well = w.built, false, false
			f.tries = true
		}
	}
	for _, a := range t.Recall {
		w.recall(a)
	}
	for _, q := range t.Part {
		w.part(q)
	}
	for _, o := range t.Done {
		w.must(o == w.order && !w.told, "an order is done twice")
		kind, done := o.Done()
		w.must(done, "an order is done and does not know it")
		w.say("      Recreate is done: %s", kind)
		w.told = true
	}
	for _, q := range t.Wake {
		if x := w.travelerOf(q); x != nil && x.at == resting {
			w.say("      %s is woken", w.label(x))
			x.at = asking
		}
	}
	w.acc.judgeTrips(w, t)
	w.partWithTold()
	w.check(t)
	w.calls = slices.DeleteFunc(w.calls, func(x *traveler) bool {
		return x.at == over && !slices.ContainsFunc(w.flights, func(f *flight) bool { return f.x == x }) && x.tried == 0
	})
	return t.Condemn
}

// partWithTold: a copy that told first that its caller has gone is over with what it
// was beside, for the core too.
func (w *world) partWithTold() {
	for _, x := range w.calls {
		main, copied := w.beside(x)
		if !x.leaving || main != nil {
			continue
		}
		x.leaving, x.tried = false, 0 // what it tried has no outcome
		w.must(!x.q.Flying(), "%s has left, and the core takes its copy for under way", w.label(x))
		if copied != nil {
			w.land(copied)
		}
	}
}

func (w *world) promote() {
	w.say("      the candidate is promoted")
	w.modes[retired], w.modes[serving] = w.modes[serving], w.modes[asCandidate]
	w.sick[0], w.sick[1] = w.sick[1], false
	w.current, w.built = w.built, 0
	w.gens++
	w.must(w.c.Current() == w.current, "another one is in service")
	for _, x := range w.calls {
		x.gens++
		x.tried = 0
	}
	for _, f := range w.flights {
		if f.on == w.current && w.patient && f.silentAt.IsZero() {
			f.silentAt = later(f.start.Add(w.Patience), w.now)
		}
		f.under = 0
		if f.on == w.current {
			f.trial, f.copy = false, false
		}
	}
}

// condemn tells the core who waits on what was replaced, of those who are accompanied, and reports
// whether there was one.
func (w *world) condemn(all []Authority) (found bool) {
	if !w.patient || w.closed {
		return false
	}
	for _, f := range slices.Clone(w.flights) {
		if slices.Contains(all, f.x.q.Authority) && w.roleOf(f) == retired && f.x.at == going && !f.queued && !f.held {
			w.adoptWaiting(f)
			f.x.worst, found = true, true
			w.c.Condemned(w.now, f.a)
		}
	}
	return found
}

func (w *world) cancel(id uint64) {
	for _, f := range w.factories {
		if f.id == id {
			w.must(!f.canceled, "a build is called off twice")
			w.say("      the build is called off")
			f.canceled = true
			return
		}
	}
	w.must(id == w.returned, "called off is %d, which is not building", id)
}

func (w *world) build(b *Build) {
	w.say("      a build begins (%s)", b.Trigger)
	w.acc.judgeBuild(w, b)
	w.factories = append(w.factories, &factory{id: b.ID, planned: b.Planned, start: w.now, epoch: w.acc.epoch, delay: b.Delay})
}

func (w *world) recall(a *Attempt) {
	f := w.flightOf(a)
	if f == nil {
		w.must(false, "called back is what is not under way")
		return
	}
	x := f.x
	w.say("      %s is called back %s", w.label(x), roleNames[w.roleOf(f)])
	w.must(x.q.Kind > Once || !f.sent && (f.on != 1 || f.held) || x.at == over, "called back is what may have been sent and may not go again")
	if x.tried != 0 && f.tries && !f.copy && !f.sent && w.now.Sub(f.start) >= headStart {
		x.vain = true
	}
	w.must(f.on != w.current || f.beside || x.at == over, "called back is what is in service")
	if w.roleOf(f) == retired && f.on != w.dead && x.q.Kind == Copyable && x.at == going && !f.beside && !f.left {
		elsewhere := slices.ContainsFunc(w.flights, func(g *flight) bool { return g.x == x && g.left })
		w.must(elsewhere, "called back is what waits on what nobody has proved dead")
	}
	w.land(f)
	w.late(a)
	if x.at == going && w.flying(x) == 0 {
		x.at = asking
	}
}

// part: what waits on a transport that was replaced is left behind.
func (w *world) part(q *Call) {
	x := w.travelerOf(q)
	if x == nil || !slices.ContainsFunc(w.flights, func(f *flight) bool { return f.x == x && f.left }) {
		return // called back since
	}
	w.say("      %s goes on without what it left behind", w.label(x))
	if x.at == going && w.flying(x) == 0 {
		x.at = asking
	}
}

// uncount: f, which its request leaves, was no attempt if it was on a candidate that was not
// promoted, if no transport had it, or if it may be in two places and was silent on what was replaced.
func (w *world) uncount(f *flight) {
	if f.trial || f.held || f.x.q.Kind == Copyable && w.longBehind(f) {
		f.x.tries--
		f.trial = false
	}
}

// partings: the core has left attempts behind.
func (w *world) partings() {
	for _, f := range w.flights {
		if f.a.role == leftBehind && !f.left {
			f.left = true
			w.uncount(f)
			w.must(f.x.q.Kind == Copyable, "left behind is what may not be in two places")
			w.must(w.roleOf(f) == retired, "left behind is what was not replaced")
		}
	}
}

// late: what comes of an attempt that is over dies in one place.
func (w *world) late(a *Attempt) {
	w.c.Connected(w.now, a)
	w.c.Silent(w.now, a)
	mine := w.c.Answered(w.now, a)
	w.c.Failed(w.now, a, Outcome{Verdict: Failure})
	t := w.todoOf("over")
	w.must(!mine && t.Promote == 0 && t.Build == nil && len(t.Retire)+len(t.Copies)+len(t.Recall)+len(t.Part)+len(t.Reports)+len(t.Wake) == 0, "what is over has an effect")
}
