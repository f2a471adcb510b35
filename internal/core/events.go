package core

import "time"

// A Fate says what an attempt was when it ended.
type Fate struct {
	Counts bool // not if it was called back before
	Copy   bool // beside another attempt of its call, whose error is the caller's
	Trial  bool // on a candidate
}

// Failed: a has ended in an error. The shell then asks Next for its call, unless
// that has left or has another attempt under way.
func (c *Client) Failed(now time.Time, a *Attempt, o Outcome) Fate {
	if a.over {
		return Fate{}
	}
	fate := Fate{Counts: true, Copy: a.Copy(), Trial: a.role != inService}
	if a.role == leftBehind {
		c.detach(a) // it says nothing, and its call is elsewhere
		return fate
	}
	o.Left = o.Left && !(o.Lost && fate.Copy) // a copy that does not return leaves its caller where it is
	if o.Left && fate.Copy && a.Call.main != nil {
		a.Call.left = true
		return fate // it ends with what it is a copy of: which of the two is told first is chance
	}
	on := c.detach(a)
	if c.closed {
		c.forsake(a.Call)
		return fate
	}
	o.Left = o.Left || a.Call.left
	o.Again = o.Again && a.Call.Kind != Sealed
	o = c.verdictOf(now, a, o)
	q := a.Call
	switch {
	case a.On == c.current:
		c.count(now, a, o)
		c.note(now, q, a, o)
		c.controlFailed(now, a, o)
	case on == nil: // its transport is not in service any more, or its candidate is over
		c.note(now, q, a, o)
	default:
		if a.control || a.onCandidate() && (!o.Again || o.Verdict == Neutral) {
			c.note(now, q, a, o)
		}
		c.trialFailed(now, c.cand, on, a, o)
	}
	if o.Left || o.Verdict == Neutral && q.main == nil {
		c.left(now, q, a, o) // a copy has no control any more
	}
	c.settle(now)
	return fate
}

// left ends what is left of q, whose caller has gone unanswered: its copy, too. If the caller
// left by its deadline, that is a stall of the copy as well (trialFailed).
func (c *Client) left(now time.Time, q *Call, a *Attempt, o Outcome) {
	switch st := c.standOf(q); {
	case st == nil:
	case st.try == q && st.tryLost && st.kind == TrialTimeout:
		st.gone = true // what comes later is its control
	default:
		c.untry(q)
	}
	c.forsake(q)
	t := q.copy
	if t == nil {
		return
	}
	st := c.standOf(q)
	counts := st != nil && t.role == asCopy && o.Verdict == Stall
	c.callBack(t)
	if counts {
		c.trialFailed(now, c.cand, st, t, o)
	}
}

// untry: the try of a planned candidate by q says nothing, and the next one may try.
func (c *Client) untry(q *Call) {
	if st := c.standOf(q); st != nil && st.try == q && !st.inVain {
		st.try, st.tryLost, st.tryWell = nil, false, false
	}
}

// note keeps what came of an attempt with its call. An attempt that cannot trip its authority is not
// counted, once. Nor is a timeout of which nobody saw what it was of. Though that is a stall, the call
// goes again: it may have been a dialer's, and the next attempt is watched.
func (c *Client) note(now time.Time, q *Call, a *Attempt, o Outcome) {
	if a.Copy() {
		return
	}
	c.meets(q, c.suspect(q.Authority)) // now: it may be over when q asks what to do next
	if (o.Untyped || o.Unseen) && !q.forgiven {
		q.forgiven = true
		q.attempts--
	}
	q.failure = failure{
		on: a.On, began: a.began, at: c.now, apart: o.Unsent || o.Apart, again: o.Again,
		stall: o.Verdict == Stall && !o.Unseen, slow: rowOf(now, a, o) == silent, took: a.waited(now), first: a.onCandidate() && !a.control,
	}
}

// Answered: a has its response. It reports whether the response is the caller's:
// not if a was called back.
func (c *Client) Answered(now time.Time, a *Attempt) bool {
	if a.over {
		return false
	}
	on := c.detach(a)
	q := a.Call
	if c.closed {
		c.dismiss(q)
		return true
	}
	switch {
	case a.On == c.current:
		c.answered = max(c.answered, a.began)
		c.controlAnswered(now, q, a)
		c.served(now, a)
	case on != nil:
		c.patience.answered(now, q.Authority, a.waited(now))
		c.trialAnswered(now, on, a)
	case a.On < c.current: // slow, but well
		c.patience.answered(now, q.Authority, a.waited(now))
		c.stopWaiting(q)
	default: // the candidate was given up too soon: the next one is waited for as long
		c.patience.answered(now, q.Authority, a.waited(now))
	}
	c.dismiss(q)
	c.settle(now)
	return true
}

