package core

import (
	"slices"
	"time"
)

// visit makes a request.
func (s *sim) visit(like visit) *visit {
	v := &like
	kind := map[string]Kind{"GET": Copyable, "GET+Upgrade": Repeatable, "PUT": Repeatable, "POST": Once}[v.method]
	if v.sealed {
		kind = Sealed
	}
	v.q = &Call{Authority: simAuthority(v.host), Method: v.method, Kind: kind, Ready: v.ready}
	v.start = s.now
	s.inFlight++
	if v.left > 0 {
		v.q.Deadline = s.now.Add(v.left)
		s.after(v.left, func() { s.leave(v, true) })
	}
	if v.leaves > 0 {
		s.after(v.leaves, func() { s.leave(v, false) })
	}
	if s.ended(s.c.Current()) {
		r := s.c.cand
		s.c.Ended(s.now, s.c.Current(), r == nil || !s.ended(r.id))
		s.perform()
	}
	if s.calm() {
		f := &simFlight{v: v, on: s.c.Current(), noted: s.c.Clock(), start: s.now, watched: kind == Once}
		s.accompany(f)
		s.fly(f)
		return v
	}
	s.visits[v.q] = v
	s.ask(v)
	return v
}

// calm reports whether requests may take the healthy path.
func (s *sim) calm() bool {
	c := s.c
	return !c.closed && !c.ended && len(c.suspects) == 0 && (c.cand == nil || !c.cand.planned)
}

// ask performs what the core decides for v.
func (s *sim) ask(v *visit) {
	if v.over {
		return
	}
	v.waits++
	switch step := s.c.Next(s.now, v.q); step.Do {
	case Send, Try:
		f := &simFlight{v: v, a: step.Attempt, on: step.Attempt.On, start: s.now, watched: true}
		s.c.Handed(s.now, f.a)
		if !s.mute {
			s.c.Asks(f.a, false)
		}
		s.accompany(f)
		s.fly(f)
	case Wait:
		wait := v.waits
		if !step.Until.IsZero() {
			s.after(step.Until.Sub(s.now), func() {
				if !v.over && v.waits == wait {
					s.ask(v)
				}
			})
		}
	case Divert:
		s.finish(v, "diverted", 0)
	case GiveUp, Shut:
		s.finish(v, "lost", 0)
	}
}

// finish: the caller has what it gets.
func (s *sim) finish(v *visit, got string, on uint64) {
	if v.over {
		return
	}
	v.over, v.got, v.on = true, got, on
	s.inFlight--
	m := s.got[v.host]
	if m == nil {
		m = map[string]int{}
		s.got[v.host] = m
	}
	m[got]++
	most := min(s.c.rules.Threshold, mostAttempts) + 2
	if v.ready == 0 && v.tries > most+1 {
		s.fault("%s to %s made %d attempts", v.method, v.host, v.tries)
	}
	if v.then != nil {
		v.then(v)
	}
	if got == "answered" {
		for _, f := range s.onAnswer {
			f(v)
		}
	}
}

// accompany: whoever can wait for longer than the client's patience is looked at after each, as
// the registry does, and is a stall each time that it has waited for its authority's.
func (s *sim) accompany(f *simFlight) {
	p, at := s.c.rules.Patience, f.v.q.Deadline
	if s.c.rules.Stalls == 0 || p == 0 || !at.IsZero() && at.Sub(s.now) < p*3/2 {
		return
	}
	f.patient, f.silentSince = true, s.now
	s.accompanied = append(s.accompanied, f)
	s.after(p, func() { s.look(f) })
}

func (s *sim) look(f *simFlight) {
	if f.over || f.v.over {
		return
	}
	if since := f.silentSince; s.now.Sub(since) >= s.c.Patience(s.now, since, f.v.q.Authority) {
		f.silentSince = s.now
		s.adoptWaiting(f)
		s.c.Silent(s.now, f.a)
	}
	s.after(s.c.rules.Patience, func() { s.look(f) })
}

// condemn makes known what is accompanied on a transport that has been replaced.
func (s *sim) condemn(all []Authority) {
	kept := s.accompanied[:0]
	for _, f := range s.accompanied {
		if f.over || f.v.over {
			continue
		}
		kept = append(kept, f)
		if f.on != s.c.Current() && f.a == nil && slices.Contains(all, f.v.q.Authority) {
			s.adoptWaiting(f)
			s.c.Condemned(s.now, f.a)
		}
	}
	s.accompanied = kept
}

