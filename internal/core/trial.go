package core

import "time"

// Which of 1,000 requests to a dead authority makes the trial? The first one whose control
// fails. A control is an attempt of the same request on the transport in service that begins
// after the candidate is ready (hasControl). Each of the 1,000 is sent in service first. A
// request that fails there before the candidate is ready waits for the candidate, and then
// sends its control. The first request whose control fails makes the trial. While that is the
// authority's only trial, it holds back the others for up to a second (try, heldBack in
// wait.go), unless its caller is about to leave (hasTimeToTry). Where the authority's latest counted
// failure had no connection, the others are held back only until the trial has one (Connected in
// events.go). Then each of them whose control has failed makes a trial, too, but not one whose
// control took a head start to fail beside the candidate (hadItsChance in wait.go).
//
// What becomes of a trial that is answered, or fails, is in proof.go. The trials of an authority
// have a time limit: WithRecreateTimeout or, if it is longer, the patience of a trial (trialTime). It
// begins when the candidate gets the first of them (tryBegins). Copies alone have no such limit
// (slow.go).
//
// With a fallback, a request that has no candidate to try or to wait for goes to the fallback
// (withoutTrial in table.go). A new request has not failed yet, so it goes to the fallback at
// once. Only a new one that is asked once (askedOnce) may still try a candidate, or wait for
// one. One new request of the authority in each interval of the backoff is still
// sent in service; where the requests are asked once, one in four intervals (controlDue).
//
// Where the authority is silent no request has to fail: a copy of the youngest that has had
// its head start makes the trial (ripest in copy.go). A request is asked once if the row of its
// authority in the table below does not take it. It goes to the candidate without a control,
// unless it is the control's turn to be first (controlFirst in like.go), and holds back the
// others as any trial does. The next one that is asked once is sent in service, as the control.
// The others go to the candidate, too, but for those that come while no trial under way has a
// connection, and the candidate has answered none like them: these are sent in service (askOnce).
// After a trial that ended neutrally, or stalled too early, the next one is sent in service as well,
// but for the first second: a candidate may end everything so (owed).
//
// The table of trials: an authority's row, which is how its latest counted failure
// looked, says how its requests try a candidate, and what proves it.
//
//	row          | takes                     | is asked                           | the candidate is proven by
//	-------------+---------------------------+------------------------------------+----------------------------
//	noConnection | repeatable, or unsent     | in service; the candidate, if that | an answer
//	             |                           | fails without a connection         |
//	broke        | repeatable                | in service; the candidate, if that | an answer
//	             |                           | fails                              |
//	silent       | copyable                  | in service, and a copy on the      | the copy's answer, if the
//	             |                           | candidate after a head start       | control stays silent
//	             |                           | (copy.go)                          |
//	any          | what its row does not take| the candidate; one at a time in    | an answer, if one like it,
//	             |                           | service (askedOnce, askOnce)       | sent later, failed there
//	             |                           |                                    | or stayed silent there
//
// Where the upstream may have come back, a control that begins later decides in all rows
// (mayBeBack in proof.go).

// withTrial: q, whose authority is tripped, may try the candidate, send its control, have a
// candidate built, or wait.
func (c *Client) withTrial(now time.Time, q *Call, s *suspect) (Step, bool) {
	if !c.hasEvidence(q, s) {
		return Step{}, false
	}
	switch r := c.cand; {
	case r != nil && r.stage == Building && c.looksUp(now, q, s, r):
		s.probeAt = now.Add(headStart)
		return c.probe(now, q, s), true
	case r != nil && (r.stage == Building || r.standsFor(s.authority) && r.heldBack(s.authority)):
		return c.waitForVerdict(now, q, r)
	case !c.spare(q):
		return Step{}, false
	case r == nil || !r.standsFor(s.authority):
		return c.waitForNext(now, q, s)
	case r.hadItsChance(q):
		return c.waitForOthers(now, q)
	case q.fresh(): // only what is asked once has evidence without a failure of its own
		return c.askOnce(now, q, s), true
	case c.hasControl(q, s):
		return c.try(now, q, true), true
	}
	return c.send(now, q, s), true // the control
}

// hasEvidence reports whether q's latest failure was on the transport in service, came after
// its authority last refused a candidate, and lets q be sent again. If q has not failed yet and
// is asked once, another request's failure since that refusal will do.
func (c *Client) hasEvidence(q *Call, s *suspect) bool {
	if f := q.failure; !f.none() {
		return f.on == c.current && f.at > s.refused && f.again
	}
	return askedOnce(q, s) && s.evidence > s.refused
}

// askedOnce reports whether q gets a single attempt, on the transport in service or
// on the candidate: what the row of its authority does not take in the table of
// trials.
func askedOnce(q *Call, s *suspect) bool {
	switch s.row {
	case noConnection:
		return q.Kind < Once // what is once only is expected to fail unsent
	case broke:
		return q.Kind < Repeatable
	}
	return q.Kind < Copyable
}

// hasControl: the transport in service had its chance with q since the candidate
// became ready, and failed: without a connection, where it gave nobody one. That it may have
// been sent before, on a connection from the pool that was dead, is no matter here.
func (c *Client) hasControl(q *Call, s *suspect) bool {
	f := q.failure
	return f.began >= c.cand.ready && (s.row != noConnection || f.apart)
}

