package core

import (
	"fmt"
	"time"
)

// nameOf tells a move in a story.
func (w *world) nameOf(m move) string {
	call := func() string { return w.label(w.calls[m.i]).String() }
	at := func() string { return " " + roleNames[w.roleOf(w.flights[m.a])] }
	switch m.op {
	case opBegin:
		return w.setting.calls[m.i].String() + " begins"
	case opAsk:
		return call() + " asks"
	case opWaited:
		return call() + " has waited"
	case opFetched:
		return call() + " has its body" + at()
	case opConnect:
		return call() + " connects" + at()
	case opAnswer:
		return call() + " is answered" + at()
	case opFail:
		return call() + [...]string{"", " is refused", " breaks", "", "", "", " times out"}[w.modeOf(w.flights[m.a])] + at()
	case opFailUntyped:
		return call() + " fails unwatched" + at()
	case opFailUnseen:
		return call() + " times out, and nobody saw where," + at()
	case opFailLocal:
		return call() + " fails locally" + at()
	case opVanish:
		return call() + map[bool]string{false: " does not return", true: " has no body"}[w.flights[m.a].held] + at()
	case opImpatient:
		return call() + " is a stall" + at()
	case opLeave:
		return call() + [...]string{" leaves", " leaves, its copy first"}[m.a]
	case opLeft:
		return call() + " has left"
	case opLeaveNeutral:
		return call() + [...]string{" leaves soon", " leaves after a while"}[m.a]
	case opDrawn:
		return "drawn long"
	case opBuilt:
		return "built"
	case opNotBuilt:
		return "not built"
	case opRecreate:
		return "Recreate"
	case opAbandon:
		return "Recreate is abandoned"
	case opEnds:
		return "the transport ends"
	case opPrepare:
		return "Prepare"
	case opSpoils:
		return [...]string{"the candidate ends", "the candidate ends, unseen"}[m.a]
	case opClose:
		return "Close"
	case opChange:
		o := w.setting.changes[m.i]
		return fmt.Sprintf("%s for %c: %s", roleNames[o.role], 'a'+rune(o.host), modeNames[o.to])
	case opTick:
		return "tick"
	case opTime:
		return "time"
	case opMoment:
		return "a moment of " + momentsOf[m.i].String()
	case opJump:
		return [...]string{"time jumps 7 s", "time jumps 61 s"}[m.a]
	}
	return "?"
}

// steps begins a step, in which m is made.
func (w *world) steps(m move) {
	w.step++
	w.last = m
	w.acc.before(w)
	w.plantState()
}

// do makes a move, and what follows from it.
func (w *world) do(m move) {
	if w.tell != nil {
		w.say("%s", w.nameOf(m))
	}
	w.steps(m)
	switch m.op {
	case opBegin:
		w.begin(m.i)
	case opAsk, opWaited:
		w.ask(w.calls[m.i])
	case opFetched:
		w.fetched(w.flights[m.a])
	case opConnect:
		w.connect(w.flights[m.a])
	case opAnswer:
		w.answer(w.flights[m.a])
	case opFail:
		w.fail(w.flights[m.a], Outcome{Verdict: Failure})
	case opFailUntyped:
		w.fail(w.flights[m.a], Outcome{Verdict: Failure, Untyped: true})
	case opFailUnseen:
		w.fail(w.flights[m.a], Outcome{Verdict: Stall, Unseen: true})
	case opFailLocal:
		w.locals--
		w.fail(w.flights[m.a], Outcome{Verdict: Neutral})
	case opVanish:
		w.vanish(w.flights[m.a])
	case opImpatient:
		w.impatient(w.flights[m.a])
	case opLeave:
		if m.a == 1 {
			w.leaveByCopy(w.calls[m.i])
		} else {
			w.leave(w.calls[m.i], Stall)
		}
	case opLeft:
		w.hasLeft(w.calls[m.i])
	case opLeaveNeutral:
		if m.a == 1 {
			w.leaveLate(w.calls[m.i])
		} else {
			w.leave(w.calls[m.i], Neutral)
		}
	case opDrawn:
		w.drawn(w.factories[m.i])
	case opBuilt, opNotBuilt:
		w.finish(m.i, m.op == opBuilt)
	case opRecreate:
		w.hands--
		w.order, w.told = &Order{}, false
		w.c.Recreate(w.now, w.order)
	case opAbandon:
		o := w.order
		w.order = nil
		w.c.Abandon(w.now, o)
	case opPrepare:
		w.c.Prepare(w.now)
	case opEnds:
		w.ends--
		w.sick[0] = true
	case opSpoils:
		w.spoils--
		w.sick[1] = true
		if m.a == 0 {
			w.c.Spoiled(w.now, w.built)
		}
	case opClose:
		w.closed = true
		w.c.Close(w.now)
		w.isShut()
	case opChange:
		w.changes--
		o := w.setting.changes[m.i]
		w.modes[o.role][o.host] = o.to
	case opTick:
		w.tick()
	case opTime:
		w.pass(w.next())
	case opMoment:
		w.pass(w.limit(w.now.Add(momentsOf[m.i])))
	case opJump:
		w.jumps--
		w.pass(w.limit(w.now.Add([...]time.Duration{7 * time.Second, 61 * time.Second}[m.a])))
	}
	w.perform()
}
