package core

import "time"

// What becomes of a request that its transport never gets, or never returns, and of what a policy
// draws before its factory has returned.

// vanish: f does not return, or its body is not to be had, since what its caller handed in panics or
// ends the goroutine. Its caller has gone with it, but for that of a copy.
func (w *world) vanish(f *flight) {
	w.vanishings--
	w.adopt(f)
	o := Outcome{Left: true, Lost: true}
	if !f.held {
		w.sends(f)
		o.Verdict, o.Trigger = Failure, "lost"
	}
	x := f.x
	if !f.copy {
		x.at, x.got, x.tried = over, "left", 0
	}
	w.land(f)
	counted := o
	counted.Left = !f.copy
	if w.roleOf(f) == serving {
		counted.Verdict = Neutral // nobody knows the cause
	}
	w.acc.failed(w, f, counted)
	w.c.Failed(w.now, f.a, o)
	w.plantAfter(f, o)
	if x.at == going && w.flying(x) == 0 {
		x.at = asking
	}
}

// notSent: the candidate that x is to try has ended. The shell looks before it sends anything.
func (w *world) notSent(x *traveler, a *Attempt) {
	w.say("      the candidate has ended, and it is not sent")
	f := &flight{a: a, x: x, on: a.On, trial: true, held: true, began: w.step, clock: a.began, start: w.now}
	w.flights = append(w.flights, f)
	x.at = going
	x.tries++
	w.c.Asks(a, false)
	w.c.Spoiled(w.now, a.On)
	w.c.NotSent(w.now, a)
	w.perform()
	w.must(w.flightOf(a) == nil, "what was not sent is not called back")
}

// isShut: what comes after Close has no effect.
func (w *world) isShut() {
	t := w.c.todo
	w.c.Tick(w.now)
	w.c.Ended(w.now, w.current, true)
	w.c.Prepare(w.now)
	w.c.Close(w.now)
	u := w.todoOf("closed")
	w.must(u.Promote == 0 && u.Build == nil && len(u.Reports) == len(t.Reports) && len(u.Wake) == len(t.Wake), "what comes after Close has an effect")
}

// drawOf is what chance and the policy gave for a build.
func (w *world) drawOf(f *factory) Draw {
	d := Draw{Interval: min(max(time.Second, 2*f.delay), 8*time.Second)}
	if f.drawn {
		d.Interval = 3 * time.Second
	}
	if w.age {
		d.MaxAge = maxAge
	}
	return d
}

// drawn: the core hears of a long draw before the factory has returned. It counts also if the build
// is called off.
func (w *world) drawn(f *factory) {
	f.drawn = true
	d := w.drawOf(f)
	if !f.canceled {
		w.acc.drew(f, d)
	}
	w.c.Drawn(f.id, d)
}
