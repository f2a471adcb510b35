package core

import (
	"slices"
	"time"
)

// Does a failure count? It does if what ended the attempt speaks against the transport in
// service, and if the attempt began after the failure counted before it. Classify in
// internal/evidence/verdict.go, or the user's own classifier, says whether the end was
// neutral, a stall, which is a wait without an answer (slow.go), or a failure, which is all
// else. A response of any status is an answer. The classifier can also say that the transport
// has ended. That is a failure, too, and the transport is replaced without a proof as soon as
// there is another one (Ended in events.go). What counts is decided by count:
//
//   - A neutral end does not count. It is due to the caller, the request, this machine, a
//     malformed answer, a server that has closed the connection after a GOAWAY, or a host name
//     that does not exist.
//   - Nothing counts that did not happen on the transport in service: neither a trial, nor an
//     attempt on a transport that was replaced (Failed in events.go).
//   - An end that says too little (Untyped) only raises suspicion, so that the next attempts
//     are watched. It is an error without a meaning, of an attempt that nobody watched; an
//     error that panics when it is looked at; or a stall of an attempt that nobody watched and
//     that may have waited for a place in its connection pool.
//   - A failure counts if its attempt began after the failure counted before it. Otherwise
//     both are the same event: one lost connection fails all of its streams.
//   - A stall counts, and one more after each patience for which the request keeps waiting.
//
// The core overrules the classifier in two cases (verdictOf). A caller that canceled after a
// long wait was stalled. If the transport in service panicked or ended the goroutine, the end
// is neutral, since nobody knows the cause. A transport that reports that it has ended
// needs no count (Ended in events.go).
//
// What counts trips the authority
//
//   - at the threshold of failures (WithThreshold, 3), if at least half of the attempts that began
//     under suspicion have failed: of those that are over, and those that have lasted for twice as
//     long as the longest failure on a connection (failuresTrip, mostFailed). One with a neutral end
//     is left out unless it took as long as the longest failure (cleared);
//   - at the threshold of stalls, if the first of them is StallSpan old by then, or when the next
//     failure or stall comes (WithStallThreshold, 3 and 1 s; stallsTrip).
//
// When the count starts over is said above served.

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
	return o.Left && o.Verdict == Neutral && c.rules.Patience > 0 && o.Silence >= c.patience.ofLeaving(now, now.Add(-o.Silence), a.Call.Authority)
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
	s.see(a.Call.Witness)
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
	same := o.Verdict == Failure && a.began < s.counted
	s.evidence = c.now
	if a.over && !o.cutShort() { // what still waits is a control once its head start has passed: see hasLike
		s.failedLike(a)
	}
	if !same {
		s.row = rowOf(now, a, o)
		c.recent.didNotHelp(now, s.authority)
	}
	switch {
	case o.Verdict == Stall:
		s.stalled(now)
	case !same:
		s.failures++
		s.counted = c.now
	}
	if s.state != Tripped && (c.failuresTrip(now, s) || c.stallsTrip(now, s)) {
		s.heldFor = s.longestHeld(now, a)
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
	if a.under == s && !a.held && a.waited(now) >= s.took {
		s.ended++
	}
	if s.state == Suspected && s.failures+s.stalls == 0 && !o.Left {
		c.acquit(now, s)
	}
}

func (s *suspect) stalled(now time.Time) {
	if s.stalls == 0 {
		s.firstStall = now
	}
	s.stalls++
}

// failuresTrip: the threshold is reached, and most of what was tried has failed.
func (c *Client) failuresTrip(now time.Time, s *suspect) bool {
	return s.failures >= c.rules.Threshold && s.mostFailed(now)
}

// mostFailed reports whether at least half of the attempts that began under suspicion have
// failed. It looks at those that have ended, and at those that have been under way for more
// than slack times the longest failure. One failure in a hundred beside slow answers is no
// outage. An attempt has not outlasted anything while its transport does not have it yet, or
// looks for a connection: where two hundred begin at once on a busy machine, each fails only
// when its turn has come.
func (s *suspect) mostFailed(now time.Time) bool {
	tried := s.ended
	for a := s.flying.first; a != nil; a = a.next {
		if a.under == s && !a.held && !a.looks() && a.waited(now) > slack*s.took {
			tried++
		}
	}
	return 2*s.lost >= tried
}

