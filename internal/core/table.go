package core

import (
	"math"
	"time"
)

// A Do is what a call does next.
type Do uint8

const (
	Send   Do = iota // on the transport in service
	Try              // on the candidate
	Wait             // until it is woken, or the step's Until
	Divert           // to the fallback, and be done
	GiveUp           // with the error that it has
	Shut             // the client is closed
)

// A Step is what a call does next. Attempt is set for Send and Try; Until limits a
// Wait if it is not zero; Round says that the wait is the rest between two rounds.
type Step struct {
	Do      Do
	Attempt *Attempt
	Until   time.Time
	Round   bool
}

// Next decides what q does next; nothing of it is under way for its caller. It is
// a round of the table, and around the rounds the loop of those that wait for
// ready.
func (c *Client) Next(now time.Time, q *Call) Step {
	c.stopWaiting(q)
	q.since = first(q.since, now)
	if c.closed {
		c.forsake(q)
		return Step{Do: Shut}
	}
	c.plan(now) // what is due by now is not begun after a build for q
	step := c.round(now, q)
	if step.Do == GiveUp && q.mayStartOver(now) {
		q.since, q.attempts, q.forgiven, q.failure = time.Time{}, 0, false, failure{}
		q.decidedBy = time.Time{}
		step = c.wait(q, forRound, earlier(q.readyBy, now.Add(roundRest)))
		step.Round = true
	}
	if step.Do == GiveUp || step.Do == Divert {
		c.forsake(q)
	}
	if step.Do == Divert {
		c.diverted = c.now
	}
	c.settle(now)
	return step
}

// round is the decision table of the package's comment.
func (c *Client) round(now time.Time, q *Call) Step {
	s := c.suspect(q.Authority)
	if s != nil {
		s.asked = now
	}
	c.meets(q, s)
	switch {
	case c.ended:
		return c.withoutTransport(now, q)
	case s == nil || s.state != Tripped:
		return c.onItsWay(now, q, s)
	}
	if step, ok := c.withTrial(now, q, s); ok {
		return step
	}
	return c.withoutTrial(now, q, s)
}

// withoutTransport: what is in service has ended. Whatever can be built is better.
func (c *Client) withoutTransport(now time.Time, q *Call) Step {
	starts := c.cand == nil && c.pace.due(now)
	if starts {
		c.succeed(now)
	}
	switch {
	case c.rules.Fallback && q.maySend() && !starts:
		return Step{Do: Divert}
	case c.cand != nil && q.maySend() && !q.outOfTime(now):
		if step, ok := c.waitOn(now, q, c.cand); ok {
			return step
		}
		return Step{Do: Divert}
	case q.fresh() && c.spare(q) && !c.absent:
		return c.send(now, q, c.suspect(q.Authority))
	}
	return Step{Do: GiveUp}
}

// onItsWay: the authority of q is not tripped. What has stalled in service is not sent again: a slow
// upstream would be asked twice as often.
func (c *Client) onItsWay(now time.Time, q *Call, s *suspect) Step {
	f := q.failure
	switch {
	case !q.maySend() || f.stall && f.on == c.current:
		return Step{Do: GiveUp}
	case !c.spare(q):
		return c.waitForTrip(now, q, s)
	}
	if s == nil {
		if step, ok := c.tryPlanned(now, q); ok {
			return step
		}
	}
	return c.send(now, q, s)
}

// withoutTrial: no trial for q now.
func (c *Client) withoutTrial(now time.Time, q *Call, s *suspect) Step {
	if c.rules.Fallback && q.maySend() && !(q.fresh() && c.controlDue(now, q, s)) {
		return Step{Do: Divert}
	}
	if (q.fresh() || q.failedElsewhere(c.current)) && c.spare(q) {
		return c.send(now, q, s)
	}
	return Step{Do: GiveUp}
}

// controlDue: once per interval the fallback leaves a request to the transport in
// service, so that one that is well is not left for good. What can be asked only
// once takes that risk more seldom. Before the first build has ended, nobody knows the
// interval, and it is a second.
func (c *Client) controlDue(now time.Time, q *Call, s *suspect) bool {
	interval := max(c.pace.interval, c.pace.first)
	if interval == 0 && c.cand != nil && c.cand.stage == Building {
		interval = headStart
	}
	if askedOnce(q, s) {
		interval = min(interval, math.MaxInt64/onceEvery) * onceEvery
	}
	if now.Before(s.controlAt.Add(interval)) {
		return false
	}
	s.controlAt = now
	return true
}

// spare reports whether q may make one more attempt in this round. The last two
// are for the control and the trial of an authority that has tripped: a promotion
// meanwhile does not take them away.
func (c *Client) spare(q *Call) bool {
	most := min(c.rules.Threshold, mostAttempts)
	if q.tripped {
		most += 2
	}
	return q.attempts < most
}

// meets: a call that meets an outage has its last two attempts from then on, whatever
// becomes of the outage before it asks for them. A transport that was replaced for need was
// dead for whoever it fails afterwards, too, though that authority may not have tripped.
func (c *Client) meets(q *Call, s *suspect) {
	if c.ended || s != nil && s.outage() || !q.failure.none() && q.failure.on <= c.dead {
		q.tripped = true
	}
}

// send makes an attempt on the transport in service.
func (c *Client) send(now time.Time, q *Call, s *suspect) Step {
	a := &Attempt{Call: q, On: c.current, held: true, began: c.now, start: now, under: s}
	q.main = a
	q.attempts++
	if s != nil {
		a.ripeAt = now.Add(headStartOf(now, q))
		c.watch(s, a)
	}
	return Step{Do: Send, Attempt: a}
}

// watch keeps an attempt in service among those of its suspected authority.
func (c *Client) watch(s *suspect, a *Attempt) {
	s.flying.add(a)
	s.ripens(a)
}

// ripens notes when a, which is one of flying, will have had its head start.
func (s *suspect) ripens(a *Attempt) {
	if a.Call.Kind == Copyable && a.ripeAt.Before(s.ripeAt) {
		s.ripeAt = a.ripeAt
	}
}
