package core

import "slices"

// What the core has the shell do with attempts, garbled: copies, and what is called back or
// left behind.

// late keeps back for a move what is called back of those that match.
func late(match func(w *world, f *flight, t *Todo) bool) func(*world, *Todo) {
	return func(w *world, t *Todo) {
		was := slices.DeleteFunc(w.kept.Recall, func(a *Attempt) bool { return w.flightOf(a) == nil })
		w.kept.Recall = nil
		t.Recall = slices.DeleteFunc(slices.Clone(t.Recall), func(a *Attempt) bool {
			f := w.flightOf(a)
			keeps := f != nil && match(w, f, t)
			if keeps {
				w.kept.Recall = append(w.kept.Recall, a)
			}
			return keeps
		})
		t.Recall = append(was, t.Recall...)
	}
}

// posing makes those of the kind Repeatable that match pose as copyable while the core decides.
func posing(match func(w *world, f *flight) bool) (state func(*world), in func(*world, *Todo)) {
	state = func(w *world) {
		for _, f := range w.flights {
			if f.x.q.Kind == Repeatable && match(w, f) {
				f.x.q.Kind = Copyable
			}
		}
	}
	in = func(w *world, _ *Todo) {
		for _, x := range w.calls {
			x.q.Kind = w.label(x).kind
		}
	}
	return state, in
}

// byPlan is how what was replaced in the world "in the transport" was not proved dead.
var byPlan = []string{"Recreate", "built", "time", "time"}