// mayYetTrip: the threshold is reached, and most of what was tried will have failed if all that is
// still under way fails.
func (c *Client) mayYetTrip(s *suspect) bool {
	if s.failures < c.rules.Threshold {
		return false
	}
	undecided := 0
	for a := s.flying.first; a != nil; a = a.next {
		if a.under == s {
			undecided++
		}
	}
	return 2*(s.lost+undecided) >= s.ended+undecided
}

func (c *Client) stallsTrip(now time.Time, s *suspect) bool {
	return c.rules.Stalls > 0 && s.stalls >= c.rules.Stalls && now.Sub(s.firstStall) >= c.rules.StallSpan
}

func (c *Client) trip(now time.Time, s *suspect) {
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
	s.moveTo(Tripped)
	s.tripAt = c.now
	c.wake(s.authority)
	c.excuse(now, s)
	c.sweepAt = first(c.sweepAt, s.expiry())
	c.report(now, Report{What: HasTripped, About: s.about()})
}

// rowOf is how the end of a looked. What took longer to fail than the head start of a copy was
// silent: a trial that begins only then would have less of the caller's time than a copy.
func rowOf(now time.Time, a *Attempt, o Outcome) row {
	switch {
	case o.Verdict == Stall || a.waited(now) >= headStartOf(a.start, a.Call):
		return silent
	case o.Unsent:
		return noConnection
	}
	return broke
}

// see keeps the first few requests that failed or were silent, each once.
func (s *suspect) see(witness any) {
	if witness != nil && len(s.witnesses) < maxWitnesses && !slices.Contains(s.witnesses, witness) {
		s.witnesses = append(s.witnesses, witness)
	}
}

// failedLike notes that a, which has failed in service, may be the control of a request of the same
// method that is asked once. Of several the one that began last is noted.
func (s *suspect) failedLike(a *Attempt) {
	method := a.Call.Method
	for i := range s.methods {
		if m := &s.methods[i]; m.method == method {
			m.began = max(m.began, a.began)
			return
		}
	}
	if len(s.methods) < maxMethods {
		s.methods = append(s.methods, methodFailure{method, a.began})
	}
}

// hasFailedSince reports whether an attempt of this method failed in service that began
// at the given instant or after it.
func (s *suspect) hasFailedSince(method string, at Instant) bool {
	return slices.ContainsFunc(s.methods, func(m methodFailure) bool { return m.method == method && m.began >= at })
}

// When does a streak end? It begins when the attempt that opens it began, and not when that
// failed. It ends
//
//   - with an answer in service to an attempt that began later (served);
//   - with the answer to an earlier attempt that was counted as stalled while it waited. Its
//     stalls are subtracted, and the streak ends if nothing is left; or, if the authority has
//     tripped, if failures and stalls are both below their thresholds (takeBack);
//   - with a neutral end, if nothing has counted yet and the caller is still there (cleared);
//   - with each promotion: all streaks start over on the new transport, but the outage of an
//     authority that had tripped lasts until its first answer there (renew in suspect.go);
//   - with time: an authority that has not tripped is forgotten five minutes after its latest
//     failure or stall, and one with an outage ten minutes after its latest request. Neither
//     is while a request waits that was a stall of the streak (expiry, sweep there). One is
//     forgotten sooner if there are more than 256 of them (evict there).
//
// Whether an attempt began later is told by an Instant (core.go), and not by the time of day.
// Two attempts begin at the same instant unless there is an event between them: a failure or
// stall in service, the start of a build, its success, a trial, its answer, a proof, a refusal, a
// promotion, or the end of the transport in service.

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
	m := c.recent.use(now, s.authority)
	m.served = max(m.served, a.began)
	c.excuse(now, s)
	if a.began > s.opened || c.takeBack(s, a) {
		c.acquit(now, s)
	}
}

// takeBack: a was answered, so it was only slow whenever it was counted as silent. takeBack
// subtracts those stalls. It reports whether nothing that counts is left or, if s has
// tripped, whether failures and stalls are both below their thresholds.
func (c *Client) takeBack(s *suspect, a *Attempt) bool {
	if a.silent.in != s {
		return false
	}
	s.stalls -= a.silent.n
	if s.state == Tripped {
		return s.failures < c.rules.Threshold && s.stalls < c.rules.Stalls
	}
	return s.failures+s.stalls == 0
}
