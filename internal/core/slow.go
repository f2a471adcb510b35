package core

import "time"

// Is it a stall, or is the upstream slow? A wait without an answer is a stall, and counts as
// one (streak.go), if
//
//   - the caller's deadline passes, or another timeout does, such as ResponseHeaderTimeout. A
//     dial or a TLS handshake that times out by itself is a failure, and so are a lost HTTP/2
//     ping and a connection that timed out (Classify in internal/evidence/verdict.go);
//   - it lasts longer than the authority's patience, and again after each further patience,
//     although the caller waits on;
//   - the caller leaves of its own accord, after a second and, where a longer patience was
//     learned, after half of that (leftInSilence in streak.go).
//
// A wait is seen to last longer than a patience only if the caller has at least 1.5 times the
// client's patience left (internal/patience). A caller's leaving is seen of these, of requests that
// are watched from the first attempt since they may be sent only once, and of all requests to an
// authority that is suspected. With WithPatience(0) neither is looked at.
//
// A wait for a place in the request's own connection pool or for the caller's body is no stall, nor is
// a wait that began after the caller's deadline. An authority's patience is the longest of three: the
// client's (WithPatience); twice the longest answered wait of the last 30 to 60 minutes, as it was known
// when the wait began; and what it has grown to by the rules below (of in patience.go).
//
// Whether the upstream is slow is found out once the authority is tripped, if the latest
// failure that counted was a stall, or took longer than a copy's head start (rowOf in streak.go).
// Then a copy of a request that waits goes to the candidate, while the request itself waits on in
// service, as the control (copy.go):
//
//   - The copy is answered, and the control stays silent until it has waited for twice as
//     long as the copy took, and for 100 ms after the copy's answer: the transport in service
//     is dead, and that proves the candidate, or is one of the answers that a proof takes
//     (copyAnswered, judge, prove in proof.go).
//   - The copy is answered, but what waits in service cannot be the control: the upstream may have
//     come back since it began (mayBeBack in proof.go); or it has failed, and that proves nothing;
//     or it runs on its caller's goroutine, so that its caller gets the copy's answer only after it;
//     or it waits for a place in its pool, and is excused for that (place.go). If 100 ms have not
//     brought its answer, or a quarter of the time that such a caller has left, the request is sent
//     in service once more, and that is the control (sendControl). It proves the candidate if it is
//     silent for twice as long as the copy took, and for a second: from its place on, if it has to
//     wait for one in its pool (place.go).
//   - The control is answered before that: this copy proves nothing. If the control began before
//     the copy, the upstream is slow, and the authority's patience grows (controlAnswered,
//     outwaited). The outage is over if the control began after the streak did, or if the failures
//     and stalls of other requests do not reach a threshold (served, takeBack in streak.go).
//   - The control fails before that: the copy's answer proves the candidate in the same way, if
//     the control began after the candidate was ready (copysControlFailed).
//   - The copy fails, or the caller's deadline ends both: the candidate is no better, and the
//     authority refuses it (trialFailed in proof.go has the exceptions: a deadline says nothing
//     while the trials have time, if the copy had less than two thirds of its caller's).
//   - Neither is answered: the candidate is no better. If the authority's trials are copies
//     alone, it refuses the candidate only when that is in the way of the next one (makeWay in
//     sharing.go). Each refusal by a silent authority, or because the time of the trials is over,
//     doubles the authority's patience until the outage is over (refused in patience.go).
//
// What must not be copied goes to the candidate instead. Its answer proves the candidate if
// another request with the same method, sent in service after the trial began, failed there or
// was silent for twice as long as the answer took, and for a second. If none did, the next request
// like it is sent in service, as the control (like.go).

// copyAnswered: the caller has its answer. The control goes on, and proves the candidate if it stays
// silent for long enough. Where it has failed, that proves the candidate, or the next control begins.
// There is no verdict if another answered copy waits for its own already.
func (c *Client) copyAnswered(now time.Time, st *stand, s *suspect, t *Attempt) {
	if st.answered != nil {
		return // dismiss cancels what t is beside
	}
	t.took = t.waited(now)
	switch a, f := t.Call.main, t.Call.failure; {
	case a != nil && a.bound:
		t.judgeAt = now.Add(min(answerGap, headStartOf(now, t.Call)))
	case a != nil:
		t.judgeAt = now.Add(answerGap)
		if c.isControl(now, t, a) {
			t.judgeAt = later(t.judgeAt, a.start.Add(2*t.took))
		}
	case f.on == c.current && f.began >= c.cand.ready && !c.mayBeBack(now, t, f):
		c.prove(now, st, t)
		return
	default:
		c.sendControl(now, s, t)
	}
	st.answered = t
}

