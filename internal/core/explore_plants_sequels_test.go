package core

import (
	"slices"
	"time"
)

// What only a sequel notices: what becomes of a dead transport is decided as it should be for
// all but one kind of request, and one way to fail.

// blind makes a call blind to the evidence, while it asks what to do, if match says so of its
// authority and of its own failure.
func blind(p planted, kind Kind, match func(w *world, s *suspect, f failure) bool) planted {
	p.ask = func(w *world, x *traveler) {
		w.was = [2]Instant{}
		if s := w.c.suspect(x.q.Authority); s != nil && x.q.Kind == kind && x.q.Authority == hosts[0] && match(w, s, x.q.failure) {
			w.was = [2]Instant{s.evidence, s.refused + 1}
			s.evidence, s.refused = 0, 1<<40
		}
	}
	p.step = func(w *world, _ *Step, q *Call) {
		if s := w.c.suspect(q.Authority); s != nil && w.was[1] != 0 {
			s.evidence, s.refused = w.was[0], w.was[1]-1
		}
	}
	return p
}

// uncopied makes no copy of a request while match says so of its authority.
func uncopied(p planted, match func(w *world, s *suspect) bool) planted {
	p.state = func(w *world) {
		s := w.c.suspect(hosts[0])
		for _, f := range w.flights {
			switch {
			case s == nil || f.a.in != &s.flying || f.x.q.Kind != Copyable:
			case match(w, s):
				f.a.ripeAt, s.ripeAt = w.now.Add(time.Second), w.now.Add(time.Second)
			default:
				f.a.ripeAt = earlier(f.a.ripeAt, f.start.Add(headStart))
			}
		}
	}
	return p
}

// young: the outage is so young that a sequel is over before it is old, where the first
// candidate is well.
func young(w *world, s *suspect) bool { return s.outage() && w.now.Sub(s.tripped) < 45*time.Second }

// untilLeft: a silent PUT is no evidence until the caller of one has left that was sent, or was not.
func untilLeft(p planted, unsent bool) planted {
	p.after = func(w *world, f *flight, o Outcome) {
		if o.Left && o.Unsent == unsent && f.x.q.Kind == Repeatable {
			w.at = w.now
		}
	}
	return blind(p, Repeatable, func(w *world, s *suspect, f failure) bool {
		return young(w, s) && s.row == silent && s.failures == 0 && w.at.IsZero()
	})
}

// afterSilence notes when a host has refused a silent candidate.
func afterSilence(p planted) planted {
	p.in = func(w *world, t *Todo) {
		for _, r := range t.Reports {
			if r.What == HasRefused && r.Kind == TrialTimeout {
				w.at = w.now
			}
		}
	}
	return p
}

// deeper: it takes more of what came before to be noticed.
func deeper(p planted) planted { p.depth = 6; return p }

// calledOff: what is built for a host like this is called off after two seconds.
func calledOff(p planted, match func(s *suspect) bool) planted {
	p.state = func(w *world) {
		s := w.c.suspect(hosts[0])
		if s == nil || !match(s) || w.c.cand == nil || w.c.cand.planned || w.last.op == opBuilt || w.last.op == opNotBuilt {
			return
		}
		for _, f := range w.factories {
			if f.id == w.c.cand.id && w.c.cand.stage == Building && w.now.Sub(f.start) >= 2*time.Second {
				w.c.end(w.now, GivenUp)
				return
			}
		}
	}
	return p
}

// stillSuspected: no answer ends a suspicion while a request of this kind is under way.
func stillSuspected(p planted, kind Kind) planted {
	p.state = func(w *world) {
		for _, s := range w.c.suspects {
			if slices.ContainsFunc(w.calls, func(x *traveler) bool { return x.q.Kind == kind && x.q.Authority == s.authority }) {
				s.opened = 1 << 40
			} else if s.opened == 1<<40 {
				s.opened = 1
			}
		}
	}
	return p
}

