package core

import (
	"slices"
	"time"
)

// What is planned? A candidate that Recreate orders, or that WithMaxAge makes due (plan). The
// transport in service works, so the candidate must first answer an authority that is well.
// It is tried by a copy of a request, while the transport in service answers the caller. If
// no request that can be copied came within half of WithRecreateTimeout, the next request
// tries the candidate first (tryPlanned). If that request has no connection within a second, or
// within a quarter of its caller's time if that is less, or no answer although it may be sent
// again, it goes on in service (callBackTry). An authority tries the candidate once, or, where
// callers have little time, until its tries have had a second in all (countTry). The try was in
// vain if the candidate had no connection, or failed a request that the transport in service
// answered, in no more time than the try had (tryAnswered, tryJudged). A try with a neutral end
// is none, and the next request tries; but the candidate is not put in service unproven if the
// transport in service answered what such a try was a copy of (endsNeutrally). What becomes of a
// planned candidate that nobody tries is in candidate.go.

// A tryout is how an authority that is well tries a planned candidate: by one call.
type tryout struct {
	try      *Call         // nil: there is none yet, or there may be another
	tried    time.Time     // when
	callback *Attempt      // the try, until it is called back
	tryLost  bool          // the candidate failed it
	tryWell  bool          // the transport in service answered it, or one like it that came later
	inVain   bool          // tryLost and tryWell
	kind     string        // why it was lost
	gone     bool          // the caller of the try has left
	neutral  *Call         // the latest whose copy had a neutral end
	missed   bool          // the transport in service answered such a call
	had      time.Duration // how long the latest try that was given up was there
	spent    time.Duration // the same in all, of those that spoke against the candidate
}

// An Order is a call of Recreate, from when it is made until it is done.
type Order struct {
	Ticket any // the shell's

	candidate uint64 // that it waits for; 0: it is to be built
	done      bool
	kind      string // why not promoted; "" if it was
}

// Done reports whether the order is over, and the kind of the rejection: "" for a
// promotion.
func (o *Order) Done() (kind string, done bool) { return o.kind, o.done }

// Candidate is the number of the candidate that the order waits for; 0: none yet.
func (o *Order) Candidate() uint64 { return o.candidate }

// Recreate asks for a fresh transport now, whatever the pace says. Orders at the
// same time share a candidate, as long as its build has not ended.
func (c *Client) Recreate(now time.Time, o *Order) {
	if c.closed {
		o.done, o.kind = true, ClosedMeanwhile
		c.todo.Done = append(c.todo.Done, o)
		return
	}
	if r := c.cand; r != nil && r.stage == Building && r.trigger == Manual {
		o.candidate = r.id
	}
	c.orders = append(c.orders, o)
	c.settle(now)
}

// Abandon: whoever ordered has gone.
func (c *Client) Abandon(now time.Time, o *Order) {
	c.orders = slices.DeleteFunc(c.orders, func(p *Order) bool { return p == o })
	r := c.cand
	shared := slices.ContainsFunc(c.orders, func(p *Order) bool { return p.candidate == o.candidate })
	if r != nil && r.id == o.candidate && !shared {
		c.end(now, GivenUp)
	}
	c.settle(now)
}

// plan begins what was ordered, or is due by age. A planned candidate ends an
// unplanned one, and waits for another planned one; but an order does not wait for
// what age asked for, which may hold what the order is to renew.
func (c *Client) plan(now time.Time) {
	ordered := slices.ContainsFunc(c.orders, func(o *Order) bool { return o.candidate == 0 })
	aged := !c.agedAt.IsZero() && !now.Before(c.agedAt)
	if c.closed || !ordered && !aged {
		return
	}
	if r := c.cand; r != nil && r.planned && !(ordered && r.trigger == MaxAge) {
		return
	}
	if c.cand != nil {
		c.end(now, Superseded)
	}
	trigger := MaxAge
	if ordered {
		trigger = Manual
	}
	c.begin(now, trigger, true, About{})
	if ordered {
		c.todo.Build.Delay = 0 // an order waits for no interval
	}
	for _, o := range c.orders {
		if o.candidate == 0 {
			o.candidate = c.cand.id
		}
	}
}

// plannedEnded: a candidate is over; kind is "" for a promotion. The calls of Recreate
// that ordered it are told. If age made it due and it was not promoted, the next one is due
// when the pace of what is planned allows it.
func (c *Client) plannedEnded(now time.Time, r *candidate, kind string) {
	c.orders = slices.DeleteFunc(c.orders, func(o *Order) bool {
		if o.candidate != r.id {
			return false
		}
		o.done, o.kind = true, kind
		c.todo.Done = append(c.todo.Done, o)
		return true
	})
	if kind != "" && r.trigger == MaxAge {
		c.agedAt = later(now, c.planPace.notBefore)
	}
}

