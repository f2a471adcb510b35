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
// The second holds for requests whose callers have at least 1.5 times the client's patience left
// (internal/patience). The third holds for these, for those that are watched from the first
// attempt since they may be sent only once, and for all those of an authority that is suspected.
//
// With WithPatience(0) only the first of these holds. A wait for a place in the request's own
// connection pool or for the caller's body is no stall, nor is one that began after the
// caller's deadline. An authority's patience is the client's (WithPatience) or, if that is
// longer, twice the longest answered wait of the last 30 to 60 minutes, or what it has grown
// to by the rules below (of in memory.go).
//
// Whether the upstream is slow is found out once the authority is tripped, if the latest
// failure that counted was a stall, or took longer than a copy's head start (rowOf in streak.go).
// Then a copy of a request that waits goes to the candidate, while the request itself waits on in
// service, as the control (copy.go):
//
//   - The copy is answered, and the control stays silent until it has waited for twice as
//     long as the copy took, and for 100 ms after the copy's answer: the transport in service
//     is dead, and that proves the candidate, or is one of the answers that a proof takes
//     (copyAnswered, judge, prove in proof.go), unless the upstream may have come back after the
//     control had begun: then the next copy has a control that began later (mayBeBack there).
//   - The control is answered before that: the upstream is slow, this copy proves nothing, and
//     the authority's patience grows (controlAnswered, outwaited). The outage is over if
//     the control began after the streak did, or if the failures and stalls of other requests
//     do not reach a threshold (served, takeBack in streak.go).
//   - The control fails before that: the copy's answer proves the candidate in the same way, if
//     the control began after the candidate was ready (controlFailed in proof.go).
//   - The copy fails, or the caller's deadline ends both: the candidate is no better, and the
//     authority refuses it (trialFailed in proof.go has the exceptions). A deadline says
//     nothing if the copy had less than two thirds of its caller's time (left in events.go).
//   - Neither is answered: the candidate is no better. If the authority's trials are copies
//     alone, it refuses the candidate only when that is in the way of the next one (makeWay in
//     sharing.go). Each refusal by a silent authority, or because the time of the trials is over,
//     doubles the authority's patience until the outage is over (refused in memory.go).
//
// What must not be copied goes to the candidate instead. Its answer proves the candidate if
// another request with the same method, sent in service after the trial began, failed there or
// was silent for a second. If none did, the next request like it is sent in service, as the
// control (hasLike in proof.go).

// copyAnswered: the caller has its answer. The control goes on, and proves the
// candidate if it stays silent for long enough. There is no verdict, and the control is
// canceled, if another answered copy waits for its verdict already, or if the caller waits
// within its transport and the verdict would come too late for it to read its answer.
func (c *Client) copyAnswered(now time.Time, st *stand, s *suspect, t *Attempt) {
	s.copyGap = 0
	control, f := t.Call.main, t.Call.failure
	switch {
	case control != nil && st.answered == nil:
		t.judgeAt = later(control.start.Add(2*t.waited(now)), now.Add(answerGap))
		if control.bound && t.judgeAt.After(now.Add(headStartOf(now, t.Call))) {
			c.wake(s.authority) // its caller would wait for the verdict, and may have no time to read then
			return              // dismiss cancels the control
		}
		st.answered = t
	case control != nil: // another answered copy waits for its verdict already: dismiss cancels this control
	case f.on != c.current || f.began < c.cand.ready:
		c.wake(s.authority)
	case c.mayBeBack(now, s, st, t, f):
		c.serves(now, s, st, t)
	default:
		c.prove(now, st, t)
	}
}

// judge: the control of the answered copy has been silent for long enough.
func (c *Client) judge(now time.Time, r *candidate, st *stand) {
	t := st.answered
	began := t.Call.main.began
	c.releaseControl(st)
	c.copyProves(now, st, t, began)
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
		st.answered, st.slow = nil, true
		c.patience.noFaster(now, q.Authority, 0)
		c.wake(q.Authority)
	}
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
