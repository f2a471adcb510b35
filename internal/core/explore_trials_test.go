package core

import (
	"slices"
	"time"
)

// The account of candidates: what trials, copies and controls came to, what that
// proves, and when the next one may be built.

func (acc *account) failedTrial(w *world, f *flight, o Outcome) {
	x := f.x
	if x.tried != f.on || !f.tries {
		return
	}
	x.lost = x.lost || o.Verdict != Neutral
	if main, _ := w.beside(x); main == nil && x.control.on == w.current {
		x.tried = 0 // both failed it
	}
	if !f.copy {
		x.tries-- // it could trip nothing
	}
}

// answeredTrial: a candidate, or what was one, has answered.
func (acc *account) answeredTrial(w *world, f *flight) {
	if f.on != w.built || f.astray {
		return
	}
	x := f.x
	h := &acc.hosts[hostOf(x.q.Authority)]
	h.before, h.latest = h.latest, w.step
	s := served{
		host: hostOf(x.q.Authority), kind: x.q.Kind, copy: f.copy, row: f.row, began: f.began,
		start: f.start, at: w.now, step: w.step, control: x.control, x: x,
	}
	for _, g := range w.flights {
		if g.x == x && g != f && g.on == w.current {
			s.main, s.waited = g.a, f.start.Sub(g.start)
			g.awaitedAt = w.now
			g.answered = f.copy // its caller has its answer; it waits for the verdict
		}
	}
	acc.served = append(slices.Clone(acc.served), s)
	if h.up == 0 && h.tripped {
		h.up = w.step
	}
	if f.tries {
		acc.served[len(acc.served)-1].planned = true
		x.tried = 0
	}
}

// heard: a report.
func (acc *account) heard(w *world, r Report) {
	i := hostOf(r.About.Authority)
	h := &acc.hosts[i]
	ended := r.About.Trigger == TransportEnded
	acc.taught = acc.taught || r.What == HasRefused || r.What == HasRecovered || r.What == WasRejected
	switch r.What {
	case HasTripped:
		w.must(!acc.absent, "an outage of what has never served")
		w.say("      %s trips (%s)", r.About.Authority.Host, r.About.Trigger)
		if ended {
			acc.news(w, w.now.Sub(acc.endedOver) >= time.Minute)
			return
		}
		acc.news(w, !h.outage && w.now.Sub(h.over) >= time.Minute)
		if h.outage {
			h.vain++
		}
		acc.holding(w, h)
		h.tripped, h.outage = true, true
	case HasRecovered:
		w.say("      %s has recovered", r.About.Authority.Host)
		if ended {
			acc.ended, acc.endedOver = false, w.now
			return
		}
		w.must(!h.outage, "%s has recovered, and nothing was answered", r.About.Authority.Host)
	case WasForgotten:
		w.say("      %s is forgotten", r.About.Authority.Host)
		h.outage = false
		h.well()
	case HasRefused:
		w.say("      %s refuses the candidate (%s)", r.About.Authority.Host, r.Kind)
		w.must(!h.refused, "%s refuses twice", r.About.Authority.Host)
		h.refused, h.spent = true, true
		acc.strays(w, i)
		switch {
		case h.tripped && acc.planned:
			h.doubted = true
		case h.tripped:
			h.vain++
		}
		acc.forget(func(s *served) bool { return s.host == i })
		acc.advance(w)
	case WasRejected:
		w.say("      the candidate is rejected (%s)", r.Kind)
		w.must(r.Candidate == acc.cand, "rejected is %d, and the candidate is %d", r.Candidate, acc.cand)
		acc.health.rejected(w)
		acc.advance(w)
		acc.candidateOver(w)
	case WasPromoted:
		w.say("      promoted by %s", r.About.Authority.Host)
		acc.judgePromotion(w, r)
		acc.health.unbuilt = 0
		if acc.absent { // a start, and no end of an outage
			acc.ended, acc.absent = false, false
		}
		acc.advance(w)
		for j := range acc.hosts {
			g := &acc.hosts[j]
			outage := g.outage
			g.well()
			g.outage = outage
			if outage {
				g.suspect()
			}
		}
		acc.candidateOver(w)
		if r.About.Authority != (Authority{}) && h.outage {
			acc.recovered(w, i)
		}
	}
}

