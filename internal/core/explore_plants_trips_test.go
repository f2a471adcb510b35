package core

// What counts, and what is reported, garbled.

// reports has more reported beside what matches.
func reports(match func(w *world, r Report) bool, more func(r Report) Report, after bool) func(*world, *Todo) {
	return func(w *world, t *Todo) {
		var all []Report
		for _, r := range t.Reports {
			switch {
			case !match(w, r):
				all = append(all, r)
			case after:
				all = append(all, r, more(r))
			default:
				all = append(all, more(r), r)
			}
		}
		t.Reports = all
	}
}

// as is r with another event.
func as(what Event) func(Report) Report {
	return func(r Report) Report { r.What = what; return r }
}

func plantsOfTrips() []planted {
	needed := func(w *world, r Report) bool {
		return r.What == WasPromoted && r.About.Authority != (Authority{}) && !w.acc.planned && !w.acc.ended
	}
	return []planted{
		{name: "a trip is reported twice", world: "after a refusal", depth: 5, notice: "%s trips with %d failures and %d stalls", after: func(w *world, f *flight, o Outcome) {
			if h := w.acc.hosts[hostOf(f.x.q.Authority)]; h.tripped && h.vain > 0 {
				w.c.report(w.now, Report{What: HasTripped, About: About{Authority: f.x.q.Authority}})
			}
		}},
		{name: "a failure is delivered late, to a suspect", world: "upstream down", depth: 6, notice: "%s trips with %d failures and %d stalls", after: func(w *world, f *flight, o Outcome) {
			f.a.over = false
			w.c.Failed(w.now, f.a, o)
		}},
		{name: "the threshold is one less", world: "upstream down", depth: 5, notice: "%s trips with %d failures and %d stalls", state: func(w *world) { w.c.rules.Threshold = 1 }},
		{name: "what was slow counts for silent for ever", world: "in the transport", depth: 7, notice: "%s trips with %d failures and %d stalls",
			also: []string{"a build for need, and nothing is tripped"}, // for the world takes back what was slow
			state: func(w *world) {
				for _, f := range w.flights {
					f.a.silent.n = 0
				}
			}},
		{name: "who leaves of itself was not stalled", world: "in the transport", first: []string{"GET a is a stall", "in service for a: is slow"}, depth: 5, notice: "%s does not trip, with %d failures and %d stalls",
			also: []string{"%s has recovered, and nothing was answered"}, // for the world has one stall more than the core, and takes as many back
			state: func(w *world) {
				if w.c.rules.Patience = w.Patience; w.last.op == opLeaveNeutral {
					w.c.rules.Patience = 0
				}
			}},
		{name: "a first transport that is awaited is an outage", world: "nothing yet", depth: 4, notice: "an outage of what has never served", in: func(w *world, t *Todo) {
			if w.acc.absent && t.Build != nil {
				t.Reports = append(t.Reports, Report{What: HasTripped, About: About{Trigger: TransportEnded}})
			}
		}},
		{name: "an outage ends as it begins", world: "refused", depth: 4, notice: "%s has recovered, and nothing was answered",
			in: reports(func(w *world, r Report) bool { return r.What == HasTripped && r.About.Trigger != TransportEnded }, as(HasRecovered), true)},
		{name: "a refusal is reported twice", world: "upstream down", depth: 7, notice: "%s refuses twice",
			in: reports(func(w *world, r Report) bool { return r.What == HasRefused }, as(HasRefused), true)},
		{name: "another one is rejected", world: "upstream down", depth: 7, notice: "rejected is %d, and the candidate is %d", in: func(w *world, t *Todo) {
			for i := range t.Reports {
				if t.Reports[i].What == WasRejected {
					t.Reports[i].Candidate += 100
				}
			}
		}},
		{name: "a promotion is nobody's", world: "refused", depth: 7, notice: "promoted by nobody",
			in: reports(needed, func(r Report) Report { r.About = About{}; return r }, true)},
		{name: "a candidate is refused and promoted", world: "refused", depth: 7, notice: "%s promotes what it has refused", in: reports(needed, as(HasRefused), false)},
	}
}
