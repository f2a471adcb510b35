package core

import (
	"slices"
	"time"
)

// Served: the shell knows of an answer that the core did not hear of, to an attempt that began
// then, on the healthy path or by a fallback.
func (c *Client) Served(began Instant) { c.answered = max(c.answered, began) }

// Tick lets pass what has a deadline.
func (c *Client) Tick(now time.Time) {
	if c.closed {
		return
	}
	c.passed(now)
	c.settle(now)
}

// passed does what is due at each deadline of Deadline that has passed.
func (c *Client) passed(now time.Time) {
	c.rescue(now)
	if hasPassed(c.sweepAt, now) {
		c.sweep(now)
	}
	c.probesPassed(now)
	if r := c.cand; r != nil {
		c.candidatePassed(now, r)
		c.probesPassed(now) // a probe waits less long once no candidate has answered one like it
	}
}

func (c *Client) probesPassed(now time.Time) {
	for _, s := range slices.Clone(c.busy) {
		if s.probe != nil && hasPassed(c.probedAt(s), now) {
			c.probed(now, s)
		}
	}
}

// candidatePassed performs the deadlines of r.
func (c *Client) candidatePassed(now time.Time, r *candidate) {
	for _, st := range r.stands {
		c.passedOf(now, r, st)
		if c.cand != r {
			return
		}
	}
	if hasPassed(c.lastsUntil(r), now) {
		c.expire(now, r)
	}
}

// passedOf performs the deadlines of one authority's stand.
func (c *Client) passedOf(now time.Time, r *candidate, st *stand) {
	if st.callback != nil && hasPassed(st.callBackAt(), now) {
		c.callBackTry(now, st)
	}
	if st.holder != nil && hasPassed(st.holder.start.Add(headStart), now) {
		c.stopHolding(st)
	}
	if st.answered != nil && hasPassed(st.answered.judgeAt, now) {
		c.judge(now, st)
	}
	if m := st.toBelieve(); c.cand == r && m != nil && hasPassed(m.until, now) {
		c.believe(now, st, m)
	}
	if c.cand == r && c.timed(st) && hasPassed(st.until, now) {
		st.late = true
		if st.onlyCopies() {
			c.wake(st.authority) // a copy costs nobody anything: it goes when it is in the way
		} else {
			c.refuse(now, r, st, TrialTimeout)
		}
	}
}

// timed reports whether the trials of st have a time that is to end: not if that is over, nor while
// an answer waits for a verdict (isJudged), nor for what is planned.
func (c *Client) timed(st *stand) bool { return !st.late && !c.isJudged(st) && st.try == nil }

func (st *stand) onlyCopies() bool {
	for a := st.trials.first; a != nil; a = a.next {
		if !a.Copy() {
			return false
		}
	}
	return true
}

// Deadline is when Tick is due; zero: not by itself.
func (c *Client) Deadline() time.Time {
	if c.closed {
		return time.Time{}
	}
	var at time.Time
	if c.cand == nil || !c.cand.planned {
		at = c.agedAt
	}
	for a := c.condemned.first; a != nil; a = a.next {
		at = first(at, a.ripeAt)
	}
	at = first(at, c.sweepAt)
	for _, s := range c.busy {
		if s.probe != nil {
			at = first(at, c.probedAt(s))
		}
		at = first(at, s.offerAt)
	}
	if r := c.cand; r != nil {
		at = first(at, c.deadlineOf(r))
	}
	return at
}

// deadlineOf is when something of a candidate is over. Nothing of one that is Building is.
func (c *Client) deadlineOf(r *candidate) time.Time {
	at := c.lastsUntil(r)
	for _, st := range r.stands {
		if st.callback != nil {
			at = first(at, st.callBackAt())
		}
		if st.holder != nil {
			at = first(at, st.holder.start.Add(headStart))
		}
		if st.answered != nil {
			at = first(at, st.answered.judgeAt)
		}
		if m := st.toBelieve(); m != nil {
			at = first(at, m.until)
		}
		if c.timed(st) {
			at = first(at, st.until)
		}
	}
	return at
}

// hasPassed reports whether a deadline has passed; a zero one never does.
func hasPassed(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// first returns the earlier of two deadlines, of which a zero one is none.
func first(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