func plantsOfSequels() []planted {
	p := func(name, sequel string) planted {
		return planted{name: name, world: "refused", depth: 4, notice: sequel + ": the dead transport is still in service"}
	}
	const dead, second, long = " for a, b is down", "the first candidate is a black hole, the second is well", ", and builds take long"
	stalled := func(s *suspect) bool { return s.row == silent && s.failures == 0 }
	tried := func(w *world, s *suspect, _ failure) bool { return s.refusals > 0 }
	refusedB := func(w *world) bool {
		b := w.c.suspect(hosts[1])
		return b != nil && b.outage() && b.row == noConnection
	}
	return []planted{
		stillSuspected(planted{name: "suspicion never ends for what may be copied", world: "anything", depth: 5, notice: "all is well: something is still suspected"}, Copyable),
		stillSuspected(planted{name: "suspicion never ends for what is once only", world: "anything", depth: 5, notice: "all is well, POSTs: something is still suspected"}, Once),
		stillSuspected(planted{name: "suspicion never ends for what may go again", world: "anything", depth: 3,
			notice: "every candidate is a black hole, the one in service is well: something is still suspected"}, Repeatable),
		{name: "what nobody wants is let go when others come", world: "after a silent candidate", depth: 4, notice: "all is well: a candidate is still there", in: keepsCandidate},
		{name: "an outage is never forgotten", world: "refused", depth: 5, notice: "everybody leaves: something is left", state: func(w *world) {
			for _, s := range w.c.suspects {
				if s.outage() {
					s.asked = w.now
				}
			}
		}},
		blind(p("what was refused is no evidence at first", "dead (refused)"+dead), Copyable, func(w *world, s *suspect, f failure) bool { return young(w, s) && f.apart && !f.slow }),
		blind(p("what broke is no evidence", "dead (broken)"+dead), Copyable, func(w *world, s *suspect, f failure) bool { return !f.none() && !f.apart && !f.slow }),
		uncopied(p("what is silent is not copied at first", "dead (silent)"+dead), func(w *world, s *suspect) bool { return young(w, s) && stalled(s) && refusedB(w) }),
		blind(uncopied(p("what dials slowly is no evidence", "dead (slow dials)"+dead), func(w *world, s *suspect) bool { return s.row == silent && s.stalls == 0 }),
			Copyable, func(w *world, s *suspect, f failure) bool { return f.apart && f.slow && !f.stall }),
		uncopied(p("what is silent is not copied at first where nothing is refused", "dead and b silent"), func(w *world, s *suspect) bool { return young(w, s) && stalled(s) && !refusedB(w) }),
		blind(p("a POST that was refused is no evidence", "dead (refused)"+dead+", POSTs"), Once, func(w *world, s *suspect, f failure) bool { return !f.none() && f.apart && !f.slow }),
		blind(p("a POST that broke is no evidence", "dead (broken)"+dead+", POSTs"), Once, func(w *world, s *suspect, f failure) bool { return f.none() && s.row == broke }),
		blind(p("a POST that is silent is no evidence at first", "dead (silent)"+dead+", POSTs"), Once, func(w *world, s *suspect, f failure) bool { return young(w, s) && s.row == silent }),
		blind(p("a PUT that broke is no evidence", "dead (broken)"+dead+", PUTs"), Repeatable, func(w *world, s *suspect, f failure) bool { return !f.none() && !f.apart && !f.slow }),
		untilLeft(p("a PUT that is silent is no evidence at first", "dead (silent)"+dead+", PUTs"), true),
		untilLeft(p("a PUT that hangs is no evidence at first", "dead (hangs)"+dead+", PUTs"), false),
		uncopied(afterSilence(p("nothing is copied after a silent candidate", second)), func(w *world, s *suspect) bool { return stalled(s) && !w.at.IsZero() }),
		blind(deeper(p("a POST is no evidence after a refusal", second+", POSTs")), Once, tried),
		blind(p("a PUT is no evidence after a refusal", second+", PUTs"), Repeatable, tried),
		blind(p("what was refused is no evidence after a refusal", second+", refused"), Copyable, tried),
		calledOff(p("a build that takes long is called off", "dead (refused)"+dead+long), func(s *suspect) bool { return s.row == noConnection }),
		calledOff(p("a build that takes long is called off where a is silent", "dead (silent)"+dead+long), func(s *suspect) bool { return s.row == silent }),
		{name: "nobody asks in service while a build goes on", world: "broken", first: []string{"GET a begins", "GET a breaks in service", "GET a asks"}, depth: 3, notice: "all is well again while a build goes on: nobody sees that all is well", state: func(w *world) {
			for _, s := range w.c.suspects {
				s.probeAt = w.now.Add(time.Hour)
			}
		}},
	}
}

// keepsCandidate keeps the candidate that nobody wants, as long as nothing but GETs comes.
func keepsCandidate(w *world, t *Todo) {
	others := false
	for _, x := range w.calls {
		others = others || x.q.Kind != Copyable
		if x.q.Kind == Copyable {
			w.at = w.now
		}
	}
	late := w.built != 0 && w.c.Candidate() != w.built && t.Promote != w.built
	switch {
	case t.Build != nil || t.Promote != 0 || others || w.now.Sub(w.at) >= 3*time.Second:
		if late && len(t.Retire) == 0 {
			t.Retire = []uint64{w.built}
		}
	default:
		t.Retire = nil
	}
}
