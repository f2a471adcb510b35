package sim

import (
	"slices"
	"time"
)

// The judges look at everything that happened, at the end, and hold it to docs/rules.md. The
// simulation sees everything that the client sees, and more, so a decision for which a judge finds
// no ground is wrong. All functions here run with w.mu held.

// judge is called when all is over.
func (w *world) judge() {
	w.judgeRecreations()
	for _, o := range w.orderList() {
		w.judgePatient(o)
	}
	if w.plan.kind.real() {
		return // the simulation does not see what these transports' attempts came to
	}
	for _, r := range w.runs {
		if r.promoted {
			w.judgePromotion(r)
		}
	}
	for _, o := range w.outages {
		if o.tripped {
			w.judgeTrip(o)
		}
	}
	w.judgeTrials()
	w.judgePace()
	w.judgeFallback()
	for _, o := range w.orderList() {
		w.judgeOrder(o)
	}
}

// judgeRecreations: there is one candidate at a time.
func (w *world) judgeRecreations() {
	for i, r := range w.runs {
		for _, other := range w.runs[:i] {
			w.must(other.end <= r.start, "recreation %d begins at %v, %d ends at %v", r.number, r.start, other.number, other.end)
		}
	}
}

// inService returns the transport that was in service at that time, and since when. At the instant
// of a promotion that is still the replaced one.
func (w *world) inService(at time.Duration) service {
	serving := w.services[0]
	for _, s := range w.services {
		if s.at < at {
			serving = s
		}
	}
	return serving
}

// trippedAt reports whether the client had said that the authority is tripped.
func (w *world) trippedAt(au int, at time.Duration) bool {
	tripped, since := false, time.Duration(0)
	for _, o := range w.outages {
		if o.au == au && o.at.at <= at && !(o.at.at == at && !o.tripped) {
			tripped, since = o.tripped, o.at.at
		}
	}
	return tripped && w.remembered(au, since, at)
}

// outageFor is how long the client remembers an outage that nobody asks about. It logs
// nothing when it forgets one.
const outageFor = 10 * time.Minute

// remembered reports whether an outage that began at the first time is not forgotten at the second:
// nowhere between them was au left alone for too long.
func (w *world) remembered(au int, since, at time.Duration) bool {
	last := since
	for at >= last+outageFor {
		next := last
		for _, o := range w.orders {
			if o.au == au && o.began < last+outageFor {
				next = max(next, w.lastAsked(o, at))
			}
		}
		if next == last {
			return false
		}
		last = next
	}
	return true
}

// lastAsked is when o last asked a transport before that time. Who waits for an answer asks again
// with each patience, if there is one; who reads an answer, or waits for a fresh transport, does not.
func (w *world) lastAsked(o *order, before time.Duration) time.Duration {
	last := o.began
	for _, t := range o.tries {
		switch {
		case t.arrived > before:
		case w.plan.patience == 0:
			last = max(last, t.arrived)
		case t.over:
			last = max(last, min(t.returned, before))
		default:
			return before
		}
	}
	return last
}

// hadEnded reports whether a transport that was in service between the two times had ended. If so,
// there was nothing to send a request on.
func (w *world) hadEnded(from, to time.Duration) bool {
	return slices.ContainsFunc(w.services, func(s service) bool {
		l := s.link
		return l.ended && l.endedAt <= to && (!l.retired || l.off >= from)
	})
}

// judgeFallback: a request goes to the fallback only if its authority is tripped, or if the
// transport in service has ended.
func (w *world) judgeFallback() {
	if w.spare == nil {
		return
	}
	for _, t := range w.spare.tries {
		w.must(w.trippedAt(t.order.au, t.decided()) || t.service.link.ended,
			"r%d goes to the fallback at %v, and %s is not tripped", t.order.id, t.arrived, hostOf(t.order.au))
	}
}

// judgeOrder: a request that can be sent again does not give up with attempts left after its
// transport was replaced, nor before the wait of WithWaitForReady is over.
func (w *world) judgeOrder(o *order) {
	if !w.plan.moody {
		w.judgeEnded(o)
	}
	if o.err == nil || o.spoiled || len(o.tries) == 0 || o.ended >= o.leaves || w.shutting && o.ended >= w.closedAt || !o.repeatable() || w.spare != nil || w.plan.moody {
		return
	}
	last := o.tries[len(o.tries)-1]
	if last.fault == vague && !last.trial && w.plan.kind.traces() && w.plan.threshold > 1 { // else that was its only attempt, if it was watched
		w.must(o.attempts() > 1 || w.trippedAt(o.au, o.ended) || w.hadEnded(last.returned, o.ended), "r%d gives up after a timeout of a dialer's", o.id)
	}
	if last.fault != against || last.trial || last.recalled {
		return
	}
	w.must(!last.link.retired || last.link.off >= o.ended || last.link.off >= last.returned || o.attempts() >= min(w.plan.threshold, 3) || w.hadEnded(last.returned, o.ended),
		"r%d gives up on %v, which was replaced at %v", o.id, last.link, last.link.off)
	if w.plan.wait > 0 && w.trippedSince(o.au, last.returned) && !last.link.retired {
		w.must(o.ended >= o.began+w.plan.wait, "r%d gives up after %v, and waits for ready for %v", o.id, o.ended-o.began, w.plan.wait)
	}
}

// trippedSince reports whether the authority was tripped at that time and stayed so to the end.
func (w *world) trippedSince(au int, at time.Duration) bool {
	for _, o := range w.outages {
		if o.au == au && o.at.at >= at {
			return false
		}
	}
	return w.trippedAt(au, at)
}

// judgeEnded: a request that begins after the transport in service has ended is sent on it at most
// once, or once in each round of WithWaitForReady.
func (w *world) judgeEnded(o *order) {
	n := 0
	for _, t := range o.tries {
		if t.link.kind == session && t.link.ended && t.link.endedAt < o.began && !t.trial {
			n++
		}
	}
	rounds := 1
	if w.plan.wait > 0 {
		rounds += int((o.ended - o.began).Seconds()) + 1
	}
	w.must(n <= rounds, "r%d is sent %d times on what had ended", o.id, n)
}