// isControl reports whether a, in service beside copy t, may be the control of t: it may not if the
// upstream may have come back since a began, nor while it waits for a place and is excused for that.
func (c *Client) isControl(now time.Time, t, a *Attempt) bool {
	if a.queued {
		return !c.suspect(t.Call.Authority).excuses(now, a)
	}
	return !c.mayBeBack(now, t, failure{began: a.began, took: a.waited(t.start)})
}

// controlQueues reports whether the control of t, a copy that was answered, waits for a place. It has no
// caller, so that it waits for as long as it takes: others can be copied meanwhile.
func (t *Attempt) controlQueues() bool { return t.Call.main != nil && t.Call.main.queued }

// sendControl sends the request of t, a copy that was answered, in service once more, as the
// control.
func (c *Client) sendControl(now time.Time, s *suspect, t *Attempt) {
	q := t.Call
	if q.main != nil {
		c.callBack(q.main)
	}
	q.main = &Attempt{Call: q, On: c.current, held: true, began: c.now, start: now, under: s}
	c.todo.Copies = append(c.todo.Copies, q.main)
	t.judgeAt = now.Add(silenceFor(t.took))
}

// judge: what waits in service beside the answered copy, or since its answer, has been silent for
// long enough; or the caller of the copy waits within the transport, and has to have its answer.
func (c *Client) judge(now time.Time, st *stand) {
	t, s := st.answered, c.suspect(st.authority)
	a := t.Call.main
	if a.held { // nobody has asked the transport in service yet
		c.releaseControl(st)
		c.wake(st.authority)
		return
	}
	if a.began < t.began { // the request's own attempt, beside the copy
		due, isControl := a.start.Add(2*t.took), c.isControl(now, t, a)
		if isControl && !a.bound && now.Before(due) {
			t.judgeAt = due // there was a doubt when t was answered, and it is gone
			return
		}
		if !isControl || now.Before(due) {
			c.sendControl(now, s, t)
			return
		}
	}
	if s.excuses(now, a) && !s.hasLike(now, a.Call.Method, a.began, silenceFor(t.took)) {
		t.judgeAt = s.excusedUntil // or when a has its place
		return
	}
	c.releaseControl(st)
	c.prove(now, st, t)
}

// copysControlFailed: a, in service beside a copy that was answered, or since its answer, has failed.
func (c *Client) copysControlFailed(now time.Time, st *stand, a *Attempt, o Outcome) {
	t, s := st.answered, c.suspect(st.authority)
	after, counts := a.began > t.began, a.failsAsControl(now, o, t.took) && !o.Left
	switch {
	case counts && (after || a.began >= c.cand.ready && c.isControl(now, t, a)):
		st.answered = nil
		c.prove(now, st, t)
	case !after && !o.Left:
		c.sendControl(now, s, t)
	default:
		st.answered = nil
		c.wake(st.authority)
	}
}

// controlAnswered: the transport in service has answered the call of a trial. The
// candidate was no faster, or one event answered both: if the copy was answered first, the
// authority's patience is doubled.
func (c *Client) controlAnswered(now time.Time, q *Call, a *Attempt) {
	st := c.standOf(q)
	if st == nil {
		return
	}
	if st.answered != nil && st.answered.Call == q {
		if a.began < st.answered.began { // and not after the copy's answer: a was slow
			st.slow = true
			c.patience.noFaster(now, q.Authority, 0)
		}
		st.answered = nil
		c.wake(q.Authority)
	}
	st.missed = st.missed || st.neutral == q
	if st.try == q || st.try != nil && (st.try.Kind == Once || st.gone) && a.start.After(st.tried) {
		c.tryAnswered(now, st, a)
	}
}

// releaseControl: nobody waits any more for the control of st's answered copy.
func (c *Client) releaseControl(st *stand) {
	t := st.answered
	st.answered = nil
	if t != nil && t.Call.main != nil {
		c.callBack(t.Call.main)
	}
}

// outwaited returns the longest wait of a control whose copy has been silent for at least
// a head start: an answer to such a request may take that long. It is zero if there is no
// such control. If an answer to another request ends the outage, the patience becomes at least
// twice that long (noLongerNeeded in sharing.go).
func (st *stand) outwaited(now time.Time) (longest time.Duration) {
	for a := st.trials.first; a != nil; a = a.next {
		if control := a.Call.main; a.role == asCopy && control != nil && a.waited(now) >= headStart {
			longest = max(longest, control.waited(now))
		}
	}
	return longest
}
