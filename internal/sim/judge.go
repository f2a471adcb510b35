package sim

import (
	"time"
)

// The judges look at all that happened, in the end, and hold it to the rules of the
// second edition. What the simulation sees is more than what the client sees, so
// each knows at least what the client may go by. All functions here run with w.mu
// held.

// judge is called when all is over.
func (w *world) judge() {
	w.judgeRecreations()
	if w.plan.kind.real() {
		return // what its attempts came to is not seen
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

// inService is the transport that was in service at that time, and since when. At the
// very time of a promotion it is the one before.
func (w *world) inService(at time.Duration) service {
	serving := w.services[0]
	for _, s := range w.services {
		if s.at < at {
			serving = s
		}
	}
	return serving
}

// failed reports whether the try speaks against its transport, as far as the client
// may count it: an error, a deadline, or a caller that has left after a wait.
func (t *try) failed() bool {
	return t.over && t.err != nil && (t.fault == against || t.fault == stalls || t.fault == neutral && t.gaveUp && t.returned-t.arrived >= leftAfter)
}

// patience is the least that WithPatience takes for silence, leftAfter the least wait
// of a caller that leaves.
const (
	leastPatience = 4 * time.Second
	leftAfter     = time.Second
	headStart     = time.Second
	answerGap     = 100 * time.Millisecond
)

// silentAt reports whether the try had waited for so long at that time, unanswered.
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

// streak is the most that may be counted for an authority at that time.
func (w *world) streak(l *link, au int, at time.Duration) (failures, stalled int) {
	var cleared time.Duration
	for _, t := range l.tries { // when an answer has ended whatever there was
		if t.order.au == au && t.answered > 0 && t.answered < at && t.answered >= cleared && t.arrived > w.lastFailed(l, au, t.answered) {
			cleared = t.answered
		}
	}
	for _, t := range l.tries {
		if t.order.au != au || t.trialUntil() > at {
			continue
		}
		if t.failed() && t.returned >= cleared && t.returned <= at {
			if t.fault == against {
				failures++
			} else {
				stalled++
			}
		}
		for wait := leastPatience; t.silentAt(at, wait) || t.over && t.arrived+wait <= min(t.returned, at); wait += leastPatience {
			if t.arrived+wait >= cleared {
				stalled++
			}
		}
	}
	return failures, stalled
}

// lastFailed is when the latest failure of an authority was told before that time. An
// attempt that began after it began after the streak did, if there is one.
func (w *world) lastFailed(l *link, au int, at time.Duration) (failed time.Duration) {
	failed = -1
	for _, t := range l.tries {
		if t.order.au != au {
			continue
		}
		if t.failed() && t.returned <= at {
			failed = max(failed, t.returned)
		}
		for wait := leastPatience; t.arrived+wait <= at && (!t.over || t.arrived+wait <= t.returned); wait += leastPatience {
			failed = max(failed, t.arrived+2*wait) // the latest that it may be told
		}
	}
	return failed
}

// trialUntil is when a try of a candidate was first one in service; 0 for others.
func (t *try) trialUntil() time.Duration {
	if !t.trial {
		return 0
	}
	if at := t.link.servedAt(); at >= 0 {
		return at
	}
	return 1 << 62
}

// judgePromotion: a transport is replaced if it has ended, or if what replaces it has
// answered what it did not, or as planned.
func (w *world) judgePromotion(r *run) {
	old := w.inService(r.end)
	if old.link.ended && old.link.endedAt <= r.end {
		return // anything that is fit is better
	}
	if au := auOf(r.to); r.planned() && (au < 0 || !w.trippedAt(au, r.end)) {
		w.judgePlanned(r, old)
		return
	}
	au := auOf(r.to)
	w.must(au >= 0, "recreation %d is promoted for nobody", r.number)
	for _, t := range r.link.tries {
		if t.trial && t.order.au == au && t.answered > 0 && t.answered <= r.end && w.proves(r, old, t) {
			return
		}
	}
	w.must(false, "%v is promoted for %s at %v without an answer that the transport in service did not give", r.link, r.to, r.end)
}

// proves reports whether the trial's answer had a control that failed, or was silent.
func (w *world) proves(r *run, old service, trial *try) bool {
	for _, c := range old.link.tries {
		if c.order.au != trial.order.au {
			continue
		}
		began := c.arrived >= r.link.made // after the candidate was ready
		if c.order == trial.order {
			switch {
			case began && c.failed() && c.returned <= r.end && c.fault != noFault:
				return true // before the trial, or beside it
			case c.arrived < trial.answered && (!c.over || c.returned >= trial.answered) && c.answered == 0 || c.answered > r.end:
				// Beside it, and silent for long enough.
				took := trial.answered - trial.arrived
				if r.end >= c.arrived+2*took && r.end >= trial.answered+answerGap {
					return true
				}
			}
			continue
		}
		if trial.order.copyable() || c.order.method != trial.order.method {
			continue
		}
		// What can be asked only once is proved by another like it.
		if c.failed() && c.returned >= w.lastProof(trial) && c.returned <= r.end {
			return true
		}
		if passed := c.arrived + headStart; passed >= trial.arrived && passed <= r.end && c.silentAt(passed, headStart) {
			return true
		}
	}
	return false
}

// lastProof is when the answer before the trial's came that another candidate gave to
// its like, or else when the trial came: where a proof takes several answers, every
// other control comes before its trial.
func (w *world) lastProof(trial *try) time.Duration {
	last := time.Duration(-1)
	for _, l := range w.links {
		for _, t := range l.tries {
			if l != trial.link && t.trial && t.order.au == trial.order.au && t.order.method == trial.order.method &&
				t.answered > 0 && t.answered < trial.arrived {
				last = max(last, t.answered)
			}
		}
	}
	if last < 0 {
		return trial.arrived
	}
	return last
}

// trippedAt reports whether the client had said that the authority is tripped.
func (w *world) trippedAt(au int, at time.Duration) bool {
	tripped := false
	for _, o := range w.outages {
		if o.au == au && o.at.at <= at && !(o.at.at == at && !o.tripped) {
			tripped = o.tripped
		}
	}
	return tripped
}

// judgePlanned: a transport that works is replaced by plan where an answer proves the
// fresh one, where nothing is in flight, or where nobody came to prove it in time.
func (w *world) judgePlanned(r *run, old service) {
	for _, t := range r.link.tries {
		if t.trial && t.answered > 0 && t.answered <= r.end {
			return
		}
	}
	if r.end-r.link.made >= w.plan.patience {
		for _, t := range r.link.tries {
			w.must(!w.inVain(t, old, r.end), "%v is promoted, and r%d has tried it in vain", r.link, t.order.id)
		}
		return
	}
	w.must(r.end == r.link.made && w.idle(old.link, r.end), "%v is promoted by plan at %v without an answer", r.link, r.end)
}

// inVain reports whether the try failed on the candidate what the transport in service
// answered its order, whose authority never failed there.
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

// judgeTrials: who refused a candidate tries no other before something has failed in
// service since.
func (w *world) judgeTrials() {
	for _, l := range w.links {
		if l.run == nil || l.run.planned() {
			continue
		}
		for _, t := range l.tries {
			if !t.trial || t.order.done && t.order.ended < t.arrived {
				continue
			}
			w.must(t.arrived >= l.made, "r%d tries %v before it is ready", t.order.id, l)
			if t.service.link.ended {
				continue
			}
			w.must(w.evidence(t), "r%d tries %v at %v, and nothing has failed in service since its authority's last refusal", t.order.id, l, t.arrived)
		}
	}
}

// evidence reports whether something of the trial's authority has failed in service
// since that refused a candidate.
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
		for wait := leastPatience; t.arrived+wait <= trial.arrived; wait += leastPatience {
			if t.arrived+wait >= since && t.silentAt(t.arrived+wait, wait) {
				return true
			}
		}
	}
	return false
}

