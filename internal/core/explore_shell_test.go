package core

import "time"

// What the shell tells the core.

func (w *world) begin(i int) {
	t := w.setting.calls[i]
	w.lives[i]--
	q := &Call{Authority: hosts[t.host], Method: methods[t.kind], Kind: t.kind, Ready: t.ready}
	if t.deadline > 0 {
		q.Deadline = w.now.Add(t.deadline)
	}
	x := &traveler{q: q, kind: i, start: w.now}
	w.calls = append(w.calls, x)
	if t.adopted && w.allWell() {
		f := w.takeOff(x, &Attempt{Call: q, On: w.current}, w.c.Clock())
		f.hidden = true
		x.at = going
		x.tries++
		return
	}
	w.ask(x)
}

// allWell is what the healthy path looks at.
func (w *world) allWell() bool {
	return len(w.c.Suspects()) == 0 && w.c.Candidate() == 0 && !w.c.Everybody() && !w.closed && !w.sick[0]
}

// adopt makes the core know an attempt of the healthy path.
func (w *world) adopt(f *flight) {
	if f.hidden {
		f.hidden = false
		f.a = f.x.q.Adopt(f.on, f.clock, f.start)
	}
}

// adoptWaiting makes the core know one that still waits in its transport.
func (w *world) adoptWaiting(f *flight) {
	if f.hidden {
		f.hidden, f.inside = false, true
		f.a = f.x.q.AdoptWaiting(f.on, f.clock, f.start)
	}
}

func (w *world) ask(x *traveler) {
	if !w.closed {
		if w.sick[0] && !w.acc.ended {
			w.acc.hearEnd(w)
			x.worst = true // it has met an outage, which may be over when it asks
			w.c.Ended(w.now, w.current, !w.sick[1])
			w.perform()
		}
	}
	h := &w.acc.hosts[hostOf(x.q.Authority)]
	x.asks++
	w.plantAsk(x)
	s := w.c.Next(w.now, x.q)
	w.plantStep(&s, x.q)
	x.until = s.Until
	x.worst = x.worst || h.outage || w.acc.ended || x.control.on != 0 && x.control.on <= w.dead
	if s.Do == Try && w.sick[1] {
		w.notSent(x, s.Attempt)
		return
	}
	switch s.Do {
	case Send, Try:
		w.must(!w.acc.absent, "it is sent, and there is no transport")
		w.say("      %s", [...]string{"it is sent in service", "it is tried on the candidate"}[s.Do])
		x.at = going
		x.tries++
		w.must(s.Attempt.On == [...]uint64{w.current, w.built}[s.Do], "it is sent on the wrong transport")
		w.must(x.sent == 0 || x.q.Kind > Once, "what may have been sent, and is once only, is sent again")
		w.must(x.tries == 1 || x.q.Kind > Sealed, "what is sealed is sent again")
		f := w.takeOff(x, s.Attempt, s.Attempt.began)
		if f.looks = true; !f.held {
			w.looks(f)
		}
		if s.Do == Try && w.builtPlan && !h.tripped && !w.acc.ended {
			x.tried, x.lost, x.well, x.vain = w.built, false, false, false
			f.tries = true
		}
		w.acc.asked(w, x, f)
	case Wait:
		x.at = resting
		w.say("      it waits")
		x.rested, x.resumes = w.now, s.Round
		if s.Round {
			x.rounds++
			x.tries, x.free = 0, false
			w.must(x.q.Ready > 0 && !x.until.IsZero(), "it waits for a round that never begins")
		}
		w.must(x.sent == 0 || x.q.Kind > Once, "it waits to be sent again, and may not")
		if w.built == 0 && len(w.factories) == 0 && w.c.todo.Build == nil && !s.Round {
			w.must(!h.tripped && w.acc.mayTrip(w, h) && (!x.worst || w.Fallback), "it waits for a trip that cannot come, or is of no use to it")
		}
	case Divert:
		w.say("      it goes to the fallback")
		w.must(w.Fallback, "there is no fallback")
		w.must(x.sent == 0 || x.q.Kind > Once, "what may have been sent goes to the fallback")
		w.must(h.tripped || w.acc.ended, "what is well is left to the fallback")
		x.at, x.got = over, "diverted"
		w.acc.diverts(w, x)
	case GiveUp:
		w.say("      it gives up")
		x.at, x.got = over, "error"
		w.must(x.control.on != 0 || x.sent > 0 || x.q.Ready > 0 || x.tries > 0 || w.acc.absent, "it gives up and has no error")
		w.must(!x.free || x.tries > 0 || x.q.Kind <= Once || h.tripped || w.acc.ended, "it gives up after an end that did not count")
	case Shut:
		x.at, x.got = over, "closed"
		w.must(w.closed, "shut before Close")
	}
}

