package core

import (
	"slices"
	"time"
)

// A planted bug is between the core and its world: what the core decides is
// garbled. The invariant or the sequel that it is for must notice, in one of the
// worlds.
type planted struct {
	name   string
	world  string // that is searched
	depth  int
	notice string // what is found
	in     func(w *world, t *Todo)
	after  func(w *world, f *flight, o Outcome)
	step   func(w *world, s *Step, q *Call)
	state  func(w *world) // alters the core before each move
}

// plantIn lets the bug garble what is to be done.
func (w *world) plantIn(t *Todo) {
	if w.bug != nil && w.bug.in != nil {
		w.bug.in(w, t)
	}
}

func (w *world) plantAfter(f *flight, o Outcome) {
	if w.bug != nil && w.bug.after != nil {
		w.bug.after(w, f, o)
	}
}

func (w *world) plantStep(s *Step, q *Call) {
	if w.bug != nil && w.bug.step != nil {
		w.bug.step(w, s, q)
	}
}

func (w *world) plantState() {
	if w.bug != nil && w.bug.state != nil {
		w.bug.state(w)
	}
}

var plants = []planted{
	{name: "a wake is lost", world: "refused", depth: 5, notice: "waits for nothing", in: func(w *world, t *Todo) { t.Wake = nil }},
	{name: "who waits for ready is not woken", world: "refused", depth: 6, notice: "that waits for ready waits for nothing", in: func(w *world, t *Todo) {
		t.Wake = slices.DeleteFunc(t.Wake, func(q *Call) bool { return q.Ready > 0 })
	}},
	{name: "a wait for others has no end", world: "after a silent candidate", depth: 8, notice: "waits for nothing", step: func(w *world, s *Step, q *Call) {
		if s.Do == Wait && !s.Round {
			s.Until = time.Time{}
		}
	}},
	{name: "a copy that tells first stays", world: "by age", depth: 6, notice: "takes its copy for under way", state: func(w *world) {
		for _, f := range w.flights {
			f.a.told = false
		}
	}},
	{name: "a candidate is not let go", world: "upstream down", depth: 7, notice: "candidate", in: func(w *world, t *Todo) { t.Retire = nil }},
	{name: "a candidate is let go twice", world: "upstream down", depth: 8, notice: "is let go, and the candidate is", in: func(w *world, t *Todo) { t.Retire = append(t.Retire, t.Retire...) }},
	{name: "what is promoted is let go", world: "refused", depth: 8, notice: "is let go, and the candidate is", in: func(w *world, t *Todo) {
		if t.Promote != 0 {
			t.Retire = append(t.Retire, t.Promote)
		}
	}},
	{name: "a build is not called off", world: "by hand", depth: 5, notice: "two factories are at work", in: func(w *world, t *Todo) { t.Cancel = 0 }},
	{name: "a copy of any request", world: "refused", depth: 7, notice: "a copy of what may not be in two places", step: func(w *world, s *Step, q *Call) {
		if s.Do == Try && q.Kind != Copyable {
			w.c.todo.Copies = append(w.c.todo.Copies, s.Attempt)
		}
	}},
	{name: "an order is never done", world: "by hand", depth: 5, notice: "Recreate waits for nothing", in: func(w *world, t *Todo) { t.Done = nil }},
	{name: "an order is done twice", world: "by hand", depth: 5, notice: "an order is done twice", in: func(w *world, t *Todo) { t.Done = append(t.Done, t.Done...) }},
	{name: "a trip is reported twice", world: "upstream down", depth: 5, notice: "trips with", after: func(w *world, f *flight, o Outcome) {
		w.c.report(w.now, Report{What: HasTripped, About: About{Authority: f.x.q.Authority}})
	}},
	{name: "a failure is delivered late, to a suspect", world: "upstream down", depth: 6, notice: "trips with", after: func(w *world, f *flight, o Outcome) {
		f.a.over = false
		w.c.Failed(w.now, f.a, o)
	}},
	{name: "the threshold is one less", world: "upstream down", depth: 5, notice: "trips with", state: func(w *world) { w.c.rules.Threshold = 1 }},
	{name: "the threshold is one more", world: "refused", depth: 4, notice: "does not trip", state: func(w *world) { w.c.rules.Threshold = 2 }},
	{name: "no window", world: "upstream down", depth: 8, notice: "inside the window", state: func(w *world) { w.c.pace.notBefore = time.Time{} }},
	{name: "a control is not needed", world: "refused", depth: 6, notice: "promotes without a control", state: func(w *world) {
		for _, x := range w.calls {
			for _, a := range []*Attempt{x.q.main, x.q.copy} {
				if a != nil && a.role == asCopy {
					a.role = asPlanned
				}
				if a != nil && a.role == onTrial {
					a.control = true
				}
			}
		}
	}},
	{name: "once only needs no like", world: "broken", depth: 7, notice: "promotes without a control", state: func(w *world) {
		for _, x := range w.calls {
			if a := x.q.main; a != nil && a.role == onTrial && x.q.Kind <= Once {
				a.control = true
			}
		}
	}},
	{name: "a copy's verdict is at once", world: "dark", depth: 8, notice: "promotes without a control", state: func(w *world) {
		if r := w.c.cand; r != nil {
			for _, st := range r.stands {
				if st.answered != nil {
					st.answered.judgeAt = w.now
				}
			}
		}
	}},
	{name: "a copy that proves nothing gets no control", world: "dark", depth: 8, notice: "promotes without a control", state: func(w *world) {
		for _, x := range w.calls {
			if a := x.q.main; a != nil {
				a.start = w.now
			}
		}
	}},
	{name: "a wait for a place is a silence", world: "one place", depth: 8, notice: "promotes without a control", state: func(w *world) {
		for _, f := range w.flights {
			f.a.queued = false
		}
	}},
	{name: "attempts are not counted", world: "upstream down", depth: 9, notice: "attempts", state: func(w *world) {
		for _, x := range w.calls {
			x.q.attempts = 0
		}
	}},
	{name: "what was sent may go again", world: "broken", depth: 4, notice: "sent", state: func(w *world) {
		for _, x := range w.calls {
			x.q.failure.again = true
		}
	}},
	{name: "a round does not wait", world: "refused", depth: 9, notice: "rounds", step: func(w *world, s *Step, q *Call) {
		if s.Round {
			s.Until = w.now
		}
	}},
	{name: "it works and is in vain", world: "by hand", depth: 9, notice: "tried it in vain", state: func(w *world) {
		if r := w.c.cand; r != nil {
			for _, st := range r.stands {
				st.inVain, st.tryWell = false, false
			}
		}
	}},
	{name: "planned is promoted at once", world: "by hand", depth: 6, notice: "untried before its time", state: func(w *world) {
		if r := w.c.cand; r != nil && r.planned && r.stage == Ready {
			r.until = w.now
		}
	}},
	{name: "a caller in its transport waits for any verdict", world: "after a late copy, in the transport", depth: 6, notice: "has its answer, and waits in its transport", state: func(w *world) {
		for _, f := range w.flights {
			f.a.bound = false
		}
	}},
	{name: "what was slow counts for silent for ever", world: "in the transport", depth: 7, notice: "trips with", state: func(w *world) {
		for _, f := range w.flights {
			f.a.silent.n = 0
		}
	}},
	{name: "who leaves of itself was not stalled", world: "in the transport", depth: 5, notice: "does not trip", state: func(w *world) { w.c.rules.Patience = 0 }},
	{name: "who is silent on what was replaced stays", world: "in the transport", depth: 8, notice: "is silent on what was replaced, and stays", state: func(w *world) {
		for _, f := range w.flights {
			if w.roleOf(f) == retired {
				f.a.silent.n = 0
			}
		}
	}},
	{name: "what is slow on what was replaced by plan starts over", world: "in the transport", depth: 8, notice: "what nobody has proved dead", state: func(w *world) {
		for _, f := range w.flights {
			if w.roleOf(f) == retired {
				w.c.dead = f.on
			}
		}
	}},
	{name: "Close leaves the waiting", world: "ended", depth: 5, notice: "left after Close", in: func(w *world, t *Todo) {
		if w.closed {
			t.Wake = nil
		}
	}},
	{name: "a late outcome has an effect", world: "dark", depth: 8, notice: "what is over has an effect", in: func(w *world, t *Todo) {
		for _, a := range t.Recall {
			a.over = false
		}
	}},
	{name: "a recall is lost", world: "dark", depth: 9, notice: "is over, and something of it is under way", in: func(w *world, t *Todo) { t.Recall = nil }},
	{name: "suspicion never ends", world: "anything", depth: 3, notice: "all is well", state: func(w *world) {
		for _, s := range w.c.suspects {
			s.opened = 1 << 40
		}
	}},
	{name: "evidence never counts", world: "refused", depth: 2, notice: "still in service", state: func(w *world) {
		for _, s := range w.c.suspects {
			s.evidence, s.refused = 0, 1<<40
		}
	}},
	{name: "everybody is remembered", world: "upstream down", depth: 3, notice: "everybody leaves", state: func(w *world) {
		for _, s := range w.c.suspects {
			s.asked, s.failed = w.now, w.now
		}
	}},
}
