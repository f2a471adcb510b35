package sim

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/respawnhttp/respawn"
)

// This file checks what must hold at every step, and notes what the judges need at the end. All
// functions here hold w.mu or take it.

// arrive is called when a transport gets a request.
func (w *world) arrive(l *link, req *http.Request) *try {
	w.free()
	w.mu.Lock()
	defer w.mu.Unlock()
	id, _ := strconv.Atoi(req.Header.Get(idHeader))
	o := w.orders[id]
	t := &try{link: l, order: o, req: req, arrived: w.now()}
	t.fetched, o.fetched = o.fetched, false
	w.look()
	t.trial = l != w.spare && !l.served && l.number > 0
	t.number = o.nextNumber(t.trial)
	w.mayLeaveBehind(o)
	beside := o.flying()
	o.tries = append(o.tries, t)
	l.tries = append(l.tries, t)
	l.open++
	w.noteLocked(o.who(), "try %d on %v", t.number, l)
	t.service = w.services[len(w.services)-1]
	w.must(!o.late, "r%d is sent after Close", id)
	w.must(len(o.tries) == 1 || w.plan.replay != respawn.ReplayNever, "r%d is sent again under ReplayNever", id)
	w.must(!l.retired || l.off == w.now() || t.fetched, "r%d is sent on %v, which was retired at %v", id, l, l.off)
	if t.trial {
		w.must(l.run != nil && !l.dropped, "r%d is sent on %v, which is no candidate", id, l)
	}
	switch {
	case beside != nil:
		w.mustBeCopy(t, beside)
	case !t.trial && o.copyable() && o.answeredOnTrial():
		t.copy = true // the control of a copy that was answered, whose original had failed
	}
	// This comes after mustBeCopy, since a copy is no attempt.
	w.must(o.attempts() <= w.mostAttempts(o), "r%d makes %d attempts", id, o.attempts())
	return t
}

// nextNumber numbers the order's tries in service from 1, and those on candidates from 101. The two
// are counted apart since the scheduler decides which of two simultaneous tries comes first.
func (o *order) nextNumber(trial bool) int {
	n := 1
	if trial {
		n = 101
	}
	for _, t := range o.tries {
		if t.trial == trial {
			n++
		}
	}
	return n
}

// flying is the order's latest try that has not returned; nil: there is none.
func (o *order) flying() *try {
	for i := len(o.tries) - 1; i >= 0; i-- {
		if t := o.tries[i]; t.flies() && !t.behind {
			return t
		}
	}
	return nil
}

func (t *try) flies() bool { return !t.over && !t.recalled }

// mayLeaveBehind: the first try that waits on a link that was replaced may go on while its
// order goes elsewhere.
func (w *world) mayLeaveBehind(o *order) {
	i := slices.IndexFunc(o.tries, func(t *try) bool { return t.flies() && (t.behind || t.link.retired) })
	if i >= 0 {
		o.tries[i].behind = true
		w.must(o.copyable(), "r%d, a %s, is left behind and goes elsewhere", o.id, o.method)
	}
}

// mustBeCopy checks that two simultaneous tries of one order are an original and its copy, which is
// on the candidate. The scheduler decides which of the two comes first.
func (w *world) mustBeCopy(a, b *try) {
	o := a.order
	w.must(o.copyable(), "r%d, a %s, is copied", o.id, o.method)
	n := 0
	for _, t := range o.tries {
		if t.flies() && !t.behind {
			n++
		}
	}
	w.must(n == 2, "r%d is in %d places at once", o.id, n)
	switch {
	case a.trial && (!b.trial || b.link == w.serving()): // its candidate may be in service by now
		a.copy = true
	case b.trial && !a.trial:
		b.copy = true
	case a.link == b.link && o.answeredOnTrial(): // the control of a copy that was answered, and what it takes the place of
		a.copy, b.copy = true, true
	default:
		w.must(false, "r%d is copied from %v to %v", o.id, b.link, a.link)
	}
}

// answeredOnTrial reports whether a candidate has answered o.
func (o *order) answeredOnTrial() bool {
	return slices.ContainsFunc(o.tries, func(t *try) bool { return t.trial && t.answered > 0 })
}

// attempts returns how many of the order's tries count as attempts. Those on the fallback do not,
// nor do copies, nor trials that were called back, nor what was left behind: who does that moves with an
// attempt left or not.
func (o *order) attempts() int {
	n := 0
	for _, t := range o.tries {
		if t.link != o.w.spare && !t.copy && !t.behind && !(t.trial && t.recalled) {
			n++
		}
	}
	return n
}