// adopt makes an attempt of the healthy path known to the core.
func (s *sim) adopt(f *simFlight) {
	if f.a != nil {
		return
	}
	start := f.start
	if !f.watched && !f.patient {
		start = time.Time{}
	}
	f.a = f.v.q.Adopt(f.on, f.noted, start)
	s.visits[f.v.q] = f.v
	s.flights[f.a] = f
}

// adoptWaiting is adopt, of one whose caller waits in its transport.
func (s *sim) adoptWaiting(f *simFlight) {
	known := f.a != nil
	s.adopt(f)
	f.a.bound = f.a.bound || !known
}

// fly sends an attempt to the world.
func (s *sim) fly(f *simFlight) {
	v := f.v
	v.flown = append(v.flown, f.on)
	if f.copy {
		v.copies++
		s.copies++
	} else {
		v.tries++
		v.flight = f
	}
	if f.a != nil {
		s.flights[f.a] = f
	}
	how := s.world(v, f.on)
	if how.refused {
		s.after(how.dial, func() {
			s.failed(f, how, Outcome{Verdict: Failure, Trigger: "connection_refused", Unsent: true, Again: true})
		})
		return
	}
	s.after(how.dial, func() {
		if f.over {
			return
		}
		f.connected = true
		if v.sent++; v.sent > 1 && v.q.Kind <= Once {
			s.fault("a %s to %s was sent %d times", v.method, v.host, v.sent)
		}
		if f.a != nil && !s.mute {
			s.c.Connected(s.now, f.a)
		}
		s.after(how.answer, func() {
			if how.broken {
				s.failed(f, how, Outcome{Verdict: Failure, Trigger: "connection_reset", Again: v.q.Kind > Once})
			} else {
				s.answered(f)
			}
		})
	})
}

func (s *sim) failed(f *simFlight, how fate, o Outcome) {
	if f.over {
		return
	}
	if how.untyped && !f.watched {
		o.Untyped, o.Unsent, o.Again = true, false, f.v.q.Kind > Once
	}
	s.adopt(f)
	s.land(f)
	s.c.Failed(s.now, f.a, o)
	s.askOn(f.v)
}

// askOn: if nothing of v is under way any more, it asks what is next.
func (s *sim) askOn(v *visit) {
	if !v.over && v.q.main == nil && v.q.copy == nil && v.q.waiting == notWaiting {
		s.ask(v)
	}
}

func (s *sim) answered(f *simFlight) {
	if f.over {
		return
	}
	waited := s.now.Sub(f.start)
	if f.a == nil && s.calm() && !(f.patient && 2*waited > s.c.rules.Patience) {
		f.over = true
		s.finish(f.v, "answered", f.on)
		return
	}
	s.adopt(f)
	s.land(f)
	if s.c.Answered(s.now, f.a) {
		s.finish(f.v, "answered", f.on)
	}
}

func (s *sim) land(f *simFlight) {
	f.over = true
	delete(s.flights, f.a)
}

// recall: the core cancels an attempt.
func (s *sim) recall(a *Attempt) {
	f := s.flights[a]
	if f == nil {
		return
	}
	s.land(f)
	if !f.copy {
		f.v.tries--
	}
	s.askOn(f.v)
}

// leave: v's caller goes, since its deadline has passed, or for reasons of its own.
func (s *sim) leave(v *visit, late bool) {
	if v.over {
		return
	}
	s.finish(v, "lost", 0)
	if v.q.main == nil && v.q.copy == nil && s.visits[v.q] != nil {
		s.c.Leave(v.q)
		return
	}
	if v.flight == nil || v.flight.over { // only its copy is under way, which says nothing
		if f := s.flights[v.q.copy]; f != nil {
			s.land(f)
			o := Outcome{Left: true, Trigger: "stall"}
			if late {
				o.Verdict = Stall
			}
			s.c.Failed(s.now, f.a, o)
		}
		return
	}
	f := v.flight
	s.adopt(f)
	s.land(f)
	o := Outcome{Left: true, Unsent: !f.connected, Again: !f.connected || v.q.Kind > Once, Trigger: "stall"}
	switch {
	case late:
		o.Verdict = Stall
	case f.watched || f.patient:
		o.Silence = s.now.Sub(f.start)
	}
	s.c.Failed(s.now, f.a, o)
}
