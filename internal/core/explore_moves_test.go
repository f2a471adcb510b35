package core

import (
	"slices"
	"time"
)

// A move is what can happen next.
type move struct {
	op op
	i  int // a call, template, change or factory
	a  int // an attempt: which of its call's flights; or a variant
}

type op uint8

const (
	opBegin op = iota
	opAsk
	opWaited
	opFetched
	opConnect
	opAnswer
	opFail
	opFailUntyped
	opFailUnseen
	opFailLocal
	opVanish
	opImpatient
	opLeave
	opLeft
	opLeaveNeutral
	opDrawn
	opBuilt
	opNotBuilt
	opRecreate
	opAbandon
	opEnds
	opPrepare
	opSpoils
	opClose
	opChange
	opTick
	opTime
	opJump
	opMoment
)

// moves are all that can happen.
func (w *world) moves() []move {
	var ms []move
	add := func(o op, i, a int) { ms = append(ms, move{o, i, a}) }
	for i, t := range w.setting.calls {
		if w.lives[i] > 0 && !slices.ContainsFunc(w.calls, func(x *traveler) bool { return x.kind == i && x.at != over }) {
			add(opBegin, i, 0)
			_ = t
		}
	}
	for i := range w.calls {
		w.movesOf(i, add)
	}
	w.movesOfTheWorld(add)
	return ms
}

func (w *world) movesOf(i int, add func(op, int, int)) {
	x := w.calls[i]
	left := x.q.Deadline.IsZero() || w.now.Before(x.q.Deadline)
	switch {
	case x.at == asking:
		add(opAsk, i, 0)
	case x.at == resting && !x.until.IsZero() && !w.now.Before(x.until):
		add(opWaited, i, 0)
	}
	for k, f := range w.flights {
		if f.x == x && !f.told {
			w.fates(i, k, f, add)
		}
	}
	if x.leaving {
		add(opLeft, i, 0)
	}
	if w.fetching(x) {
		return // its caller fetches the body
	}
	if x.at != over && (w.leaves > 0 || !left) {
		add(opLeave, i, 0)
		if main, copied := w.beside(x); main != nil && copied != nil {
			add(opLeave, i, 1)
		}
		if w.neutral && left {
			add(opLeaveNeutral, i, 0)
		}
		if w.stays && left && w.waitsLong(x) {
			add(opLeaveNeutral, i, 1)
		}
	}
}

// fetching reports whether the body of x is being fetched.
func (w *world) fetching(x *traveler) bool {
	return slices.ContainsFunc(w.flights, func(f *flight) bool { return f.x == x && f.held })
}

// waitsLong reports whether a caller that leaves of itself now has waited for long, in
// service and for nothing else. Where patience was learned the world does not reckon how
// long that is.
func (w *world) waitsLong(x *traveler) bool {
	main, copied := w.beside(x)
	if main == nil {
		main = w.hiddenOf(x)
	}
	return x.at == going && main != nil && !main.queued && copied == nil && w.roleOf(main) == serving && !w.taught() && w.now.Sub(main.start) >= leaving
}

// taught reports whether patience may have been learned.
func (w *world) taught() bool { return w.acc.taught || 2*w.longest > w.Patience }

// fates are how an attempt can go on.
func (w *world) fates(i, k int, f *flight, add func(op, int, int)) {
	if w.vanishings > 0 && !f.queued && !f.x.leaving {
		add(opVanish, i, k)
	}
	switch {
	case f.held:
		add(opFetched, i, k)
		return
	case f.queued:
		return
	}
	m, role, age := w.modeOf(f), w.roleOf(f), w.now.Sub(f.start)
	if role != serving && !f.sent && m != refuses && m != hangs && m != timesOut && (w.connects || m == mute || m == slow) {
		add(opConnect, i, k)
		return
	}
	if w.connects && role == serving && f.looks && f.under != 0 && m != refuses && m != hangs && m != timesOut {
		add(opConnect, i, k)
	}
	switch {
	case m == works, m == slow && age >= slowly:
		add(opAnswer, i, k)
	case m == refuses, m == breaks, m == timesOut && age >= slowly:
		add(opFail, i, k)
		if f.hidden && w.untyped {
			add(opFailUntyped, i, k)
		}
	}
	if f.hidden && w.untyped && m != works && age >= slowly && f.x.at != over {
		add(opFailUnseen, i, k)
	}
	if w.locals > 0 && age == 0 && !f.sent && !f.answered && !f.x.leaving {
		add(opFailLocal, i, k)
	}
	if m != works && !f.silentAt.IsZero() && role != asCandidate && !w.now.Before(f.silentAt) && f.x.at != over {
		add(opImpatient, i, k)
	}
}

