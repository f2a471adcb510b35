package core

import (
	"slices"
	"time"
)

// waiting says what ends a call's wait.
type waiting uint8

const (
	notWaiting waiting = iota
	forVerdict         // whatever happens to a candidate
	forRound           // only time, a promotion and Close
)

// wait makes q wait for what why says, at most until that time.
func (c *Client) wait(q *Call, why waiting, until time.Time) Step {
	q.waiting = why
	c.waiting = append(c.waiting, q)
	return Step{Do: Wait, Until: until}
}

// waitForOthers: q waits for the verdict on what others try, but no longer than a
// trial may hold it back, unless the candidate has answered one of them already.
func (c *Client) waitForOthers(now time.Time, q *Call) (Step, bool) {
	if q.waitedFor != 0 || q.outOfTime(now) {
		return Step{}, false
	}
	q.waitedFor = c.cand.id
	until := q.readyBy
	if c.cand.stand(q.Authority).answered == nil {
		until = first(until, now.Add(headStart))
	}
	return c.wait(q, forVerdict, until), true
}

// heldBack reports whether a trial of a is so young that its others wait for it.
func (r *candidate) heldBack(a Authority) bool {
	st := r.stand(a)
	return st != nil && st.holder != nil
}

// hadItsChance reports whether q took long to fail while r was there, and others of
// its authority try r: nobody's wait is doubled for what they are about to find out.
// Where they have got a connection and q has lost its own, they have found out enough.
func (r *candidate) hadItsChance(q *Call) bool {
	st := r.stand(q.Authority)
	if st == nil || !q.failure.slow || q.failure.at < r.ready || !q.failure.stall && st.connected() {
		return false
	}
	return st.trials.n > 0 || st.answered != nil
}

// mayStartOver reports whether q waits for ready, and may: it has met an outage,
// which may be over by now.
func (q *Call) mayStartOver(now time.Time) bool {
	if q.Ready == 0 || !q.maySend() || !q.tripped {
		return false
	}
	if q.readyBy.IsZero() {
		q.readyBy = now.Add(q.Ready)
	}
	return now.Before(q.readyBy)
}

// outOfTime reports whether q has waited for ready for as long as it may.
func (q *Call) outOfTime(now time.Time) bool { return !q.readyBy.IsZero() && !now.Before(q.readyBy) }

func (c *Client) stopWaiting(q *Call) {
	if q.waiting != notWaiting {
		q.waiting = notWaiting
		c.waiting = slices.DeleteFunc(c.waiting, func(p *Call) bool { return p == q })
	}
}

// Leave: q's caller has gone, or its wait has, before it asks again.
func (c *Client) Leave(q *Call) { c.stopWaiting(q) }

// wake ends the wait for a verdict of the calls of an authority; of all calls for
// the zero authority.
func (c *Client) wake(a Authority) {
	c.wakeIf(func(q *Call) bool { return q.waiting == forVerdict && (a == Authority{} || q.Authority == a) })
}

func (c *Client) wakeAll() { c.wakeIf(func(*Call) bool { return true }) }

func (c *Client) wakeIf(match func(*Call) bool) {
	c.waiting = slices.DeleteFunc(c.waiting, func(q *Call) bool {
		if !match(q) {
			return false
		}
		q.waiting = notWaiting
		c.todo.Wake = append(c.todo.Wake, q)
		return true
	})
}
