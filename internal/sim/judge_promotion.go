package sim

import (
	"slices"
	"time"
)

// This file judges the grounds of each promotion.

// judgePromotion: a transport is replaced if it has ended, if the candidate has answered what the
// transport did not, or by plan.
func (w *world) judgePromotion(r *run) {
	old := w.inService(r.end)
	if old.link.ended && old.link.endedAt <= r.end {
		return // anything that is fit is better
	}
	if au := auOf(r.to); r.planned() && (au < 0 || !w.trippedAt(au, r.end) || w.triedByPlan(r, au)) {
		w.judgePlanned(r, old)
		return
	}
	au := auOf(r.to)
	w.must(au >= 0, "recreation %d is promoted for nobody", r.number)
	for _, t := range r.link.tries {
		if t.trial && t.order.au == au && t.answered > 0 && t.answered <= r.end && (w.proves(r, old, t) || r.believes(old, t)) {
			return
		}
	}
	w.must(false, "%v is promoted for %s at %v without an answer that the transport in service did not give", r.link, r.to, r.end)
}

// triedByPlan reports whether the candidate has answered a trial that began while the
// authority was not tripped. Such a trial is by plan, even if the authority trips before its answer.
func (w *world) triedByPlan(r *run, au int) bool {
	return slices.ContainsFunc(r.link.tries, func(t *try) bool {
		return t.trial && t.order.au == au && t.answered > 0 && t.answered <= r.end && !w.trippedAt(au, t.arrived)
	})
}

// proves reports whether the trial's answer proves the candidate: its control, on the transport in
// service, failed or was silent.
func (w *world) proves(r *run, old service, trial *try) bool {
	for _, c := range old.link.tries {
		switch {
		case c.order.au != trial.order.au:
		case c.order == trial.order && r.provedBeside(c, trial):
			return true
		case !trial.order.copyable() && c.order.method == trial.order.method:
			if w.provedByLike(r, c, trial) {
				return true
			}
		}
	}
	return false
}

// believes reports whether the trial's answer has waited for its control for four minutes, and the
// transport in service has answered nobody who came after the answer.
func (r *run) believes(old service, trial *try) bool {
	return r.end >= trial.answered+4*time.Minute && !slices.ContainsFunc(old.link.tries, func(t *try) bool {
		return t.arrived > trial.answered && t.answered > 0 && t.answered <= r.end
	})
}

// provedBeside reports whether c, the same request, failed before the trial or beside
// it, or was silent for long enough.
func (r *run) provedBeside(c, trial *try) bool {
	if c.arrived >= r.link.made && c.failed() && c.returned <= r.end && c.fault != noFault { // it began after the candidate was ready
		return true
	}
	took := trial.answered - trial.arrived
	if c.arrived >= trial.answered { // the control that began after the answer
		return (c.answered == 0 || c.answered > r.end) && r.end >= c.arrived+max(took+answerGap, headStart)
	}
	silent := c.arrived < trial.answered && (!c.over || c.returned >= trial.answered) && c.answered == 0 || c.answered > r.end
	return silent && r.end >= c.arrived+2*took && r.end >= trial.answered+answerGap
}

// provedByLike reports whether c, a request of the same method, failed or was silent in service. A
// request that can be sent only once has no control of its own, but may itself have failed there since a
// candidate answered the authority.
func (w *world) provedByLike(r *run, c, trial *try) bool {
	since := w.controlsFrom(trial)
	if c.failed() && c.arrived >= since && c.returned <= r.end {
		return true
	}
	passed := c.arrived + max(2*(trial.answered-trial.arrived), headStart)
	return c.arrived >= since && passed <= r.end && c.silentAt(passed, headStart)
}

// controlsFrom returns from when on a failure in service may be the trial's control. That is the
// first answer that a candidate gave the authority in this outage, which tells that the upstream
// was up; or, if none came before the trial, the beginning of that.
func (w *world) controlsFrom(trial *try) time.Duration {
	from, tripped := trial.arrived, w.trippedLast(trial.order.au, trial.arrived)
	for _, l := range w.links {
		for _, t := range l.tries {
			if t.trial && t.order.au == trial.order.au && t.answered > tripped {
				from = min(from, t.answered)
			}
		}
	}
	return from
}

// trippedLast is when the authority tripped last before that time.
func (w *world) trippedLast(au int, before time.Duration) (at time.Duration) {
	for _, o := range w.outages {
		if o.au == au && o.tripped && o.at.at <= before {
			at = max(at, o.at.at)
		}
	}
	return at
}

// judgePlanned: a transport that works is replaced by plan if an answer proves the candidate, if
// nothing is in flight, or if nobody proved the candidate in time and nobody tried it in vain.
func (w *world) judgePlanned(r *run, old service) {
	for _, t := range r.link.tries {
		if t.trial && t.answered > 0 && t.answered <= r.end {
			return
		}
	}
	if r.end-r.link.made >= w.plan.recreate {
		for _, t := range r.link.tries {
			if w.plan.moody {
				continue // a classifier that ended its goroutine has not judged what failed
			}
			w.must(!w.inVain(t, old, r.end), "%v is promoted, and r%d has tried it in vain", r.link, t.order.id)
		}
		return
	}
	w.must(r.end == r.link.made && w.idle(old.link, r.end), "%v is promoted by plan at %v without an answer", r.link, r.end)
}

// inVain reports whether the try failed on the candidate while the transport in service answered
// the same order and never failed its authority.
func (w *world) inVain(t *try, old service, at time.Duration) bool {
	if !t.trial || !t.over || t.fault != against || t.returned >= at {
		return false
	}
	for _, c := range old.link.tries {
		if c.order.au == t.order.au && c.failed() {
			return false
		}
	}
	for _, c := range t.order.tries {
		if c.link == old.link && c.answered > 0 && c.answered < at {
			return true
		}
	}
	return false
}

// idle reports whether nothing was in flight on the link then, as far as its tries
// tell.
func (w *world) idle(l *link, at time.Duration) bool {
	for _, t := range l.tries {
		if t.arrived < at && (!t.over || t.returned > at) {
			return false
		}
	}
	return true
}