// dismiss calls back what else is under way for an answered call: not a control
// that is to be silent until the verdict, nor a copy that tries a planned candidate,
// unless that is over already.
func (c *Client) dismiss(q *Call) {
	c.forsake(q)
	if st := c.standOf(q); q.main != nil && (st == nil || st.answered == nil || st.answered.Call != q) {
		c.callBack(q.main)
	}
	switch t := q.copy; {
	case t == nil:
	case q.left:
		c.untry(q)
		c.callBack(t)
	case t.role != asPlanned:
		c.callBack(t)
	}
}

// Patience is how long an answer of an authority may take before a wait for it that began then
// is a stall.
func (c *Client) Patience(now, since time.Time, au Authority) time.Duration {
	return c.patience.of(now, since, au)
}

// Silent: a has waited for another Patience, and its caller waits on. That is a stall.
func (c *Client) Silent(now time.Time, a *Attempt) {
	switch {
	case a.over || a.held || c.closed:
		return
	case a.On != c.current:
		c.silentBehind(now, a)
		return
	}
	c.count(now, a, Outcome{Verdict: Stall, Trigger: Silence})
	if s := c.suspect(a.Call.Authority); s != nil {
		a.silentIn(now, s)
		if a.in == nil {
			a.ripeAt = now
			c.watch(s, a)
		}
	}
	c.settle(now)
}

// Goes: the request of a is complete, its body too, and its transport will get it as soon as those
// who count replays were told. If Goes returns false, a was called back, and its transport must not
// get the request.
func (c *Client) Goes(a *Attempt) bool {
	a.goes = !a.over
	return a.goes
}

// Handed: the transport of a gets it, and a begins only now. Until then its goroutine waited for
// its turn, or for a callback of the user's, such as GetBody.
func (c *Client) Handed(now time.Time, a *Attempt) {
	st := c.standOf(a.Call)
	trial := st != nil && a.in == &st.trials
	if trial {
		c.now++ // what begins in service from here on may be the trial's control
	}
	a.held, a.began, a.start = false, c.now, now
	if st == nil || a.over {
		return
	}
	switch t := st.answered; {
	case trial:
		c.tryBegins(now, st)
	case t != nil && t.Call == a.Call: // a is the control of t, and has its chance now
		t.judgeAt = now.Add(silenceFor(t.took))
	}
}

// Asks: the transport of a has told that it looks for a connection. It will tell when
// it has one. queued: a waits for a place in the transport's own pool first, which ends with
// Placed or Connected.
func (c *Client) Asks(a *Attempt, queued bool) { a.asked, a.queued = true, queued }

// Connected: an attempt has got a connection, or may have sent something. Where the
// transport in service gave none, a trial that has one holds back nobody any more.
func (c *Client) Connected(now time.Time, a *Attempt) {
	c.Placed(now, a)
	if a.over || a.connected || c.closed {
		return
	}
	a.connected = true
	st := c.standOf(a.Call)
	if st == nil {
		return
	}
	if st.callback == a && a.Call.Kind == Once {
		st.callback = nil // it may have been processed
	}
	if st.holder == a && a.row == noConnection {
		c.stopHolding(st)
	}
	c.settle(now)
}

// Ended: the transport of this number reports that it has ended. candidateFit
// says whether the candidate, if there is one, has not.
func (c *Client) Ended(now time.Time, on uint64, candidateFit bool) {
	if c.closed || c.ended || on != c.current {
		return
	}
	c.paceTrip(now, Authority{})
	c.ended, c.endedAt, c.endedIn = true, now, c.now
	c.now++ // what begins from here on is later
	c.report(now, Report{What: HasTripped, About: c.aboutEnded()})
	switch r := c.cand; {
	case r == nil || r.stage == Building:
	case candidateFit:
		c.promote(now, nil, false)
	default:
		c.end(now, TransportEnded)
	}
	c.wakeIf(func(q *Call) bool { return q.waiting == forTrip }) // there is more to do than to wait
	c.settle(now)
}

// Prepare builds the successor of a transport that has ended, or the first one,
// before a request asks for it.
func (c *Client) Prepare(now time.Time) {
	if c.ended && !c.closed && c.cand == nil && c.pace.due(now) {
		c.succeed(now)
	}
}

// succeed builds the successor of a transport that has ended, or the first one.
func (c *Client) succeed(now time.Time) {
	about := c.aboutEnded()
	c.begin(now, about.Trigger, false, about)
}

// Close ends it all. What is in flight goes on, and nothing follows it.
func (c *Client) Close(now time.Time) {
	if c.closed {
		return
	}
	if c.cand != nil {
		c.end(now, ClosedMeanwhile)
	}
	c.closed, c.agedAt = true, time.Time{}
	c.abandonOutages(now)
	c.suspectOnly(nil)
	c.condemned = attempts{}
	for _, o := range c.orders {
		o.done, o.kind = true, ClosedMeanwhile
		c.todo.Done = append(c.todo.Done, o)
	}
	c.orders = nil
	c.wakeAll()
}

// settle runs after every event: what the event made possible begins.
func (c *Client) settle(now time.Time) {
	if c.closed {
		return
	}
	c.plan(now)
	c.offer(now)
}
