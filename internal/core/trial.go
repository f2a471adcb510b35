package core

import (
	"slices"
	"time"
)

// The table of trials: an authority's row, which is how its latest counted failure
// looked, says how its requests try a candidate, and what proves it.
//
//	row          | takes                     | is asked                                    | the candidate is proven by
//	-------------+---------------------------+---------------------------------------------+----------------------------
//	noConnection | repeatable, or unsent     | in service; if that fails unsent, the candi-| an answer
//	             |                           | date                                        |
//	broke        | repeatable                | in service; if that fails, the candidate    | an answer
//	silent       | copyable                  | in service, and a copy on the candidate     | the copy's answer, if the
//	             |                           | after a head start (copy.go)                | control stays silent
//	any          | what its row does not take| the candidate; one at a time in service     | an answer, if one like it
//	             |                           | (askedOnce, askOnce)                        | failed in service since

// tryOn begins a trial: q, or a copy of it, is sent on the candidate.
func (c *Client) tryOn(now time.Time, q *Call, r role, control bool) *Attempt {
	st := c.cand.standOrNew(q.Authority)
	a := &Attempt{Call: q, On: c.cand.id, role: r, began: c.now, start: now, control: control}
	if s := c.suspect(q.Authority); s != nil {
		a.row = s.row
	}
	st.trials.add(a)
	if st.until.IsZero() {
		st.first = now
		st.until = now.Add(max(c.rules.RecreateTimeout, c.patience.ofTrial(now, q.Authority)))
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

// try makes q the trial of its authority, which holds back the others for a while.
func (c *Client) try(now time.Time, q *Call, control bool) Step {
	a := c.tryOn(now, q, onTrial, control)
	if st := c.cand.stand(q.Authority); st.trials.n == 1 {
		st.holder = a
	}
	return Step{Do: Try, Attempt: a}
}

// stopHolding: the trial of st goes on, and the next may begin.
func (c *Client) stopHolding(st *stand) {
	st.holder = nil
	c.wake(st.authority)
}

// askedOnce reports whether q gets a single attempt, on the transport in service or
// on the candidate: what the row of its authority does not take in the table of
// trials.
func askedOnce(q *Call, s *suspect) bool {
	switch {
	case q.Sealed:
		return true
	case s.row == noConnection:
		return false // it is expected to fail unsent
	case s.row == broke:
		return q.Kind == Once
	}
	return q.Kind != Copyable
}

// hasEvidence: an attempt of q failed in service since its authority last refused a
// candidate; or q can be asked only once, and another's did.
func (c *Client) hasEvidence(q *Call, s *suspect) bool {
	if f := q.failure; !f.none() {
		return f.on == c.current && f.at > s.refused && f.again
	}
	return askedOnce(q, s) && s.evidence > s.refused
}

// hasControl: the transport in service had its chance with q since the candidate
// is ready, and failed: without a connection, where it gave nobody one. That it may have
// been sent before, on a connection from the pool that was dead, is no matter here.
func (c *Client) hasControl(q *Call, s *suspect) bool {
	f := q.failure
	if f.none() || f.on != c.current || f.began < c.cand.ready || !f.again {
		return false
	}
	return s.row != noConnection || f.apart
}

// trialAnswered: an attempt that waits for a verdict has been answered; it is out of
// its call.
func (c *Client) trialAnswered(now time.Time, st *stand, t *Attempt) {
	q, s := t.Call, c.suspect(t.Call.Authority)
	if st.holder == t {
		st.holder = nil
	}
	switch {
	case t.role == asPlanned || st.try == q || s == nil:
		c.promote(now, t) // an answer replaces what works
	case t.role == asCopy:
		c.copyAnswered(now, st, s, t)
	case t.control || c.hasLike(now, s, t) || s.turned() && !c.controlFirst(now, s, q.Method):
		c.prove(now, st, t)
	default:
		if len(st.served) < maxMethods && !st.hasServed(q.Method) {
			st.served = append(st.served, q.Method)
		}
		c.wake(q.Authority) // the next asks the transport in service
	}
}

// controlFirst: where a proof takes several answers, every other control comes
// before its trial, lest two kinds of request that take turns be told apart for
// two transports.
func (c *Client) controlFirst(now time.Time, s *suspect, method string) bool {
	since := Attempt{Call: &Call{Method: method}, began: s.proved, start: s.provedAt}
	return s.turned() && !c.hasLike(now, s, &since)
}

// turned reports whether it is the control's turn to be first.
func (s *suspect) turned() bool { return s.proofs%2 == 1 }

// hasLike: something of the same method failed in service, or passed its first
// second of silence there, since t began.
func (c *Client) hasLike(now time.Time, s *suspect, t *Attempt) bool {
	if s.hasFailedSince(t.Call.Method, t.began) {
		return true
	}
	for a := s.flying.first; a != nil; a = a.next {
		passed := a.start.Add(headStart)
		if a.On == c.current && a.Call.Method == t.Call.Method && passed.After(t.start) && !now.Before(passed) {
			return true
		}
	}
	return false
}

// controlAnswered: the transport in service has answered the call of a trial. The
// candidate was no faster, or one event answered both.
func (c *Client) controlAnswered(now time.Time, q *Call, a *Attempt) {
	st := c.standOf(q)
	if st == nil {
		return
	}
	if st.answered != nil && st.answered.Call == q {
		st.answered, st.slow = nil, true
		c.patience.noFaster(now, q.Authority, 0)
		c.wake(q.Authority)
	}
	if st.try == q || st.try != nil && st.try.Kind == Once && a.start.After(st.tried) {
		c.tryAnswered(now, st, a)
	}
}

// controlFailed: the transport in service has failed the call of a trial.
func (c *Client) controlFailed(now time.Time, q *Call, began Instant, o Outcome) {
	st := c.standOf(q)
	if st == nil {
		return
	}
	if t := st.answered; t != nil && t.Call == q {
		st.answered = nil
		if began >= c.cand.ready && o.Verdict != Neutral {
			c.prove(now, st, t)
		} else {
			c.wake(q.Authority)
		}
		return
	}
	if st.try == q && st.tryLost {
		st.try, st.tryLost = nil, false // both failed: it says nothing
	}
}

// standOf returns what q's authority has made of the Ready candidate, or nil.
func (c *Client) standOf(q *Call) *stand {
	if r := c.cand; r != nil && r.stage == Ready {
		return r.stand(q.Authority)
	}
	return nil
}

// prove: t was answered, and its control was not. After promotions that did not
// help, more than one such answer is asked for. They may be of several candidates,
// since one may have to make way for another authority's before it has them all.
func (c *Client) prove(now time.Time, st *stand, t *Attempt) {
	if s := c.suspect(st.authority); s != nil {
		s.proved, s.provedAt = c.now, now
		if s.proofs++; s.proofs < c.recent.answers(now, st.authority) {
			c.wake(st.authority)
			return
		}
	}
	c.promote(now, t)
}

// trialFailed: a trial is over, and unproven.
func (c *Client) trialFailed(now time.Time, r *candidate, st *stand, t *Attempt, o Outcome) {
	if st.holder == t {
		st.holder = nil
	}
	if s := c.suspect(st.authority); s != nil && o.Verdict != Neutral {
		s.proofs = 0 // they are to come in a row
	}
	switch {
	case st.try == t.Call:
		if t.role == onTrial {
			t.Call.attempts-- // it could trip nothing
		}
		if o.Verdict == Neutral {
			st.try = nil // the next one tries
			return
		}
		st.tryLost, st.kind = true, o.Trigger
		c.tryJudged(now, st)
	case o.Verdict == Stall && now.Before(st.first.Add(headStart)):
		c.wake(st.authority) // its caller had no time: that is no verdict yet
	case o.Verdict == Neutral || st.trials.n > 0 || st.answered != nil || st.refused:
		c.wake(st.authority) // the next one goes on
	default:
		c.refuse(now, r, st, o.Trigger)
	}
}

// refuse: r did not help the authority of st. It stays for the others.
func (c *Client) refuse(now time.Time, r *candidate, st *stand, kind string) {
	c.now++
	st.refused = true
	about := About{Authority: st.authority}
	if s := c.suspect(st.authority); s != nil {
		s.refused, s.proofs = c.now, 0
		s.refusals++
		about = s.about()
		if s.row == silent || kind == TrialTimeout {
			c.patience.noFaster(now, st.authority, 0)
		}
	}
	c.report(now, Report{What: HasRefused, About: about, Candidate: r.id, Kind: kind})
	c.releaseTrials(st)
	if !r.planned {
		c.advance(now, r)
	}
	c.wake(st.authority)
	if !c.wanted(r) {
		c.end(now, kind)
	}
}

// callBack cancels an attempt. Its call is as if the attempt had not been made: it
// asks again, if it has nothing else under way and its caller still waits. Who
// waited for what it tries goes on.
func (c *Client) callBack(a *Attempt) {
	if a.role == onTrial && a.On != c.current {
		a.Call.attempts--
	}
	if st := c.detach(a); st != nil {
		c.wake(st.authority)
	}
	if q := a.Call; q.main == nil && q.copy == nil {
		q.failure = failure{}
	}
	if i := slices.Index(c.todo.Copies, a); i >= 0 {
		c.todo.Copies = slices.Delete(c.todo.Copies, i, i+1) // it was not sent yet
		return
	}
	c.todo.Recall = append(c.todo.Recall, a)
}

// callBackAll calls back the trials of an authority that the transport in service
// has answered, but for those that may have been processed.
func (c *Client) callBackAll(l *attempts) {
	for a := l.first; a != nil; a = l.first {
		a.remove()
		if a.Copy() || a.unsent() || a.Call.Kind != Once && !a.Call.Sealed {
			c.callBack(a)
		}
	}
}