func plantsOfRecalls() []planted {
	copied := planted{name: "a copy of any request", world: "dark once only", depth: 7, notice: "a copy of what may not be in two places"}
	copied.state, copied.in = posing(func(w *world, f *flight) bool { return w.roleOf(f) == serving && w.last.op >= opTick })
	behind := planted{name: "any request is left behind", world: "together, threshold 2", depth: 5, notice: "left behind is what may not be in two places"}
	behind.first = []string{"POST b sealed with 5s has its body", "POST b sealed with 5s leaves soon", "Recreate", "built", "time jumps 7 s", "tick"}
	behind.state, behind.in = posing(func(w *world, f *flight) bool {
		return w.roleOf(f) == retired && w.last.op == opImpatient && f.x.q.main == f.a
	})
	return []planted{
		copied, behind,
		{name: "a copy is sent twice", world: "dark", depth: 7, notice: "two copies of a request", in: func(w *world, t *Todo) {
			for _, f := range slices.Clone(w.flights) {
				if w.flightOf(f.a) != f {
					w.land(f)
				}
			}
			if w.modes[asCandidate] == [2]mode{mute, mute} {
				t.Copies = append(t.Copies, t.Copies...)
			}
		}},
		{name: "a control of nothing", world: "by age", depth: 6, notice: "a control of nothing that was answered", in: func(w *world, t *Todo) {
			for _, f := range w.flights {
				if f.copy && w.builtPlan && f.x.at == over && len(w.acc.served) == 0 && len(t.Copies)+len(t.Recall) == 0 {
					a := &Attempt{Call: f.x.q, On: w.current, over: true}
					t.Copies, t.Recall = append(t.Copies, a), append(t.Recall, a)
				}
			}
		}},
		{name: "a control is sent again", world: "after an answered copy", depth: 6, notice: "a copy that has a control gets another one", state: func(w *world) {
			if st := w.judges(); st != nil && !st.answered.Call.main.queued && st.answered.Call.main.began < st.answered.began {
				w.c.sendControl(w.now, w.c.suspect(st.authority), st.answered)
			}
		}},
		{name: "a control that queues is sent again", world: "one place", depth: 7, notice: "a copy gets a second control", state: func(w *world) {
			if st := w.judges(); st != nil && st.answered.Call.main.queued && st.answered.Call.main.began > st.answered.began {
				w.c.sendControl(w.now, w.c.suspect(st.authority), st.answered)
			}
		}},
		{name: "a trial that was not sent is called back late", world: "after an answered copy", depth: 6, notice: "a trial that was not sent is left on a candidate that is over",
			in: late(func(w *world, f *flight, t *Todo) bool {
				return t.Promote == 0 && f.trial && !f.sent && f.x.q.Kind > Once
			})},
		{name: "a copy is called back late", world: "dark", depth: 8, notice: "a copy is under way, and its candidate is over",
			in: late(func(w *world, f *flight, t *Todo) bool {
				return len(t.Retire) > 0 && len(w.factories) == 0 && t.Build == nil && f.copy && w.modeOf(f) == mute && f.x.at != over
			})},
		{name: "what nobody waits for is called back late", world: "dark", depth: 8, notice: "%s is over, and something of it is under way %s",
			in: late(func(w *world, f *flight, t *Todo) bool { return !f.copy && f.x.at == over })},
		{name: "a recall is made twice", world: "dark", depth: 8, notice: "called back is what is not under way", in: func(w *world, t *Todo) { t.Recall = append(t.Recall, t.Recall...) }},
		{name: "what was sent is called back", world: "broken", depth: 4, notice: "called back is what may have been sent and may not go again", state: func(w *world) {
			for _, f := range w.flights {
				if q := f.x.q; q.Kind == Once && q.Authority == hosts[1] && f.trial && f.sent && w.roleOf(f) == asCandidate && !f.a.over {
					w.c.callBack(f.a)
					q.failure = failure{on: w.current, began: f.a.began, at: w.c.now}
				}
			}
		}},
		{name: "what is in service is called back", world: "upstream down", depth: 5, notice: "called back is what is in service", in: func(w *world, t *Todo) {
			for _, f := range w.flights {
				if f.x.q.Kind == Repeatable && w.roleOf(f) == serving && f.x.tries == 1 && f.x.asks == 1 && !f.a.over {
					w.c.callBack(f.a)
					t.Recall, w.c.todo.Recall = append(t.Recall, f.a), nil
				}
			}
		}},
		{name: "what is slow on what was replaced by plan starts over", world: "in the transport", first: byPlan, depth: 5, notice: "called back is what waits on what nobody has proved dead", state: func(w *world) {
			if w.last.op == opImpatient && w.roleOf(w.flights[w.last.a]) == retired {
				w.c.dead = w.flights[w.last.a].on
			}
		}, in: func(w *world, t *Todo) { w.c.dead = w.dead }},
		{name: "what is in service is left behind", world: "dark", depth: 7, notice: "left behind is what was not replaced", in: func(w *world, t *Todo) {
			if main, copied := w.copied(); main != nil && main.x.q.Kind == Copyable && !copied.told && len(t.Recall) == 0 {
				main.a.role = leftBehind
			}
		}, state: func(w *world) {
			for _, f := range w.flights {
				if f.left && w.roleOf(f) == serving {
					f.left, f.a.role = false, inService
				}
			}
		}},
		{name: "who was left behind is told late", world: "in the transport", first: append(byPlan[:4:4], "GET b leaves"), depth: 6, notice: "%s is under way, and nothing is",
			in: func(w *world, t *Todo) { t.Part, w.kept.Part = w.kept.Part, t.Part }},
		{name: "a late outcome wakes its call", world: "dark", depth: 8, notice: "what is over has an effect", todo: func(w *world, when string, t *Todo) {
			if when == "over" {
				t.Wake = append(t.Wake, &Call{})
			}
		}},
		{name: "a copy that tells first has an effect", world: "by age", first: []string{"GET a begins", "time", "built", "GET b begins"}, depth: 3, notice: "a copy is told first, and has an effect", todo: func(w *world, when string, t *Todo) {
			if when == "told" {
				t.Wake = append(t.Wake, &Call{})
			}
		}},
		{name: "a copy that tells first stays", world: "by age", first: []string{"GET a begins", "time", "built", "GET b begins"}, depth: 3, notice: "%s has left, and the core takes its copy for under way", state: func(w *world) {
			for _, f := range w.flights {
				f.a.Call.left = false
			}
			w.forgetGone()
		}},
		{name: "what was not called back may not go", world: "slow bodies", depth: 5, notice: "what was not called back may not be sent", state: func(w *world) {
			if w.last.op == opFetched {
				w.flights[w.last.a].a.over = true
			}
		}, in: func(w *world, t *Todo) {
			if w.last.op == opFetched {
				for _, f := range w.flights {
					f.a.over = f.a.in == nil && f.a.Call.main != f.a && f.a.Call.copy != f.a && f.a.Call.behind != f.a
				}
			}
		}},
	}
}

// copied returns what is under way in service for a request, and the copy beside it; nil where there is none.
func (w *world) copied() (main, copied *flight) {
	for _, x := range w.calls {
		if main, copied = w.beside(x); main != nil && copied != nil && w.roleOf(main) == serving {
			return main, copied
		}
	}
	return nil, nil
}

// forgetGone has the core forget the trials that are not under way any more.
func (w *world) forgetGone() {
	if w.c.cand == nil {
		return
	}
	for _, st := range w.c.cand.stands {
		for a := st.trials.first; a != nil; {
			next := a.next
			if w.flightOf(a) == nil {
				w.c.detach(a)
			}
			a = next
		}
	}
}

// judges returns the stand whose answered copy waits for its control; nil: there is none.
func (w *world) judges() *stand {
	if w.c.cand == nil {
		return nil
	}
	for _, st := range w.c.cand.stands {
		if st.answered != nil && st.answered.Call.main != nil {
			return st
		}
	}
	return nil
}