// mostAttempts returns how many attempts o may have made by now. With WithWaitForReady that is a
// number for each round; a round begins each second, at each promotion, and when the wait is over.
// It allows one more in each round, for an attempt that nobody watched and that did not count.
func (w *world) mostAttempts(o *order) int {
	rounds := 1
	if w.plan.wait > 0 {
		rounds += 1 + int((w.now() - o.began).Seconds())
		for _, s := range w.services {
			if s.at >= o.began {
				rounds++
			}
		}
	}
	return rounds * (min(w.plan.threshold, 3) + 2 + 1)
}

// mustSendOnce is called when a try gets a connection.
func (w *world) mustSendOnce(t *try) {
	o := t.order
	if w.plan.replay == respawn.ReplayUnsent || !o.idempotent() {
		w.must(o.sent == 1, "r%d, a %s, is sent %d times", o.id, o.method, o.sent)
	}
}

// deliver is called when the upstream processes a request.
func (w *world) deliver(t *try, payload []byte, early bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := t.order
	o.served++
	w.must(o.idempotent() || o.served == 1, "r%d, a %s, is processed twice", o.id, o.method)
	if o.body != bare && !early {
		w.must(string(payload) == payloadOf(o.id), "r%d arrives with the body %q", o.id, payload)
	}
}

// mustNotCut is called when a try's context has ended before its body has. If the caller is still
// there and the drain is not over, the client has called the try back. It may do so only with a
// request that can be sent again. mustNotCut reports whether the caller has gone.
func (w *world) mustNotCut(t *try) (gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := t.order
	if o.req.Context().Err() != nil {
		return true
	}
	if w.plan.drain > 0 && t.link.retired && w.now() >= t.link.off+w.plan.drain {
		return false // its drain is over
	}
	w.must(t.answered == 0 || o.done || t.copy, "r%d is cut in its body on %v, its caller is still there", o.id, t.link)
	w.must(t.conn == nil || o.repeatable(), "r%d, a %s, is called back from %v, where it may have been processed", o.id, o.method, t.link)
	t.recalled = true
	return false
}

// depart is called when a transport returns.
func (w *world) depart(t *try, resp *http.Response, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.over, t.returned, t.err = true, w.now(), err
	w.noteLocked(t.order.who(), "try %d on %v: %v", t.number, t.link, err)
	if err != nil || resp.Body == http.NoBody {
		t.link.open--
	}
}

// vanish is called when a RoundTrip is over, and notes one that panicked or ended its goroutine.
func (w *world) vanish(t *try) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !t.over {
		t.over, t.returned, t.fault = true, w.now(), against
		t.order.spoiled = true
		t.link.open--
	}
}

// classified is called when the client has judged an error.
func (w *world) classified(req *http.Request, v respawn.Verdict) {
	id, _ := strconv.Atoi(req.Header.Get(idHeader))
	w.mu.Lock()
	o := w.orders[id]
	n := len(o.tries)
	w.noteLocked(o.who(), "judged: %v", v)
	if v != respawn.Neutral {
		w.judged++
	}
	w.mu.Unlock()
	defer func() { // if this is a deputy's goroutine, its caller's ends with it
		w.mu.Lock()
		o.spoiled = o.spoiled || strings.HasSuffix(w.spoiled[goroutine()], "ended it")
		w.mu.Unlock()
	}()
	w.mood("the classifier", id, n)
}

// awaitsFirst reports whether there was no transport yet when o began.
func (w *world) awaitsFirst(o *order) bool {
	return w.plan.absent && (len(w.services) == 1 || o.began <= w.services[1].at)
}

// mustBeOwn checks whose an error is: that of a try which was not called back, of the caller's
// context, or of its GetBody; or respawn's own, if the client is closed or the transport drained.
func (w *world) mustBeOwn(o *order, err error) {
	for _, t := range o.tries {
		if t.err == err {
			w.must(!t.recalled || o.req.Context().Err() != nil, "r%d gets the error of an attempt that was called back: %v", o.id, err)
			return
		}
	}
	_, own := err.(interface{ ErrorType() string }) // respawn's own, or the simulation's
	if _, ok := err.(simError); ok {
		own = false
	}
	switch ctx := o.req.Context(); {
	case w.plan.drain > 0 && errors.Is(err, respawn.ErrDrained):
		return
	case w.awaitsFirst(o) && strings.Contains(err.Error(), "there is no transport yet"):
		return
	case w.plan.kind.real() && !own, err == respawn.ErrClosed && w.shutting, err == ctx.Err(), err == context.Cause(ctx),
		o.ends == byLegacy && strings.Contains(err.Error(), "canceled while waiting"),
		o.denied == errDenied && err == o.denied, o.denied == errNoReply && strings.Contains(err.Error(), "GetBody panicked"):
		return
	}
	w.must(false, "r%d gets an error of nobody: %v", o.id, err)
}
