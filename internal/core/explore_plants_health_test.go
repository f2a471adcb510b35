package core

import "time"

// What is said of the client's health, garbled; and what becomes of that which is not sent, does not
// return, or is drawn early.

func plantsOfHealth() []planted {
	barren := func(w *world) bool { // it fails, but for the backoff
		acc := &w.acc
		since, ill := acc.illSince()
		return ill && w.candidate() == 0 && acc.isBarren() && acc.health.served <= since && !w.Fallback && w.c.pace.due(w.now)
	}
	failing := []string{"GET a begins", "GET a is refused in service", "GET a asks", "not built"}
	return []planted{
		{name: "health forgets Close", world: "ended", depth: 3, notice: "health does not know of Close", view: func(w *world, v *View) { v.Closed = false }},
		{name: "health never warns", world: "upstream down", depth: 4, notice: "something is down, and health does not warn", view: func(w *world, v *View) { v.Recovering = false }},
		{name: "health fails for one dead host beside another", world: "refused", depth: 6, notice: "health fails, and somebody can be served", view: func(w *world, v *View) {
			v.Failing = v.Failing || !v.NextBuild.IsZero() && len(v.Authorities) > 0
		}},
		{name: "health fails until somebody is answered", world: "refused", first: failing, depth: 4, notice: "health fails, and a transport may be built",
			also: []string{"health fails, and the next request has a transport built"}, // for that is so
			view: func(w *world, v *View) { v.Failing = v.Failing || barren(w) }},
		{name: "health fails for longer than the backoff", world: "refused", first: failing, depth: 4, notice: "health fails, and the next request has a transport built", view: func(w *world, v *View) {
			if barren(w) {
				v.Failing, v.NextBuild = true, w.now.Add(time.Second)
			}
		}},
		{name: "health never fails", world: "refused", depth: 5, notice: "nobody can be served, and health does not fail", view: func(w *world, v *View) { v.Failing = false }},
		{name: "what does not return counts", world: "deadlines", depth: 6, notice: "%s trips with %d failures and %d stalls", after: func(w *world, f *flight, o Outcome) {
			if s := w.c.suspect(f.x.q.Authority); s != nil && s.state == Suspected && o.Lost && f.on == w.current {
				w.c.trip(w.now, s)
			}
		}},
		{name: "what was not sent stays", world: "everything", depth: 3, notice: "what was not sent is not called back",
			first: []string{"PUT a begins", "PUT a has its body", "PUT a is refused", "PUT a asks", "built", "the candidate ends, unseen"},
			step: func(w *world, s *Step, q *Call) {
				if q.Kind == Sealed && s.Do == Try && w.sick[1] {
					s.Attempt.over = true
				}
			}, in: func(w *world, t *Todo) {
				for _, f := range w.flights {
					f.a.over = f.a.over && !(f.x.q.Kind == Sealed && f.trial && f.held)
				}
			}},
		{name: "who comes after Close is woken", world: "ended", depth: 3, notice: "what comes after Close has an effect", todo: func(w *world, when string, t *Todo) {
			if when == "closed" {
				t.Wake = append(t.Wake, &Call{})
			}
		}},
		{name: "what was drawn is lost with its build", world: "together", depth: 3, notice: "a build %v inside the window",
			first: []string{"drawn long", "Recreate", "not built", "not built"}, state: func(w *world) {
				if r := w.c.cand; r != nil && r.stage == Building {
					r.draw = 0
				}
			}},
	}
}
