package core

import (
	"slices"
	"time"
)

// A sequel is what must become of a world when nothing is left to chance.
type sequel struct {
	name    string
	modes   [2][2]mode    // in service, candidates
	second  bool          // the first candidate is silent, and the others are as modes has it
	quiet   bool          // everybody leaves
	kind    Kind          // of the probes
	patient bool          // their callers never leave
	probes  []template    // where they differ in more than their hosts
	takes   time.Duration // a build does
	before  func(w *world) bool
	soon    bool // it is over when it is as wanted
	length  time.Duration
	want    func(w *world, from *tally) string
}

// A tally is how things stood before.
type tally struct{ gens int }

var sequels = []sequel{
	{name: "all is well", kind: Copyable, want: calmed, length: 25 * time.Second},
	{name: "all is well, POSTs", kind: Once, want: calmed, length: 25 * time.Second},
	{name: "dead (refused) for a, b is down", kind: Copyable, modes: dead(refuses), want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead (broken) for a, b is down", kind: Copyable, modes: dead(breaks), want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead (silent) for a, b is down", kind: Copyable, modes: dead(mute), want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead (slow dials) for a, b is down", kind: Copyable, modes: dead(timesOut), want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead (refused) for a, b is down, POSTs", kind: Once, modes: dead(refuses), want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead (broken) for a, b is down, POSTs", kind: Once, modes: dead(breaks), want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead (silent) for a, b is down, POSTs", kind: Once, modes: dead(mute), want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead (broken) for a, b is down, PUTs", kind: Repeatable, modes: dead(breaks), want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead (silent) for a, b is down, PUTs", kind: Repeatable, modes: dead(mute), want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead (hangs) for a, b is down, PUTs", kind: Repeatable, modes: dead(hangs), want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead and b silent", kind: Copyable, modes: [2][2]mode{{mute, mute}, {works, mute}}, before: unlimited, want: replaced, soon: true, length: 40 * time.Second},
	{name: "every candidate is a black hole, all is dark", kind: Copyable, modes: [2][2]mode{{mute, refuses}, {mute, mute}}, before: unproven, length: 20 * time.Second},
	{name: "every candidate is a black hole, POSTs", kind: Once, modes: [2][2]mode{{mute, refuses}, {mute, mute}}, before: unproven, length: 20 * time.Second},
	{name: "every candidate is a black hole, the one in service is well", kind: Repeatable, modes: [2][2]mode{{works, works}, {mute, mute}}, before: unproven, want: unmoved, length: 20 * time.Second},
	{name: "the first candidate is a black hole, the second is well", kind: Copyable, modes: dead(mute), second: true, patient: true, want: replaced, soon: true, length: 40 * time.Second},
	{name: "the first candidate is a black hole, the second is well, POSTs", kind: Once, modes: dead(mute), second: true, patient: true, want: replaced, soon: true, length: 40 * time.Second},
	{name: "the first candidate is a black hole, the second is well, PUTs", kind: Repeatable, modes: dead(mute), second: true, patient: true, want: replaced, soon: true, length: 40 * time.Second},
	{name: "the first candidate is a black hole, the second is well, refused", kind: Copyable, modes: dead(refuses), second: true, patient: true, want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead (refused) for a, b is down, and builds take long", probes: hasty, takes: 3 * time.Second, modes: dead(refuses), want: replaced, soon: true, length: 40 * time.Second},
	{name: "dead (silent) for a, b is down, and builds take long", probes: hasty, takes: 3 * time.Second, modes: dead(mute), want: replaced, soon: true, length: 40 * time.Second},
	{name: "all is well again while a build goes on", probes: hasty[:2], takes: time.Hour, before: building, want: noticed, length: 3 * time.Second},
	{name: "everybody leaves", quiet: true, want: empty},
}

// hasty are callers of whom some leave before a build has ended that takes long.
var hasty = []template{post.within(2 * time.Second), posB.within(2 * time.Second), put.within(3500 * time.Millisecond), get}

// building: a build for need has just begun, and who cannot outwait it asks what is in service.
func building(w *world) bool {
	return !w.Fallback && !w.acc.ended && !w.sick[0] && slices.ContainsFunc(w.factories, func(f *factory) bool {
		return !f.canceled && !f.planned && w.now.Sub(f.start) <= headStart
	})
}

// noticed: that all is well has been seen.
func noticed(w *world, _ *tally) string {
	if w.acc.hosts[0].tripped || w.acc.hosts[1].tripped {
		return "nobody sees that all is well"
	}
	return ""
}

// dead: nothing gets through to a on what is in service, and b is down.
func dead(m mode) [2][2]mode { return [2][2]mode{{m, refuses}, {works, refuses}} }

func (s *sequel) holds(w *world) bool {
	return !w.closed && (s.before == nil || s.before(w))
}

// unlimited: a pool has all the places that it takes. Where the pools of both hosts are full, each drops
// the other's candidate while the control of an answer waits for its place.
func unlimited(w *world) bool { return w.places == 0 }

// unproven: no candidate has answered yet, nor ended what is in service.
func unproven(w *world) bool { return len(w.acc.served) == 0 && !w.sick[0] }

func calmed(w *world, _ *tally) string {
	switch {
	case w.acc.hosts[0].outage || w.acc.hosts[1].outage || len(w.c.Suspects()) > 0:
		return "something is still suspected"
	case w.built != 0 && !w.builtPlan, slices.ContainsFunc(w.factories, func(f *factory) bool { return !f.canceled && !f.planned }):
		return "a candidate is still there"
	}
	return ""
}

// unmoved: what is well, and was not replaced, is suspected no more.
func unmoved(w *world, from *tally) string {
	if w.gens > from.gens {
		return "" // by plan: the black hole is in service
	}
	return calmed(w, from)
}

func replaced(w *world, from *tally) string {
	if w.gens == from.gens {
		return "the dead transport is still in service"
	}
	return ""
}

// empty: nothing is under way, nothing is ahead, and Close finds nothing to do.
func empty(w *world, _ *tally) string {
	flights := slices.ContainsFunc(w.flights, func(f *flight) bool { return w.roleOf(f) == serving })
	suspects, ahead := len(w.c.Suspects()), w.c.Deadline()
	w.c.Close(w.now)
	t := w.c.Todo()
	closes := len(t.Wake) + len(t.Recall) + len(t.Retire) + len(t.Done)
	if w.built != 0 || len(w.factories) > 0 || len(w.calls) > 0 || flights || suspects > 0 || !ahead.IsZero() || closes > 0 || t.Cancel != 0 {
		w.say("candidate %d, factories %d, calls %d, suspects %d, the timer is set for %v, and Close does %+v",
			w.built, len(w.factories), len(w.calls), suspects, ahead, t)
		return "something is left"
	}
	return ""
}

const probeEvery = time.Second

// follow lets the world go on, and then asserts what the sequel wants.
func (w *world) follow(s *sequel) {
	w.say("-- afterwards: %s", s.name)
	from := tally{w.gens}
	set := *w.setting
	w.setting = &set
	w.modes = [3][2]mode{s.modes[0], s.modes[1], s.modes[0]}
	w.changes, w.leaves, w.jumps, w.locals, w.hands, w.ends, w.spoils, w.vanishings = 0, 0, 0, 0, 0, 0, 0, 0
	set.nEnds, set.after = 0, true
	set.connects, set.patient, set.lateTimer, set.age, set.noFail, set.fetches = false, true, false, false, true, false
	for _, f := range slices.Clone(w.flights) {
		if f.held && w.flightOf(f.a) == f {
			w.steps(move{op: opTime})
			w.fetched(f)
			w.perform()
		}
	}
	probes := s.probes
	if probes == nil {
		probes = []template{{kind: s.kind}, {host: 1, kind: s.kind}}
	}
	set.calls, set.takes = append(slices.Clone(set.calls), probes...), s.takes
	end, every := w.now.Add(s.length), probeEvery
	switch {
	case s.quiet:
		w.everybodyLeaves()
		end = w.now.Add(30 * time.Minute)
	case s.second:
		w.modes[asCandidate] = [2]mode{mute, mute}
		end, every = w.now.Add(80*time.Second), 3*time.Second
		if w.protected() {
			return // a trial may take as long as answers did
		}
	}
	if s.soon && (w.now.Sub(w.acc.promoted) < time.Minute || w.acc.hosts[0].useless) {
		end = end.Add(4 * s.length) // a swap did not help: more answers are asked for
	}
	if w.Fallback && !s.soon && !s.quiet {
		end = end.Add(40 * time.Second) // of what is asked once, one in four intervals asks the transport in service
	}
	if s.soon && w.places > 0 {
		if w.protected() {
			return // a wait for a place may take as long as answers did
		}
		end = end.Add(2 * s.length) // who waits for a place leaves before it has had a chance
	}
	w.lives = append(slices.Clone(w.lives), make([]int, len(probes))...)
	first := w.candidate()
	for at, n := w.now, 0; w.now.Before(end); n++ {
		if w.must(n <= 5000, "it never comes to rest"); n > 10000 || w.bad != "" {
			return
		}
		if c := w.candidate(); s.second && c != 0 {
			if first == 0 {
				first = c
			} else if c != first {
				w.modes[asCandidate] = s.modes[1]
			}
		}
		if w.go1(s) {
			continue
		}
		if !s.quiet && !w.now.Before(at) {
			at = w.now.Add(every)
			for i := len(set.calls) - len(probes); i < len(set.calls); i++ {
				w.steps(move{op: opTime})
				w.lives[i]++
				w.say("%s begins", set.calls[i])
				w.begin(i)
				w.perform()
			}
			continue
		}
		to := w.next()
		if !s.quiet && at.Before(to) {
			to = at
		}
		for _, x := range w.calls {
			if l := x.start.Add(leaveAfter); x.at != over && !s.patient && l.After(w.now) && l.Before(to) {
				to = l
			}
		}
		w.steps(move{op: opTime})
		w.pass(to)
		w.perform()
		if s.soon && s.want(w, &from) == "" || s.quiet && w.idle() {
			break
		}
	}
	if s.want == nil {
		return
	}
	if what := s.want(w, &from); what != "" {
		w.breaks(s.name+": "+what, what)
	}
}

// protected reports whether a trial may hold back others for longer than a sequel.
func (w *world) protected() bool {
	most := w.now.Add(8 * time.Second)
	for _, h := range hosts {
		if w.now.Add(w.c.Patience(w.now, w.now, h)).After(most) {
			return true
		}
	}
	return w.built != 0 && slices.ContainsFunc(w.flights, func(f *flight) bool {
		return f.on == w.built && f.start.Add(w.RecreateTimeout).After(most)
	})
}

// idle: nothing is ahead.
func (w *world) idle() bool {
	return len(w.calls) == 0 && len(w.flights) == 0 && len(w.factories) == 0 && w.built == 0 && w.c.Deadline().IsZero()
}

// leaveAfter is no multiple of a head start: nobody leaves in the instant in which it is copied.
const leaveAfter = 6500 * time.Millisecond

// candidate is the one that is built or being built.
func (w *world) candidate() uint64 {
	if w.built != 0 {
		return w.built
	}
	for _, f := range w.factories {
		if !f.canceled {
			return f.id
		}
	}
	return 0
}

func (w *world) everybodyLeaves() {
	for _, x := range slices.Clone(w.calls) {
		if x.at != over && w.bad == "" {
			w.say("%s leaves", w.label(x))
			w.steps(move{op: opTime})
			w.leave(x, Neutral)
			w.perform()
		}
	}
	if w.order != nil && !w.told {
		o := w.order
		w.order = nil
		w.c.Abandon(w.now, o)
		w.perform()
	}
}

// go1 makes the first move that there is, and reports whether there was one.
func (w *world) go1(s *sequel) bool {
	var m move
	found := false
	take := func(o op, i, a int) {
		if !found && o != opDrawn && o != opLeave && o != opLeaveNeutral && o != opFailLocal && o != opFailUntyped && o != opFailUnseen {
			m, found = move{o, i, a}, true
		}
	}
	for i, f := range w.factories {
		switch {
		case f.canceled, !w.now.Before(f.start.Add(w.RecreateTimeout)):
			take(opNotBuilt, i, 0)
		case !w.now.Before(f.start.Add(s.takes)):
			take(opBuilt, i, 0)
		}
	}
	if w.due() {
		take(opTick, 0, 0)
	}
	for i, x := range w.calls {
		if x.at != over && !s.patient && !w.now.Before(x.start.Add(leaveAfter)) || x.at != over && !x.q.Deadline.IsZero() && !w.now.Before(x.q.Deadline) {
			if !found {
				m, found = move{opLeave, i, 0}, true
			}
		}
		w.movesOf(i, take)
	}
	if found {
		w.do(m)
	}
	return found
}
