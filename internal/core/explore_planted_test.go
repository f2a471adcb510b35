package core

import "slices"

// A planted bug is between the core and its world: what the core decides is garbled. One
// assertion must notice that in one of the worlds, and no other may, however long the search
// goes on without that one. So most of these bugs do no more than they must, and some keep back
// for a move what the core decides.
type planted struct {
	name   string
	world  string   // that is searched
	first  []string // moves before the search, after those of the world
	depth  int
	notice string   // the assertion that is to notice: the format of a must, or a sequel and what it wants
	also   []string // others that cannot but notice, too

	in    func(w *world, t *Todo)              // what is to be done
	after func(w *world, f *flight, o Outcome) // an attempt has failed
	ask   func(w *world, x *traveler)          // a call is to ask what to do next
	step  func(w *world, s *Step, q *Call)     // it was told
	state func(w *world)                       // a step begins
	tick  func(w *world)                       // the timer has fired
	view  func(w *world, v *View)              // how the client is
	todo  func(w *world, when string, t *Todo) // the core was told what can have no effect
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

func (w *world) plantAsk(x *traveler) {
	if w.bug != nil && w.bug.ask != nil {
		w.bug.ask(w, x)
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

func (w *world) plantView(v *View) {
	if w.bug != nil && w.bug.view != nil {
		w.bug.view(w, v)
	}
}

func (w *world) plantTick() {
	if w.bug != nil && w.bug.tick != nil {
		w.bug.tick(w)
	}
}

// todoOf is what the core wants done after it was told what can have no effect: a late outcome
// ("over"), the end of a copy whose caller has gone ("told"), a build that was called off ("built"), or
// what comes after Close ("closed").
func (w *world) todoOf(when string) *Todo {
	if w.bug != nil && w.bug.todo != nil {
		w.bug.todo(w, when, &w.c.todo)
	}
	return &w.c.todo
}

// plants are all planted bugs.
func plants() []planted {
	return slices.Concat(plantsOfOrders(), plantsOfRecalls(), plantsOfSteps(), plantsOfWaits(), plantsOfTrips(), plantsOfProofs(), plantsOfHealth(), plantsOfSequels())
}
