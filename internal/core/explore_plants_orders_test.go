package core

// What the core has the shell do with transports and orders, garbled.

func plantsOfOrders() []planted {
	return []planted{
		{name: "a build is called off late", world: "by hand", depth: 5, notice: "%d candidates", in: func(w *world, t *Todo) {
			switch late := w.kept.Cancel; {
			case late != 0:
				w.kept.Cancel = 0
				if w.isBuilding(late) {
					t.Cancel = late
				}
			case t.Build != nil:
				w.kept.Cancel, t.Cancel = t.Cancel, 0
			}
		}},
		{name: "another one than the candidate is promoted", world: "refused", depth: 8, notice: "promoted %d, and the candidate is %d", in: func(w *world, t *Todo) {
			if t.Promote != 0 {
				t.Promote += 100
			}
		}},
		{name: "another one is in service than was promoted", world: "refused", depth: 8, notice: "another one is in service", in: func(w *world, t *Todo) {
			if t.Promote != 0 {
				w.c.current += 100
			}
		}, state: func(w *world) { w.c.current = w.current }},
		{name: "a candidate is let go twice", world: "upstream down", depth: 8, notice: "%d is let go, and the candidate is %d", in: func(w *world, t *Todo) {
			t.Retire = append(t.Retire, t.Retire...)
		}},
		{name: "what is promoted is let go", world: "refused", depth: 8, notice: "%d is let go, and the candidate is %d", in: func(w *world, t *Todo) {
			if t.Promote != 0 {
				t.Retire = append(t.Retire, t.Promote)
			}
		}},
		{name: "what was built late is kept", world: "by hand", depth: 5, notice: "what was built late is not let go", todo: func(w *world, when string, t *Todo) {
			if when == "built" {
				t.Retire = nil
			}
		}},
		{name: "a build is called off again", world: "by hand", depth: 5, notice: "a build is called off twice", in: func(w *world, t *Todo) {
			for _, f := range w.factories {
				if f.canceled && t.Cancel == 0 {
					t.Cancel = f.id
				}
			}
		}},
		{name: "a build is called off that never began", world: "refused", depth: 5, notice: "called off is %d, which is not building", in: func(w *world, t *Todo) {
			if t.Promote != 0 {
				t.Cancel = 100
			}
		}},
		{name: "a build that nobody needs", world: "anything", depth: 3, notice: "a build for need, and nothing is tripped", in: func(w *world, t *Todo) {
			for _, f := range w.factories {
				if f.id == 100 && !f.canceled {
					t.Cancel = f.id
				}
			}
			if w.c.serial == 1 && w.step == 1 {
				t.Build = &Build{ID: 100}
			}
		}},
		{name: "no window", world: "upstream down", depth: 8, notice: "a build %v inside the window", state: func(w *world) { w.c.pace.notBefore = t0 }},
		{name: "an order is never done", world: "by hand", depth: 5, notice: "Recreate waits for nothing", in: func(w *world, t *Todo) { t.Done = nil }},
		{name: "an order is done twice", world: "by hand", depth: 5, notice: "an order is done twice", in: func(w *world, t *Todo) { t.Done = append(t.Done, t.Done...) }},
		{name: "an order is done and not told so", world: "by hand", depth: 5, notice: "an order is done and does not know it", in: func(w *world, t *Todo) {
			for _, o := range t.Done {
				o.done = false
			}
		}},
		{name: "Close leaves the waiting", world: "ended", depth: 5, notice: "something is left after Close", in: func(w *world, t *Todo) {
			if w.closed {
				t.Wake = nil
			}
		}},
		{name: "Close does not call off the build", world: "ended", depth: 5, notice: "something is left after Close", in: func(w *world, t *Todo) {
			if w.closed {
				t.Cancel = 0
			}
		}},
		{name: "the timer is not set anew", world: "upstream down", depth: 5, notice: "the timer spins", tick: func(w *world) {
			if w.step%2 == 0 && !w.c.sweepAt.IsZero() {
				w.c.sweepAt = w.now
			}
		}},
	}
}

func (w *world) isBuilding(id uint64) bool {
	for _, f := range w.factories {
		if f.id == id && !f.canceled {
			return true
		}
	}
	return false
}