// fetched: the body of f is there, and its transport gets it.
func (w *world) fetched(f *flight) {
	w.must(w.c.Goes(f.a), "what was not called back may not be sent")
	w.c.Handed(w.now, f.a)
	f.held, f.start, f.began = false, w.now, w.step
	f.clock = w.c.Clock()
	if f.on == w.current && !f.trial && w.patient {
		f.silentAt = w.now.Add(w.Patience)
	}
	w.looks(f)
}

// looks: f looks for a connection.
func (w *world) looks(f *flight) {
	w.queue(f)
	w.c.Asks(f.a, f.queued)
}

// queue: f waits for a place, if there is none.
func (w *world) queue(f *flight) {
	f.queued = w.places > 0 && f.on == w.current && w.held(f) >= w.places
	if f.queued {
		f.silentAt = time.Time{}
	}
}

// held is how many others have a place in the pool of f.
func (w *world) held(f *flight) (n int) {
	for _, g := range w.flights {
		if g != f && g.on == f.on && g.x.q.Authority == f.x.q.Authority && !g.queued {
			n++
		}
	}
	return n
}

// place gives a place that is free to whoever has waited longest for it, and reports whether
// somebody had.
func (w *world) place() bool {
	for _, f := range w.flights {
		if !f.queued || w.held(f) >= w.places {
			continue
		}
		w.say("      %s has its place", w.label(f.x))
		f.queuedFor = w.now.Sub(f.start)
		f.queued, f.began, f.clock, f.start = false, w.step, w.c.Clock(), w.now
		if w.patient {
			f.silentAt = w.now.Add(w.Patience)
		}
		w.acc.placed(w, f)
		w.c.Placed(w.now, f.a)
		return true
	}
	return false
}

func (w *world) connect(f *flight) {
	w.sends(f)
	f.looks = false
	w.c.Connected(w.now, f.a)
}

// sends: something of an attempt may have been sent.
func (w *world) sends(f *flight) {
	if !f.sent {
		f.sent = true
		f.x.sent++
	}
}

func (w *world) answer(f *flight) {
	x := f.x
	if f.hidden && w.allWell() { // nobody looks at the answers of the healthy path
		w.sends(f)
		w.land(f)
		w.acc.health.served = max(w.acc.health.served, f.clock)
		x.at, x.got = over, "answer"
		return
	}
	w.adopt(f)
	if w.roleOf(f) != serving && !f.sent {
		w.connect(f)
		w.perform()
		if w.flightOf(f.a) == nil || w.bad != "" {
			return
		}
	}
	w.sends(f)
	w.longest = max(w.longest, w.now.Sub(f.start))
	w.acc.answered(w, f)
	if !f.answered {
		w.land(f)
	}
	if x.at != over {
		x.at, x.got = over, "answer"
	}
	w.c.Answered(w.now, f.a)
}

func (w *world) fail(f *flight, o Outcome) {
	w.adopt(f)
	x := f.x
	unsent := !f.sent && w.modeOf(f) != breaks || o.Verdict == Neutral
	if !unsent && w.roleOf(f) != serving && !f.sent {
		w.connect(f)
		w.perform()
		if w.flightOf(f.a) == nil || w.bad != "" {
			return
		}
	}
	if !unsent || o.Untyped || o.Unseen {
		w.sends(f)
		unsent = false
	}
	o.Trigger, o.Unsent, o.Again = "failed", unsent, unsent || x.q.Kind > Once
	w.failed(f, o)
}

func (w *world) failed(f *flight, o Outcome) {
	x := f.x
	w.land(f)
	x.worst = x.worst || !f.copy && f.on <= w.dead // that was replaced for need
	w.acc.failed(w, f, o)
	w.c.Failed(w.now, f.a, o)
	w.plantAfter(f, o)
	if x.at == going && w.flying(x) == 0 {
		x.at = asking
	}
}

func (w *world) impatient(f *flight) {
	w.adoptWaiting(f)
	if w.modeOf(f) == mute || w.modeOf(f) == slow {
		w.sends(f)
	}
	f.silentAt = w.now.Add(w.Patience)
	if f.on != w.current {
		if f.behind == 0 {
			f.behindAt = w.now
		}
		f.behind++
		f.x.worst = f.x.worst || w.longBehind(f) // it has an outage of its own
		w.c.Silent(w.now, f.a)
		return
	}
	w.acc.stalled(w, f, Outcome{Verdict: Stall})
	w.acc.silent(f)
	w.c.Silent(w.now, f.a)
}

