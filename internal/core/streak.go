package core

import (
	"slices"
	"time"
)

// Does a failure count? What ended an attempt is read first, by Classify in
// internal/evidence/verdict.go or the user's own classifier. It is neutral if it was the
// caller's doing, the request's, or this machine's; a stall if it was a wait without an
// answer; else a failure. A response of any status is an answer. The core overrules that in
// two cases (verdictOf). A caller that canceled after a long wait was stalled. If a transport
// in service never returned, the end is neutral, since nobody knows whose fault that is. A
// transport that says itself that it has ended needs no count (Ended in events.go). For all
// else, count decides what an attempt's end does to its authority:
//
//   - What is neutral counts for nothing, and so does what did not end on the transport in
//     service: a trial, or an attempt on a transport that was replaced (Failed in events.go).
//   - What says too little (Untyped) raises suspicion, so that the next attempts are watched,
//     and brings the authority no nearer to the threshold: an error without a meaning, of an
//     attempt that nobody watched; an error that panics when it is looked at; and a stall of
//     an attempt that nobody watched and that may have waited for a place in its pool.
//   - A failure counts if its attempt began after the failure counted before it. Otherwise
//     it is the same event: one lost connection fails all of its streams.
//   - Every other stall counts. A request that waits on is one more after each patience.
//
// The authority trips at the threshold, if at least half of its attempts under suspicion
// have failed (failuresTrip), or at the threshold of stalls, if they span a second
// (stallsTrip).
//
// A streak began when its first attempt did. An answer to an attempt that began later ends
// it (served); so do five minutes without a failure (expiry in suspect.go) and, where it has
// not tripped the authority, each promotion (renew there). An answer takes back the stalls
// that its own request was counted for (takeBack). A streak in which nothing has counted yet
// ends with a neutral end, too, of a caller that is still there (cleared).

// verdictOf is what an attempt's end says of its transport, where the core knows better
// than whoever read its error.
func (c *Client) verdictOf(now time.Time, a *Attempt, o Outcome) Outcome {
	if o.Lost && a.role == inService {
		o.Verdict = Neutral
	}
	if c.leftInSilence(now, a, o) {
		o.Verdict, o.Trigger, o.Untyped = Stall, Silence, false
	}
	return o
}

// leftInSilence reports whether the caller of a has left of itself after a wait that
// was long for its authority: that is a stall, as its deadline would have been.
func (c *Client) leftInSilence(now time.Time, a *Attempt, o Outcome) bool {
	return o.Left && o.Verdict == Neutral && c.rules.Patience > 0 && o.Silence >= c.patience.ofLeaving(now, a.Call.Authority)
}

// count holds an attempt's end in service against its authority, if it was a
// failure or a stall.
func (c *Client) count(now time.Time, a *Attempt, o Outcome) {
	s := c.suspect(a.Call.Authority)
	if o.Verdict == Neutral {
		c.cleared(now, s, a, o)
		return
	}
	s = c.suspectOrNew(now, a.Call.Authority)
	s.failed, s.asked, s.trigger = now, now, o.Trigger // whoever was in flight was still asking
	if a.silent.n == 0 {
		s.see(a.Call.Witness) // once, however often it is silent
	}
	if s.opened == 0 {
		s.opened, s.from = a.began, c.now
	}
	if a.under == s && a.over {
		s.ended++
		if o.Verdict == Failure {
			s.lost++
		}
	}
	c.now++ // what begins from here on is later, and its answer ends the streak
	if o.Untyped {
		return // somebody will look closer: attempts under suspicion are watched
	}
	if o.Verdict == Failure {
		s.took = max(s.took, a.waited(now))
	}
	// The attempt began before the latest counted failure: it reports that same
	// event, seen by another request.
	same := o.Verdict == Failure && s.failures > 0 && a.began < s.counted
	s.evidence = c.now
	if a.over { // who waits on is a control by its head start, and only once: see hasLike
		s.failedLike(a.Call.Method, c.now)
	}
	if !same {
		s.row = rowOf(now, a, o)
	}
	switch {
	case o.Verdict == Stall:
		c.stalled(now, s)
	case !same:
		s.failures++
		s.counted = c.now
	}
	if s.state != Tripped && (c.failuresTrip(now, s) || c.stallsTrip(now, s)) {
		c.trip(now, s)
	}
	if s.state == Tripped && s.row == silent {
		c.attend(s)
	}
}

