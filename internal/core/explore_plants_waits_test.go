package core

import (
	"slices"
	"time"
)

// Who waits, for what and how long, garbled.

func plantsOfWaits() []planted {
	return []planted{
		{name: "a wake is lost", world: "refused", depth: 5, notice: "%s waits for nothing", in: func(w *world, t *Todo) { t.Wake = nil }},
		{name: "who waits for ready is not woken", world: "refused", depth: 6, notice: "%s waits for nothing", in: func(w *world, t *Todo) {
			t.Wake = slices.DeleteFunc(t.Wake, func(q *Call) bool { return q.Ready > 0 })
		}},
		{name: "a wait for others has no end", world: "after a silent candidate", first: []string{"GET b begins", "POST a begins", "GET a leaves", "time", "GET a begins", "time"}, depth: 4, notice: "%s waits for nothing", step: func(w *world, s *Step, q *Call) {
			if s.Do == Wait && !s.Round {
				s.Until = time.Time{}
			}
		}},
		{name: "who waits for a trial is woken again and again", world: "after a refusal", depth: 6, notice: "%s asks again and again", in: func(w *world, t *Todo) {
			for _, x := range w.calls {
				if x.at == resting && !x.resumes && w.built != 0 && x.asks < 14 && !slices.Contains(t.Wake, x.q) {
					t.Wake = append(t.Wake, x.q)
				}
			}
		}},
		{name: "the timer is set for every instant", world: "refused", depth: 2, notice: "it never comes to rest", tick: func(w *world) {
			if at := w.now.Add(2 * time.Millisecond); w.now.Before(t0.Add(30*time.Second)) && !w.c.sweepAt.IsZero() && at.Before(w.c.sweepAt) {
				w.c.sweepAt = at
			}
		}},
		{name: "a caller in its transport waits for any verdict", world: "after a late copy, in the transport", depth: 6, notice: "%s has its answer, and waits in its transport", state: func(w *world) {
			for _, f := range w.flights {
				f.a.bound = false
			}
		}},
		{name: "who is silent on what was replaced stays", world: "in the transport", first: byPlan, depth: 5, notice: "%s is silent on what was replaced, and stays", state: func(w *world) {
			for _, f := range w.flights {
				if w.roleOf(f) == retired {
					f.a.silent.n = 0
				}
			}
		}},
	}
}