// strays: what is on the candidate for a host that has refused it, or is well, tries it no more.
func (acc *account) strays(w *world, host int) {
	for _, f := range w.flights {
		f.astray = f.astray || f.on == w.built && hostOf(f.x.q.Authority) == host
	}
}

func (acc *account) candidateOver(w *world) {
	acc.served = nil
	for j := range acc.hosts {
		acc.hosts[j].refused = false
	}
	for _, x := range w.calls {
		x.tried, x.lost, x.well, x.vain = 0, false, false, false
	}
	for _, g := range w.flights {
		g.answered = false
	}
}

// hearEnd: the shell tells the core that the transport in service has ended.
func (acc *account) hearEnd(w *world) {
	acc.ended, acc.health.ended = true, w.c.Clock()
}

// news: a trip. If it is, the pace starts over.
func (acc *account) news(w *world, calm bool) {
	if !calm || w.now.Sub(acc.promoted) < time.Minute {
		return
	}
	acc.epoch++
	acc.fresh = true
	if at := acc.built.Add(acc.first); at.Before(acc.notBefore) {
		acc.notBefore = at
	}
}

// judgeBuild: no build for need inside the window.
func (acc *account) judgeBuild(w *world, b *Build) {
	acc.cand, acc.planned, acc.drawn, acc.idle = b.ID, b.Planned, false, false
	acc.draw, acc.drawEpoch = 0, acc.epoch
	for i := range acc.hosts {
		acc.hosts[i].refused = false
	}
	if b.Planned {
		return
	}
	w.must(!w.now.Before(acc.notBefore), "a build %v inside the window", acc.notBefore.Sub(w.now))
	w.must(acc.ended || acc.hosts[0].tripped || acc.hosts[1].tripped, "a build for need, and nothing is tripped")
	acc.built = w.now
}

func (acc *account) becameReady(w *world, f *factory, d Draw, idle bool) {
	acc.ready, acc.idle = w.step, idle
	acc.drew(f, d)
}

func (acc *account) drew(f *factory, d Draw) {
	if f.planned {
		return
	}
	acc.draw = d.Interval
	if acc.drawEpoch == acc.epoch && acc.fresh {
		acc.first = d.Interval
	}
}

func (acc *account) notBuilt(w *world, f *factory, d Draw) {
	if !f.canceled {
		acc.drew(f, d)
		acc.health.failed = true
	}
}

// advance: the candidate's first verdict begins its interval.
func (acc *account) advance(w *world) {
	if acc.planned || acc.drawn {
		return
	}
	acc.drawn = true
	if acc.drawEpoch == acc.epoch {
		acc.fresh = acc.draw == 0
		acc.notBefore = w.now.Add(acc.draw)
	}
}

// judgePromotion: what is put in service has a proof, but for what is planned or
// follows one that has ended.
func (acc *account) judgePromotion(w *world, r Report) {
	i := hostOf(r.About.Authority)
	h := &acc.hosts[i]
	byPlan := slices.ContainsFunc(acc.served, func(s served) bool { return s.host == i && s.planned })
	need := acc.ended && !acc.absent || h.tripped && r.About.Authority != (Authority{}) && !byPlan
	switch {
	case acc.ended:
	case acc.planned && !need:
		acc.judgePlanned(w, r)
	case r.About.Authority == (Authority{}):
		w.must(false, "promoted by nobody")
	case h.refused:
		w.must(false, "%s promotes what it has refused", r.About.Authority.Host)
	default:
		proofs := 0
		for _, s := range acc.served {
			if s.host == i && acc.proves(w, h, s) {
				proofs++
			}
		}
		w.must(proofs > 0, "%s promotes without a control's failure or silence", r.About.Authority.Host)
	}
	if need {
		acc.promoted, w.dead = w.now, w.current
		if h.row == silent && !acc.ended && h.tripped {
			h.swapped = w.now
		}
	}
}