// judgeFallback: the fallback serves what is tripped, and nothing else.
func (w *world) judgeFallback() {
	if w.spare == nil {
		return
	}
	for _, t := range w.spare.tries {
		w.must(w.trippedAt(t.order.au, t.arrived) || t.service.link.ended,
			"r%d goes to the fallback at %v, and %s is not tripped", t.order.id, t.arrived, hostOf(t.order.au))
	}
}

// judgeOrder holds the end of a request to the rules of others, of waiting for ready,
// and of what has ended.
func (w *world) judgeOrder(o *order) {
	if !w.plan.moody {
		w.judgeEnded(o)
	}
	if o.err == nil || o.spoiled || len(o.tries) == 0 || o.ended >= o.leaves || w.shutting && o.ended >= w.closedAt || !o.repeatable() || w.spare != nil || w.plan.moody {
		return
	}
	last := o.tries[len(o.tries)-1]
	if last.fault != against || last.trial || last.recalled {
		return
	}
	w.must(!last.link.retired || last.link.off >= o.ended || last.link.off >= last.returned || o.attempts() >= min(w.plan.threshold, 3),
		"r%d gives up on %v, which was replaced at %v", o.id, last.link, last.link.off)
	if w.plan.wait > 0 && w.trippedSince(o.au, last.returned) && !last.link.retired {
		w.must(o.ended >= o.began+w.plan.wait, "r%d gives up after %v, and waits for ready for %v", o.id, o.ended-o.began, w.plan.wait)
	}
}

// trippedSince reports whether the authority was tripped then, and is to the end.
func (w *world) trippedSince(au int, at time.Duration) bool {
	for _, o := range w.outages {
		if o.au == au && o.at.at >= at {
			return false
		}
	}
	return w.trippedAt(au, at)
}

// judgeEnded: a request that comes after the transport in service has ended is sent on
// it once, at most, where nothing better can be built yet.
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