// try sends q on the candidate. If no trial before it has a caller with time, q holds back the
// authority's other requests for a while.
func (c *Client) try(now time.Time, q *Call, control bool) Step {
	a := c.tryOn(now, q, onTrial, control)
	a.brief = !q.hasTimeToTry(now)
	if st := c.cand.stand(q.Authority); st.firstWithTime() == a {
		st.holder = a
	}
	return Step{Do: Try, Attempt: a}
}

// hasTimeToTry reports whether q's caller will wait for another head start, or for half of all
// that it waits if that is less. The request that has waited longest asks first. If each caller
// that is about to leave held back the others, nobody with time for an answer would try the
// candidate.
func (q *Call) hasTimeToTry(now time.Time) bool {
	return q.Deadline.IsZero() || q.Deadline.Sub(now) >= min(headStart, q.Deadline.Sub(q.since)/2)
}

// firstWithTime returns the oldest of the trials whose caller had time for it; nil: there is none.
func (st *stand) firstWithTime() *Attempt {
	for a := st.trials.first; a != nil; a = a.next {
		if !a.brief {
			return a
		}
	}
	return nil
}

// stopHolding: the trial of st goes on, and the next may begin.
func (c *Client) stopHolding(st *stand) {
	st.holder = nil
	c.wake(st.authority)
}

// askOnce: q is asked once, on the candidate or in service. One at a time is sent in service, as
// a control (probes). All are while the trials under way have no connection yet, unless the
// candidate has answered one like q.
func (c *Client) askOnce(now time.Time, q *Call, s *suspect) Step {
	st := c.cand.stand(s.authority)
	switch {
	case c.probes(now, q, s, st):
		if st != nil {
			st.owed = false
		}
		return c.probe(now, q, s)
	case st != nil && st.trials.n > 0 && !st.hasServed(q.Method) && !st.connected():
		return c.send(now, q, s)
	}
	return c.try(now, q, false)
}

// probes reports whether q, which is asked once, is sent in service as a control. Only one at a
// time is, of what the candidate has answered, is silent about, or had no chance to answer
// (tooEarly); of what another candidate before it has answered; or where it is the control's turn
// to be first.
func (c *Client) probes(now time.Time, q *Call, s *suspect, st *stand) bool {
	if s.probe != nil {
		return false
	}
	if st == nil && s.up != 0 && !s.hasLike(now, q.Method, s.up, headStart) {
		return true
	}
	return st != nil && (st.hasServed(q.Method) || st.trials.n > 0 || st.owed) || c.controlFirst(now, s, q.Method)
}

// probe sends q, which is asked once, in service.
func (c *Client) probe(now time.Time, q *Call, s *suspect) Step {
	step := c.send(now, q, s)
	s.probe = step.Attempt
	c.attend(s)
	return step
}

// looksUp reports whether q asks the transport in service while r is being built: it is one of
// those that may not see the end of the build, it is time for the next of them, and there is no
// fallback, or that leaves a request to the transport in service.
func (c *Client) looksUp(now time.Time, q *Call, s *suspect, r *candidate) bool {
	if s.probe != nil || now.Before(s.probeAt) || !c.mayNotSee(now, q, r) {
		return false
	}
	return !c.rules.Fallback || c.controlDue(now, q, s)
}

// mayNotSee reports whether q, a new request that is asked once, may have to leave before the build
// of r has ended, and that build is old enough for q to be sent in service meanwhile (looksUpAt). If
// all such requests waited for the build, nobody would find out that the transport in service is well
// again. One in a second is enough (probeAt).
func (c *Client) mayNotSee(now time.Time, q *Call, r *candidate) bool {
	return q.fresh() && c.mayLeave(q, r) && !now.Before(c.looksUpAt(q, r))
}

// tryOn begins a trial: q, or a copy of it, is sent on the candidate.
func (c *Client) tryOn(now time.Time, q *Call, r role, control bool) *Attempt {
	c.now++ // what begins in service from here on may be the trial's control
	st := c.cand.standOrNew(q.Authority)
	a := &Attempt{Call: q, On: c.cand.id, held: true, began: c.now, start: now, control: control}
	a.moveTo(r)
	if s := c.suspect(q.Authority); s != nil {
		a.row = s.row
	}
	st.trials.add(a)
	if st.late && r == asCopy { // nobody tries it any more, and there is no verdict: see opensFor
		st.late, st.until = false, now.Add(c.trialTime(now, st))
	}
	if a.Copy() {
		q.copy = a
		c.todo.Copies = append(c.todo.Copies, a)
		return a
	}
	q.attempts++
	q.main = a
	return a
}

// tryBegins: the candidate has a trial of st. The time of the trials begins with the first of them:
// until their transport has them, it cannot answer.
func (c *Client) tryBegins(now time.Time, st *stand) {
	if st.until.IsZero() {
		limit := now.Add(c.trialTime(now, st))
		st.first, st.early, st.until = now, limit, limit
	}
}

// trialTime is how long the trials of st may take.
func (c *Client) trialTime(now time.Time, st *stand) time.Duration {
	return max(c.rules.RecreateTimeout, c.patience.ofTrial(now, st.authority))
}