// cleared: an attempt had a neutral end. If nothing has counted yet, the suspicion rests on
// errors that nobody had watched, and is dropped.
func (c *Client) cleared(now time.Time, s *suspect, a *Attempt, o Outcome) {
	if s == nil {
		return
	}
	if a.under == s && a.waited(now) >= s.took {
		s.ended++
	}
	if s.state == Suspected && s.failures+s.stalls == 0 && !o.Left {
		c.acquit(now, s)
	}
}

func (c *Client) stalled(now time.Time, s *suspect) {
	if s.stalls == 0 {
		s.firstStall = now
	}
	s.stalls++
	c.recent.didNotHelp(now, s.authority)
}

// failuresTrip: the threshold is reached, and most of what was tried has failed.
func (c *Client) failuresTrip(now time.Time, s *suspect) bool {
	return s.failures >= c.rules.Threshold && s.mostFailed(now)
}

// mostFailed reports whether at least half of the attempts that began under
// suspicion have failed, of those that have ended or lasted longer than failures
// take, which is not to the millisecond. One failure in a hundred beside slow
// answers is no outage.
func (s *suspect) mostFailed(now time.Time) bool {
	tried := s.ended
	for a := s.flying.first; a != nil; a = a.next {
		if a.under == s && a.waited(now) > slack*s.took {
			tried++
		}
	}
	return 2*s.lost >= tried
}

func (c *Client) stallsTrip(now time.Time, s *suspect) bool {
	return c.rules.Stalls > 0 && s.stalls >= c.rules.Stalls && now.Sub(s.firstStall) >= c.rules.StallSpan
}

func (c *Client) trip(now time.Time, s *suspect) {
	c.recent.didNotHelp(now, s.authority)
	c.paceTrip(now, s.authority)
	if !s.outage() {
		s.tripped = now
		if c.recent.calm(now, s.authority) {
			s.youngUntil = now.Add(calm)
		}
	}
	if s.state == Healing {
		s.refusals++ // the transport that was promoted has failed, too
	}
	s.stand(Tripped)
	s.tripAt = c.now
	c.sweepAt = first(c.sweepAt, s.expiry())
	c.report(now, Report{What: HasTripped, About: s.about()})
}

func rowOf(now time.Time, a *Attempt, o Outcome) row {
	switch {
	case o.Verdict == Stall || a.waited(now) >= quickly:
		return silent
	case o.Unsent:
		return noConnection
	}
	return broke
}

func (s *suspect) see(witness any) {
	if witness != nil && len(s.witnesses) < maxWitnesses {
		s.witnesses = append(s.witnesses, witness)
	}
}

func (s *suspect) failedLike(method string, at Instant) {
	for i := range s.methods {
		if s.methods[i].method == method {
			s.methods[i].at = at
			return
		}
	}
	if len(s.methods) < maxMethods {
		s.methods = append(s.methods, methodFailure{method, at})
	}
}

// hasFailedSince reports whether a request of this method failed in service after
// the given instant.
func (s *suspect) hasFailedSince(method string, at Instant) bool {
	return slices.ContainsFunc(s.methods, func(m methodFailure) bool { return m.method == method && m.at > at })
}

// served: an answer in service. It ends a streak that began before its attempt.
func (c *Client) served(now time.Time, a *Attempt) {
	c.patience.answered(now, a.Call.Authority, a.waited(now))
	s := c.suspect(a.Call.Authority)
	if s == nil {
		return
	}
	if a.under == s {
		s.ended++
	}
	if a.began > s.opened || c.takeBack(s, a) {
		c.acquit(now, s)
	}
}

// takeBack: a was answered, so that it was slow each time that it was counted for
// silent. It reports whether nothing is left then that counts.
func (c *Client) takeBack(s *suspect, a *Attempt) bool {
	if a.silent.in != s || a.silent.n == 0 {
		return false
	}
	s.stalls -= a.silent.n
	if s.state == Tripped {
		return s.failures < c.rules.Threshold && s.stalls < c.rules.Stalls
	}
	return s.failures+s.stalls == 0
}
