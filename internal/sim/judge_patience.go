package sim

// judgePatient: nobody who can be served elsewhere waits for ever, without a deadline,
// on a transport that is dead. What is copyable is copied, and the copy's answer leads
// to another transport; what can be sent again moves there.
func (w *world) judgePatient(o *order) {
	accompanied := w.plan.patience > 0 && w.plan.stalls > 0 && o.ends == late
	if !accompanied || o.spoiled || o.ended < o.leaves || o.err == nil || w.closedAt <= o.ended {
		return
	}
	w.must(!o.copyable(), "r%d, a %s, waits for ever", o.id, o.method)
	if !o.repeatable() || len(o.tries) == 0 {
		return
	}
	last := o.tries[len(o.tries)-1]
	moves := last.link.retired && last.link.off+headStart < o.ended && w.trippedAt(o.au, last.link.off)
	w.must(!moves || o.attempts() >= min(w.plan.threshold, 3)+2, "r%d, a %s, waits for ever on %v, which was replaced at %v", o.id, o.method, last.link, last.link.off)
}
