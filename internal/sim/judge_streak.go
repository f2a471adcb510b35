package sim

import "time"

// This file judges what trips an authority, and what an authority may try a candidate for.

// failed reports whether the try speaks against its transport, as far as the client
// may count it: an error, a deadline, or a caller that has left after a wait.
func (t *try) failed() bool {
	return t.over && t.err != nil && (t.fault == against || t.fault == stalls || t.fault == vague || t.fault == neutral && t.gaveUp && t.returned-t.arrived >= leftAfter)
}

// These repeat limits of the client, so that the judges do not depend on its code.
const (
	leftAfter = time.Second            // a caller that leaves sooner was not stalled
	headStart = time.Second            // how long a request is silent, at most, before it is copied
	answerGap = 100 * time.Millisecond // how long a control stays silent after the copy's answer
)

// leastPatience returns the shortest wait that the client may count as a stall. The client
// draws its patience within a fifth of WithPatience.
func (w *world) leastPatience() time.Duration {
	if w.plan.patience == 0 {
		return 1 << 60 // nobody is ever silent
	}
	return w.plan.patience * 4 / 5
}

// silentAt reports whether, at that time, the try had waited for at least since without an answer.
func (t *try) silentAt(at, since time.Duration) bool {
	return t.arrived+since <= at && (!t.over || t.returned >= at) && (t.answered == 0 || t.answered >= at)
}

// judgeTrip: an authority trips by its threshold of failures, or of stalls, of the
// transport in service, since the last answer that ended its streak for sure.
func (w *world) judgeTrip(o outage) {
	if o.au < 0 {
		w.must(o.at.link.ended || o.at.link.kind != session, "%v is said to have ended, which it has not", o.at.link)
		return
	}
	failures, stalled := w.streak(o.at.link, o.au, o.at.at)
	w.must(failures >= w.plan.threshold || w.plan.stalls > 0 && stalled >= w.plan.stalls,
		"%s trips at %v on %v by %d failures and %d stalls", hostOf(o.au), o.at.at, o.at.link, failures, stalled)
}

// streak returns the most failures and stalls on the link that the client may have counted for an
// authority by that time.
func (w *world) streak(l *link, au int, at time.Duration) (failures, stalled int) {
	var cleared time.Duration
	for _, t := range l.tries { // cleared: when an answer last ended any streak for sure
		if t.order.au == au && t.answered > 0 && t.answered < at && t.answered >= cleared && t.arrived > w.lastFailed(l, au, t.answered) {
			cleared = t.answered
		}
	}
	for _, t := range l.tries {
		if t.order.au != au || t.trialUntil() > at {
			continue
		}
		if t.failed() && t.returned >= cleared && t.returned <= at {
			if t.fault == against || t.fault == vague {
				failures++
			}
			if t.fault != against {
				stalled++
			}
		}
		for wait := w.leastPatience(); t.silentAt(at, wait) || t.over && t.arrived+wait <= min(t.returned, at); wait += w.leastPatience() {
			if t.arrived+wait >= cleared {
				stalled++
			}
		}
	}
	return failures, stalled
}

// lastFailed returns when, before that time, the client may have noticed an authority's latest
// failure. An attempt that began later began after the streak did, so its answer ends the streak.
func (w *world) lastFailed(l *link, au int, at time.Duration) (failed time.Duration) {
	failed = -1
	for _, t := range l.tries {
		if t.order.au != au {
			continue
		}
		if t.failed() && t.returned <= at {
			failed = max(failed, t.returned)
		}
		for wait := w.leastPatience(); t.arrived+wait <= at && (!t.over || t.arrived+wait <= t.returned); wait += w.leastPatience() {
			failed = max(failed, t.arrived+2*wait) // the client notices it no later than this
		}
	}
	return failed
}

// trialUntil returns until when a try on a candidate was a trial, which is when the candidate was
// put in service. It returns 0 for a try that was none.
func (t *try) trialUntil() time.Duration {
	if !t.trial {
		return 0
	}
	if at := t.link.servedAt(); at >= 0 {
		return at
	}
	return 1 << 62
}

// judgeTrials: an authority that refused a candidate tries another one only after a failure of its
// own in service since then.
func (w *world) judgeTrials() {
	for _, l := range w.links {
		if l.run == nil || l.run.planned() {
			continue
		}
		for _, t := range l.tries {
			if !t.trial || t.fetched || t.order.done && t.order.ended < t.arrived {
				continue // or it was decided upon before its body was fetched
			}
			w.must(t.arrived >= l.made, "r%d tries %v before it is ready", t.order.id, l)
			if t.service.link.ended {
				continue
			}
			w.must(w.evidence(t), "r%d tries %v at %v, and nothing has failed in service since its authority's last refusal", t.order.id, l, t.arrived)
		}
	}
}

// evidence reports whether the trial's authority has failed in service since it last refused a
// candidate.
func (w *world) evidence(trial *try) bool {
	var since time.Duration
	for _, f := range w.refusals {
		if f.au == trial.order.au && f.at.at < trial.arrived {
			since = max(since, f.at.at)
		}
	}
	for _, t := range trial.service.link.tries {
		if t.order.au != trial.order.au || t.arrived > trial.arrived {
			continue
		}
		if t.failed() && t.returned >= since && t.returned <= trial.arrived {
			return true
		}
		// The first time since then at which its silence may have been noticed.
		if at := max(since, t.arrived+w.leastPatience()); at <= trial.arrived && t.silentAt(at, w.leastPatience()) {
			return true
		}
	}
	return false
}