func (w *world) movesOfTheWorld(add func(op, int, int)) {
	for i, f := range w.factories {
		if !f.canceled || w.abandon {
			if w.modes[asCandidate] != [2]mode{hangs, hangs} {
				add(opBuilt, i, 0)
			}
		}
		if w.draws && !f.drawn {
			add(opDrawn, i, 1)
		}
		if !w.noFail || f.canceled || !w.now.Before(f.start.Add(w.RecreateTimeout)) {
			add(opNotBuilt, i, 0)
		}
	}
	if w.hands > 0 && (w.order == nil || w.told) {
		add(opRecreate, 0, 0)
	}
	if w.abandon && w.order != nil && !w.told {
		add(opAbandon, 0, 0)
	}
	if w.ends > 0 && !w.sick[0] {
		add(opEnds, 0, 0)
	}
	if w.ends < w.nEnds && w.acc.ended && len(w.factories) == 0 {
		add(opPrepare, 0, 0)
	}
	if w.spoils > 0 && w.built != 0 && !w.sick[1] {
		add(opSpoils, 0, 0)
		add(opSpoils, 0, 1)
	}
	if w.closes && !w.closed {
		add(opClose, 0, 0)
	}
	if w.changes > 0 {
		for i, o := range w.setting.changes {
			if w.modes[o.role][o.host] != o.to {
				add(opChange, i, 0)
			}
		}
	}
	if w.due() {
		add(opTick, 0, 0)
		if !w.lateTimer {
			return
		}
	}
	if w.forced() {
		return
	}
	add(opTime, 0, 0)
	if w.moments {
		for i := range momentsOf {
			if w.now.Add(momentsOf[i]).Before(w.next()) {
				add(opMoment, i, 0)
			}
		}
	}
	if w.jumps > 0 {
		add(opJump, 0, 0)
		add(opJump, 0, 1)
	}
}

func (w *world) due() bool {
	d := w.c.Deadline()
	return !d.IsZero() && !d.After(w.now)
}

// forced reports whether something must happen before time passes.
func (w *world) forced() bool {
	for _, x := range w.calls {
		if x.leaving || x.at != over && !x.q.Deadline.IsZero() && !w.now.Before(x.q.Deadline) {
			return true
		}
	}
	return slices.ContainsFunc(w.factories, func(f *factory) bool { return !w.now.Before(f.start.Add(w.RecreateTimeout)) })
}

// next is when something can happen that cannot now.
func (w *world) next() time.Time {
	var at time.Time
	see := func(t time.Time) {
		if t.After(w.now) {
			at = first(at, t)
		}
	}
	see(w.c.Deadline())
	if w.built != 0 && w.builtPlan {
		see(w.builtAt.Add(w.RecreateTimeout / 2)) // no timer is set for this: the next call sees that it has passed
	}
	if !w.closed {
		see(w.acc.notBefore)
	}
	for _, x := range w.calls {
		if x.at == resting {
			see(x.until)
		}
		if x.at != over {
			see(x.q.Deadline)
		}
	}
	for _, f := range w.flights {
		m := w.modeOf(f)
		if m != works && f.x.at != over {
			see(f.silentAt)
		}
		if m == slow || m == timesOut || f.hidden && w.untyped && m != works {
			see(f.start.Add(slowly))
		}
	}
	for _, f := range w.factories {
		see(f.start.Add(w.RecreateTimeout))
		see(f.start.Add(w.takes))
		see(f.start.Add(headStart)) // who may not see the end of the build asks the transport in service
	}
	if at.IsZero() {
		at = w.now.Add(time.Second)
	}
	return at
}

// limit is the latest that time may jump to.
func (w *world) limit(to time.Time) time.Time {
	for _, x := range w.calls {
		if x.at != over && !x.q.Deadline.IsZero() {
			to = first(to, x.q.Deadline)
		}
	}
	for _, f := range w.factories {
		to = first(to, f.start.Add(w.RecreateTimeout))
	}
	return to
}

// momentsOf are what passes on a walk beside what the timers ask for: more than the 100 ms for which a
// control stays silent, less than a head start, and more than that.
var momentsOf = []time.Duration{130 * time.Millisecond, 700 * time.Millisecond, 1030 * time.Millisecond}