// tryPlanned: q's authority is well. It may prove a planned candidate, once: by a
// copy, while the transport in service answers the caller; where no request came
// that can be copied, by being tried there first.
func (c *Client) tryPlanned(now time.Time, q *Call) (Step, bool) {
	r := c.cand
	if r == nil || !r.planned || r.stage != Ready || q.Kind == Sealed || !q.fresh() || q.attempts > 0 {
		return Step{}, false
	}
	if st := r.stand(q.Authority); st != nil && st.try != nil && !st.triedTooBriefly(q) {
		return Step{}, false
	}
	switch {
	case q.Kind == Copyable:
		step := c.send(now, q, nil)
		r.standOrNew(q.Authority).isTriedBy(now, q)
		c.tryOn(now, q, asPlanned, false)
		return step, true
	case !now.Before(r.halfway) && !r.isCopied():
		st := r.standOrNew(q.Authority)
		st.isTriedBy(now, q)
		st.callback = c.tryOn(now, q, onTry, false)
		return Step{Do: Try, Attempt: st.callback}, true
	}
	return Step{}, false
}

// isCopied reports whether a copy tries r, or has.
func (r *candidate) isCopied() bool {
	return slices.ContainsFunc(r.stands, func(st *stand) bool { return st.try != nil && st.try.Kind == Copyable })
}

func (st *stand) isTriedBy(now time.Time, q *Call) {
	st.try, st.tried, st.tryWell, st.gone = q, now, false, false
}

// triedTooBriefly reports whether q may try the candidate after another call, whose try had too
// little time for a verdict (countTry).
func (st *stand) triedTooBriefly(q *Call) bool {
	return st.try != q && st.callback == nil && st.trials.n == 0 && !st.tryLost && st.spent > 0
}

// endsNeutrally: a try, t, has ended in o, and is no try any more. But if t ended without an answer,
// as where there is no such host or the answer cannot be read, and the transport in service answers
// the same request, then the candidate missed that request. It did not if t was not sent at all.
func (st *stand) endsNeutrally(t *Attempt, o Outcome) {
	if t.Copy() && o.Verdict == Neutral && !o.Left && !o.notSent() {
		st.neutral, st.kind = t.Call, o.Trigger
		st.missed = st.missed || st.tryWell
	}
}

// tries reports whether a is a try of a planned candidate. The trial that its call may make later,
// once the authority has tripped, is none.
func (a *Attempt) tries() bool { return a.role == onTry || a.role == asPlanned }

// isTry reports whether t is the try of st.
func (st *stand) isTry(t *Attempt) bool { return t.tries() && st.try == t.Call }

// tryJudged: a try of a planned candidate is in vain where the candidate failed
// what the transport in service answered.
func (c *Client) tryJudged(now time.Time, st *stand) {
	if !st.tryLost || !st.tryWell || st.inVain {
		return
	}
	c.wasInVain(st, func() { c.isRefused(now, c.cand, st, st.kind) })
}

// wasInVain: the try of st was. The authority refuses the candidate, unless it has, by a trial that it
// made once it had tripped.
func (c *Client) wasInVain(st *stand, refuse func()) {
	st.inVain = true
	if !st.refused {
		refuse()
	}
}

// tryAnswered: the transport in service has answered the control of a try: the same request, or,
// if that was of kind Once or its caller has gone, one that came later. The control of a try that
// was given up speaks against the candidate only if it took no longer than the try had.
func (c *Client) tryAnswered(now time.Time, st *stand, control *Attempt) {
	switch {
	case !st.tryLost || st.kind != TrialTimeout:
		st.tryWell = true
		c.tryJudged(now, st)
	case control.waited(now) <= st.had:
		c.weigh(now, st)
	}
}

// callBackAt is when the try of st is called back: its caller must have time left for the
// transport in service.
func (st *stand) callBackAt() time.Time {
	return st.callback.start.Add(headStartOf(st.callback.start, st.callback.Call))
}

// givenUp: t, a try of a planned candidate, had no answer, and nobody waits for one any more. If t
// had no connection, that speaks against the candidate. Otherwise it does once the control of t is
// answered in as little time as t had.
func (c *Client) givenUp(now time.Time, st *stand, t *Attempt) {
	st.tryLost, st.kind, st.had = true, TrialTimeout, t.waited(now)
	if !t.connected && st.countTry() {
		c.wasInVain(st, func() { c.refuse(now, c.cand, st, st.kind) }) // the upstream may be down, too
	}
}

// weigh: the control of the latest try that was given up was answered.
func (c *Client) weigh(now time.Time, st *stand) {
	if st.countTry() {
		st.tryWell = true
		c.tryJudged(now, st)
	}
}

// countTry: the latest try that was given up speaks against the candidate. It reports whether such
// tries of the authority have had a second in all, and were in vain. Until then the next request
// tries, too.
func (st *stand) countTry() (enough bool) {
	if st.spent += st.had; st.spent >= headStart {
		return true
	}
	st.tryLost = false
	if st.gone {
		st.try = nil
	}
	return false
}

// callBackTry: a try of a planned candidate had no connection within its head start, or no
// answer if it may be sent again. It goes on in service.
func (c *Client) callBackTry(now time.Time, st *stand) {
	a := st.callback
	st.callback = nil
	switch {
	case a.stays():
		c.callBack(a)
		c.untry(a.Call) // the candidate does not have it yet
	case a.connected || a.unsent():
		c.callBack(a)
		c.givenUp(now, st, a)
	}
}

// tryLeft: the caller of t, a try of a planned candidate, has gone. If t had most of its caller's
// time, no other try is needed.
func (c *Client) tryLeft(now time.Time, st *stand, t *Attempt, o Outcome) {
	st.gone = true
	if o.Verdict == Stall && !t.hurried(now) {
		st.spent = headStart
	}
	c.givenUp(now, st, t)
}
