package core

// The account of what operators see: whether somebody is ill, and whether somebody can be served.

// A healthAccount is what health goes by. Its instants are those of the clock that requests note.
type healthAccount struct {
	ended    Instant // when the transport in service had
	served   Instant // when the youngest began of those answered in service, or by the fallback
	diverted Instant // when the latest went to the fallback
	unbuilt  Instant // when the factory gave nothing; 0: the latest candidate did not go like that
	failed   bool    // a factory has failed just now, which is to be reported
}

// rejected: a candidate is, because its factory gave nothing, or otherwise.
func (h *healthAccount) rejected(w *world) {
	h.unbuilt = 0
	if h.failed {
		h.unbuilt, h.failed = w.c.Clock(), false
	}
}

// diverts: x goes to the fallback, which reaches b alone.
func (acc *account) diverts(w *world, x *traveler) {
	acc.health.diverted = w.c.Clock()
	if x.q.Authority == hosts[1] {
		acc.health.served = acc.health.diverted
	}
}

// illSince is when what is ill came to be so, at the latest; ill: something is.
func (acc *account) illSince() (since Instant, ill bool) {
	if acc.ended {
		since, ill = acc.health.ended, true
	}
	for i := range acc.hosts {
		if h := &acc.hosts[i]; h.tripped {
			since, ill = max(since, h.from), true
		}
	}
	return since, ill
}

// isBarren reports whether the latest build has given nothing to what is ill.
func (acc *account) isBarren() bool {
	if acc.ended {
		return !acc.absent || acc.health.unbuilt > 0
	}
	for i := range acc.hosts {
		if h := &acc.hosts[i]; h.tripped && acc.health.unbuilt > h.from {
			return true
		}
	}
	return false
}

// checkHealth: what is said of the client's health is what its callers see.
func (w *world) checkHealth(live int) {
	acc := &w.acc
	v := w.c.View(w.now, acc.health.served)
	w.plantView(&v)
	since, ill := acc.illSince()
	outage := acc.hosts[0].outage || acc.hosts[1].outage || acc.ended && (!acc.absent || acc.health.unbuilt > 0)
	if w.closed {
		w.must(v.Closed && !v.Failing, "health does not know of Close")
		return
	}
	w.must(v.Recovering || !outage, "something is down, and health does not warn")
	served := acc.health.served > since || w.Fallback && acc.health.diverted <= since
	if v.Failing {
		w.must(ill && live == 0 && acc.isBarren() && !served, "health fails, and somebody can be served")
		w.mustWaitForBuild(v)
		return
	}
	rests := !v.NextBuild.IsZero() && w.now.Before(v.NextBuild)
	w.must(!ill || live > 0 || !rests || !acc.isBarren() || served, "nobody can be served, and health does not fail")
}

// mustWaitForBuild: while health fails, nobody who comes would have the next transport built. What can
// be asked only once needs no failure of its own for that.
func (w *world) mustWaitForBuild(v View) {
	w.must(w.now.Before(v.NextBuild), "health fails, and a transport may be built")
	for _, a := range hosts {
		u := w.clone()
		u.c.Next(w.now, &Call{Authority: a, Method: methods[Sealed], Kind: Sealed})
		w.must(u.c.todo.Build == nil || u.c.todo.Build.Planned, "health fails, and the next request has a transport built")
	}
}