// proves reports whether an answered trial is a proof: its control had its chance.
func (acc *account) proves(w *world, h *hostAccount, s served) bool {
	if !w.now.Before(s.at.Add(4*time.Minute)) && acc.youngest <= s.step {
		return true // nobody has asked since
	}
	own := s.control.on == w.current && s.control.began >= acc.ready && (s.row != noConnection || h.row != noConnection || s.control.unsent)
	if s.copy {
		failed, f := s.x.control, w.flightOf(s.main)
		switch {
		case f != nil && w.now.Before(s.judged(f)):
			return false
		case f != nil && acc.isExcused(w, f) && !acc.isLike(w, h, &s, s.step):
			return false
		case f != nil:
			return s.own || f.queued || !acc.mayBeBack(w, h, s, failedControl{began: f.began, clock: f.clock, took: s.waited})
		case s.main != nil:
			failed.took = s.waited
			return failed.on == w.current && failed.began >= acc.ready && (s.own || !acc.mayBeBack(w, h, s, failed))
		}
	}
	doubt := acc.mayBeBack(w, h, s, s.control)
	if own && !doubt {
		return true
	}
	once := s.kind < Repeatable || s.kind == Repeatable && (s.row == silent || h.row == silent)
	if !once && !(own && doubt) {
		return false
	}
	// The control begins after the trial. Of several answers in a row the control of one may be
	// before its trial, if it begins after the answer before.
	since := s.began
	if h.before != 0 {
		since = min(since, h.before)
	}
	if h.up != 0 {
		since = min(since, h.up+1)
	}
	return acc.isLike(w, h, &s, since)
}

// mayBeBack reports whether the upstream may have come back between a control and its trial.
func (acc *account) mayBeBack(w *world, h *hostAccount, s served, control failedControl) bool {
	if h.up != 0 && control.began > h.up {
		return false
	}
	silent := slices.ContainsFunc(w.flights, func(f *flight) bool {
		return f.on == w.built && !f.astray && !f.held && hostOf(f.x.q.Authority) == s.host && f.began < s.began && acc.waited(w, f) >= time.Second
	})
	took := control.took
	return took >= 100*time.Millisecond &&
		((took >= 2*time.Second || silent || h.vain > 0) && h.passed <= control.clock || w.now.Sub(h.down) < time.Minute)
}

// controls: f began in service, as the control of a copy that was answered.
func (acc *account) controls(w *world, f *flight) {
	acc.served = slices.Clone(acc.served)
	for i := range acc.served {
		s := &acc.served[i]
		if s.x != f.x || !s.copy {
			continue
		}
		if was := w.flightOf(s.main); was != nil {
			doubt := acc.mayBeBack(w, &acc.hosts[s.host], *s, failedControl{began: was.began, clock: was.clock, took: s.waited})
			w.must(was.inside && w.now.Before(s.judged(was)) || was.queued || doubt || acc.hosts[s.host].doubted, "a copy that has a control gets another one")
			was.answered = false
		}
		w.must(!s.own, "a copy gets a second control")
		s.main, s.own, f.answered = f.a, true, true
		return
	}
	w.must(false, "a control of nothing that was answered")
}

// likeOf: what is sealed has the method of what is once only, so each is the other's control.
func likeOf(k Kind) Kind { return max(k, Once) }

// judged is when the answered copy s will have proved the candidate, if its control
// f is silent until then.
func (s *served) judged(f *flight) time.Time {
	took := s.at.Sub(s.start)
	if s.own {
		return f.start.Add(max(2*took, time.Second))
	}
	return later(f.start.Add(2*took), s.at.Add(100*time.Millisecond))
}

// verdict is when the candidate is judged by an answered copy of a host; zero: there
// is none.
func (acc *account) verdict(w *world, host int) time.Time {
	var at time.Time
	for i := range acc.served {
		if s := &acc.served[i]; s.host == host && s.copy && !s.planned && s.main != nil {
			if f := w.flightOf(s.main); f != nil && f.queued {
				at = first(at, w.now.Add(time.Second)) // it is judged when it has its place
			} else if f != nil {
				at = first(at, s.judged(f))
			}
		}
	}
	return at
}

// judgePlanned: what works is replaced on an answer, while nothing is in flight,
// or when its time is over and nobody tried the candidate in vain.
func (acc *account) judgePlanned(w *world, r Report) {
	if acc.idle {
		return
	}
	for _, s := range acc.served {
		if hosts[s.host] == r.About.Authority {
			return
		}
	}
	w.must(!w.now.Before(w.builtAt.Add(w.RecreateTimeout)), "what is planned is promoted untried before its time")
	for _, x := range w.calls {
		w.must(x.tried == 0 || !x.well && !x.vain, "what is planned is promoted, and %s tried it in vain", w.label(x))
	}
}