// leave: its caller goes, or its deadline has passed.
func (w *world) leave(x *traveler, v Verdict) {
	if x.q.Deadline.IsZero() || w.now.Before(x.q.Deadline) {
		w.leaves--
	}
	was := x.at
	x.at, x.got = over, "left"
	if was != going {
		w.c.Leave(x.q)
		return
	}
	for range 2 {
		for _, f := range w.flights {
			if f.x != x || f.answered || f.left {
				continue
			}
			w.adopt(f)
			w.failed(f, w.leftOf(f, v))
			w.perform()
			break
		}
	}
}

// leaveLate: its caller goes of itself, after a wait that makes it a stall.
func (w *world) leaveLate(x *traveler) {
	w.leaves--
	f, _ := w.beside(x)
	if f == nil {
		f = w.hiddenOf(x)
	}
	w.adopt(f)
	o := w.leftOf(f, Neutral)
	o.Silence = w.now.Sub(f.start)
	x.at, x.got = over, "left"
	w.land(f)
	counted := o
	counted.Verdict = Stall
	w.acc.failed(w, f, counted)
	w.c.Failed(w.now, f.a, o)
}

// leaveByCopy: its caller goes, and its copy is the first to tell. What is under way
// for the caller itself tells soon, or is answered or fails before.
func (w *world) leaveByCopy(x *traveler) {
	if x.q.Deadline.IsZero() || w.now.Before(x.q.Deadline) {
		w.leaves--
	}
	x.at, x.got, x.leaving = over, "left", true
	_, f := w.beside(x)
	w.tells(f)
}

// tells: a copy ends with its caller, and is the first to tell.
func (w *world) tells(f *flight) {
	f.told = true
	w.c.Failed(w.now, f.a, Outcome{Verdict: Stall, Trigger: "stall", Again: true, Left: true})
	t := w.todoOf("told")
	w.must(t.Promote == 0 && t.Build == nil && len(t.Retire)+len(t.Copies)+len(t.Recall)+len(t.Part)+len(t.Reports)+len(t.Wake) == 0, "a copy is told first, and has an effect")
}

// hasLeft: what was under way for the caller that has gone tells.
func (w *world) hasLeft(x *traveler) {
	f, _ := w.beside(x)
	w.failed(f, w.leftOf(f, Stall))
}

// leftOf is how an attempt ends whose caller has gone.
func (w *world) leftOf(f *flight, v Verdict) Outcome {
	unsent := !f.sent
	if m := w.modeOf(f); !f.queued && w.roleOf(f) == serving && m != hangs && m != refuses && m != timesOut {
		unsent = false
	}
	if !unsent {
		w.sends(f)
	}
	if f.copy || f.queued {
		v = Neutral
	}
	return Outcome{Verdict: v, Trigger: "stall", Unsent: unsent, Again: unsent || f.x.q.Kind > Once, Left: true, Queued: f.queuedFor}
}

// finish: a factory has returned.
func (w *world) finish(i int, ok bool) {
	f := w.factories[i]
	w.factories = append(w.factories[:i:i], w.factories[i+1:]...)
	d := w.drawOf(f)
	if !ok {
		w.returned = f.id
		w.acc.notBuilt(w, f, d)
		w.c.NotBuilt(w.now, f.id, "factory_error", d)
		return
	}
	idle := true
	for _, g := range w.flights {
		idle = idle && g.on != w.current
	}
	if f.canceled {
		w.c.Built(w.now, f.id, idle, d)
		t := w.todoOf("built")
		w.must(len(t.Retire) == 1 && t.Retire[0] == f.id && t.Promote == 0, "what was built late is not let go")
		w.c.todo.Retire = nil
		return
	}
	w.built, w.builtPlan, w.builtAt, w.sick[1] = f.id, f.planned, w.now, false
	w.acc.becameReady(w, f, d, idle)
	w.c.Built(w.now, f.id, idle, d)
}

func (w *world) pass(to time.Time) {
	w.now = to
	for _, x := range w.calls {
		x.asks = 0
	}
	if w.due() && !w.lateTimer {
		w.tick()
	}
}

func (w *world) tick() {
	w.plantState()
	if w.sick[1] && w.built != 0 && !w.closed {
		w.c.Spoiled(w.now, w.built)
		w.perform()
	}
	w.acc.ticked(w)
	w.c.Served(w.acc.health.served)
	w.c.Tick(w.now)
	w.plantTick()
	w.must(!w.due(), "the timer spins")
}
