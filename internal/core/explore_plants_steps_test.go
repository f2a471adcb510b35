package core

import (
	"slices"
	"time"
)

// What the core tells a call to do next, garbled.

// instead makes something else of a step. What was sent then was not.
func (w *world) instead(s *Step, q *Call, do Do) {
	if s.Do == Send || s.Do == Try {
		w.c.NotSent(w.now, s.Attempt)
		w.c.todo.Recall = slices.DeleteFunc(w.c.todo.Recall, func(a *Attempt) bool { return a == s.Attempt })
	}
	w.c.Leave(q)
	*s = Step{Do: do}
}

// sends makes something else of a step: q is sent in service.
func (w *world) sendsInstead(s *Step, q *Call) {
	w.c.Leave(q)
	*s = w.c.send(w.now, q, w.c.suspect(q.Authority))
}

func plantsOfSteps() []planted {
	return []planted{
		{name: "it is sent though there is no transport", world: "nothing yet, fallback", depth: 3, notice: "it is sent, and there is no transport",
			also: []string{"an outage of what has never served", "health fails, and somebody can be served"}, // for what is sent may fail
			step: func(w *world, s *Step, q *Call) {
				if w.acc.absent && s.Do != Send {
					w.sendsInstead(s, q)
				}
			}},
		{name: "the transport in service passes for a candidate", world: "refused", depth: 3, notice: "it is sent on the wrong transport", step: func(w *world, s *Step, q *Call) {
			if s.Do == Send && w.built == 0 {
				s.Do = Try
			}
		}},
		{name: "what was sent goes again", world: "broken", depth: 6, notice: "what may have been sent, and is once only, is sent again", step: func(w *world, s *Step, q *Call) {
			switch x := w.travelerOf(q); {
			case q.Kind != Once || x.sent == 0:
			case s.Do == GiveUp && x.tries == 1:
				w.sendsInstead(s, q)
			case s.Do == Wait:
				w.instead(s, q, GiveUp)
			}
		}},
		{name: "what is sealed goes again", world: "everything", depth: 3, notice: "what is sealed is sent again", step: func(w *world, s *Step, q *Call) {
			if x := w.travelerOf(q); s.Do == GiveUp && q.Kind == Sealed && x.sent == 0 && x.tries == 1 && w.acc.hosts[hostOf(q.Authority)].outage {
				w.sendsInstead(s, q)
			}
		}},
		{name: "a round never begins", world: "refused", depth: 7, notice: "it waits for a round that never begins", step: func(w *world, s *Step, q *Call) {
			if s.Round {
				s.Until = time.Time{}
			}
		}},
		{name: "what was sent waits to go again", world: "broken", depth: 6, notice: "it waits to be sent again, and may not", step: func(w *world, s *Step, q *Call) {
			if x := w.travelerOf(q); s.Do == GiveUp && q.Kind == Once && x.sent > 0 && w.candidate() != 0 && w.built == 0 {
				*s = w.c.wait(q, forVerdict, time.Time{})
			}
		}},
		{name: "who has no attempt left waits for a trip", world: "undecided", depth: 5, notice: "it waits for a trip that cannot come, or is of no use to it", step: func(w *world, s *Step, q *Call) {
			if x := w.travelerOf(q); s.Do == GiveUp && x.asks == 1 && x.sent == 0 && w.candidate() == 0 && !w.acc.hosts[hostOf(q.Authority)].tripped {
				*s = w.c.wait(q, forTrip, w.now)
			}
		}},
		{name: "it goes to a fallback that is not there", world: "refused", depth: 5, notice: "there is no fallback", step: func(w *world, s *Step, q *Call) {
			if w.travelerOf(q).sent == 0 && s.Do == GiveUp && w.acc.hosts[hostOf(q.Authority)].tripped {
				w.instead(s, q, Divert)
			}
		}},
		{name: "what was sent goes to the fallback", world: "fallback", depth: 6, notice: "what may have been sent goes to the fallback", step: func(w *world, s *Step, q *Call) {
			if w.travelerOf(q).sent > 0 && q.Kind == Once && s.Do == GiveUp && w.acc.hosts[hostOf(q.Authority)].tripped {
				w.instead(s, q, Divert)
			}
		}},
		{name: "what is well goes to the fallback", world: "fallback", depth: 4, notice: "what is well is left to the fallback", step: func(w *world, s *Step, q *Call) {
			if q.Authority == hosts[1] && q.fresh() && s.Do == Send && !w.acc.hosts[hostOf(q.Authority)].tripped && !w.acc.ended {
				w.instead(s, q, Divert)
			}
		}},
		{name: "it gives up at once", world: "upstream down", depth: 4, notice: "it gives up and has no error", step: func(w *world, s *Step, q *Call) {
			if x := w.travelerOf(q); q.Authority == hosts[1] && q.fresh() && s.Do == Send && q.Ready == 0 && x.tries == 0 && x.sent == 0 && x.control.on == 0 {
				w.instead(s, q, GiveUp)
			}
		}},
		{name: "it goes only where its end counts", world: "anything", depth: 6, notice: "it gives up after an end that did not count", step: func(w *world, s *Step, q *Call) {
			if x := w.travelerOf(q); x.free && x.tries == 0 && s.Do == Send && q.failure.on != 0 {
				w.instead(s, q, GiveUp)
			}
		}},
		{name: "it is shut out before Close", world: "upstream down", depth: 4, notice: "shut before Close", step: func(w *world, s *Step, q *Call) {
			if q.Authority == hosts[1] && q.fresh() && s.Do == Send {
				w.instead(s, q, Shut)
			}
		}},
		{name: "attempts are not counted", world: "upstream down", depth: 9, notice: "%s makes %d attempts", state: func(w *world) {
			for _, x := range w.calls {
				x.q.attempts = 0
			}
		}},
		{name: "a round hardly waits", world: "refused", first: []string{"PUT a that waits for ready begins", "PUT a that waits for ready is refused", "PUT a that waits for ready asks"}, depth: 5, notice: "%s makes %d rounds in %v", step: func(w *world, s *Step, q *Call) {
			if s.Round {
				s.Until = w.now.Add(400 * time.Millisecond)
			}
		}},
		{name: "what was refused is tried again", world: "by hand", depth: 6, notice: "%s tries what it has refused", ask: func(w *world, x *traveler) {
			if st := w.c.standOf(x.q); st != nil && st.refused && w.builtPlan && w.modes[asCandidate][hostOf(x.q.Authority)] != works {
				st.refused = false
				w.kept.Cancel = 1
			}
		}, step: func(w *world, s *Step, q *Call) {
			if st := w.c.standOf(q); st != nil && w.kept.Cancel == 1 {
				st.refused, w.kept.Cancel = true, 0
			}
		}},
	}
}
