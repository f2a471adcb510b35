package core

import (
	"slices"
	"time"
)

// What proves a candidate? An answer, if the transport in service gives none (trialAnswered):
//
//   - to a request whose latest attempt in service began after the candidate was ready, and
//     failed (hasControl in trial.go), unless the upstream may have come back since (mayBeBack);
//   - to a copy, whose control stays silent or fails (slow.go). Where the upstream may have come
//     back, the control begins after the copy's answer;
//   - to a request that is asked once (askedOnce in trial.go), if another of the same method was
//     sent in service after the trial began, and failed or was silent for a second there
//     (hasLike). If there is none, the next one like it is sent in service, and the candidate is
//     proven if that one fails or is silent for a second (controlFailed; passed in clock.go).
//     The same holds for an answer that may be due to an upstream that came back (serves). Where
//     that next one does not come within four minutes, the answer is proof enough, if nobody was
//     served otherwise meanwhile, by the transport in service or by a fallback (believe).
//
// Where a candidate was planned, the answer to a request whose authority was well when it tried
// the candidate is enough (plan.go).
//
// A promotion for an authority did not help if there is a stall of that authority, or it trips,
// within a minute. The authority's next proof then takes four answers in a row, and after another
// such promotion eight, until a minute has passed without a stall or a trip (prove; didNotHelp in
// memory.go). If a trial fails, its authority refuses the candidate, with the exceptions that
// trial.go names (trialFailed).

// prove: t was answered, and its control was not. After promotions that did not
// help, more than one such answer is asked for. They may be of several candidates,
// since one may have to make way for another authority's before it has them all.
func (c *Client) prove(now time.Time, st *stand, t *Attempt) {
	if s := c.suspect(st.authority); s != nil {
		c.now++ // what begins from here on may be the next one's control
		s.proved = c.now
		if s.proofs++; s.proofs < c.recent.answers(now, st.authority) {
			c.wake(st.authority)
			return
		}
	}
	c.promote(now, t, true)
}

// trialAnswered: an attempt that waits for a verdict has been answered; it is out of
// its call.
func (c *Client) trialAnswered(now time.Time, st *stand, t *Attempt) {
	s := c.suspect(t.Call.Authority)
	if s != nil && s.up == 0 {
		s.up = c.now + 1
	}
	c.now++ // what begins from here on meets an upstream that is up
	switch {
	case t.role == asPlanned || st.isTry(t) || s == nil:
		c.promote(now, t, false) // an answer replaces what works
	case t.role == asCopy:
		c.copyAnswered(now, st, s, t)
	case c.isProof(now, s, t):
		c.prove(now, st, t)
	default:
		c.serves(now, s, st, t)
	}
}

// isProof reports whether t, which is no copy, had a control when it was answered: its own, one
// like it, or, every second time, one that went first.
func (c *Client) isProof(now time.Time, s *suspect, t *Attempt) bool {
	q := t.Call
	return t.control && !c.mayBeBack(now, t, q.failure) ||
		c.hasLike(now, s, q.Method, s.trusts(t)) ||
		s.turned() && !c.controlFirst(now, s, q.Method)
}

// serves: t was answered, and has no control that proves anything. The next attempt like t in
// service is one: if t had none, from the trial's beginning on, and if the upstream may have come
// back, from the answer on.
func (c *Client) serves(now time.Time, s *suspect, st *stand, t *Attempt) {
	s.copyAt = now
	since := t.began
	if t.control {
		since = c.now
	}
	if len(st.served) < maxMethods && !st.hasServed(t.Call.Method) {
		st.served = append(st.served, answeredMethod{t.Call.Method, since, now.Add(doubtFor)})
	}
	c.wake(s.authority)
}

// mayBeBack reports whether t may have been answered because the upstream came back after the
// control of t had met its outage. That may be so
//
//   - if the control took two seconds to fail, or, where it is a copy's, began two seconds before t;
//   - if it took 100 ms, and a candidate failed the authority in this outage, or was silent for a
//     second about a trial that is older than t;
//   - if it took 100 ms, and a candidate failed the authority in an outage that ended within the
//     last minute.
//
// It is not so if a candidate had answered the authority before the control began. Nor are the
// first two if the transport in service has answered a later request of the authority: what is
// silent all the same is on a connection that is dead.
func (c *Client) mayBeBack(now time.Time, t *Attempt, control failure) bool {
	s, st := c.suspect(t.Call.Authority), c.standOf(t.Call)
	if s.up != 0 && control.began >= s.up || control.took < answerGap {
		return false
	}
	if c.recent.wasDown(now, s.authority) {
		return true
	}
	older := st.trials.first
	silent := older != nil && older.began < t.began && older.waited(now) >= headStart
	return (control.took >= longAgo || silent || s.refusals > 0) && !c.recent.servedSince(s.authority, control.began)
}

// hasLike: something of this method that began at that instant or later failed in service, or has
// been silent there for a second.
func (c *Client) hasLike(now time.Time, s *suspect, method string, since Instant) bool {
	if s.hasFailedSince(method, since) {
		return true
	}
	for a := s.flying.first; a != nil; a = a.next {
		if a.Call.Method == method && a.began >= since && a.waited(now) >= headStart {
			return true
		}
	}
	return false
}

// trusts is the instant from which on what is like t is its control. What began before t may have
// met an outage of the upstream that was over when t began, unless a candidate had answered before
// that. A failure is the control of one answer.
func (s *suspect) trusts(t *Attempt) Instant {
	if s.up != 0 {
		return min(max(s.up, s.proved), t.began)
	}
	return t.began
}

// controlFirst: where a proof takes several answers, the control goes first every second
// time. Otherwise, if good and bad requests take turns, the trials could get the good ones
// and the controls the bad ones, and a candidate that is no better would look proven.
func (c *Client) controlFirst(now time.Time, s *suspect, method string) bool {
	return s.turned() && !c.hasLike(now, s, method, s.proved)
}

// turned reports whether it is the control's turn to be first.
func (s *suspect) turned() bool { return s.proofs%2 == 1 }

// controlFailed: what failed in service may be the control of its own call's copy, or of what
// the candidate has answered of its method.
func (c *Client) controlFailed(now time.Time, a *Attempt, o Outcome) {
	q := a.Call
	if s := c.suspect(q.Authority); s != nil && s.probe == a {
		s.probe = nil
	}
	st := c.standOf(q)
	switch {
	case st == nil:
	case st.answered != nil && st.answered.Call == q:
		c.copysControlFailed(now, st, a, o)
	case o.Verdict != Neutral && st.servedBefore(a) && !st.refused:
		c.proveServed(now, st, q.Method)
	case st.tryLost && !(o.Left && o.Verdict == Neutral):
		c.untry(q) // both failed: it says nothing
	}
}

// An answeredMethod is a method of which the candidate answered a request whose control is still
// to come.
type answeredMethod struct {
	method string
	began  Instant   // from then on an attempt can be that control
	until  time.Time // it is waited for; zero: without end
}

// hasServed reports whether a request of this method was answered whose control is still to come.
func (st *stand) hasServed(method string) bool {
	return st != nil && slices.ContainsFunc(st.served, func(m answeredMethod) bool { return m.method == method })
}

// servedBefore reports whether a, which is in service, can be the control of a request that the
// candidate answered: it has the same method, and began late enough (serves).
func (st *stand) servedBefore(a *Attempt) bool {
	return st != nil && slices.ContainsFunc(st.served, func(m answeredMethod) bool {
		return m.method == a.Call.Method && a.began >= m.began
	})
}

// proveServed: the control of a request that the candidate has answered failed, or stayed
// silent. That answer is a proof, or one of those that a proof takes.
func (c *Client) proveServed(now time.Time, st *stand, method string) {
	st.served = nil
	c.prove(now, st, &Attempt{Call: &Call{Authority: st.authority, Method: method}})
}

// believe: the first answer in st.served has waited for its control for as long as it does. It
// is a proof, unless somebody has been served otherwise meanwhile.
func (c *Client) believe(now time.Time, st *stand) {
	m := &st.served[0]
	m.until = time.Time{}
	if c.answered < m.began {
		c.proveServed(now, st, m.method)
	}
}

// trialFailed: a trial is over, and unproven; it is out of its call.
func (c *Client) trialFailed(now time.Time, r *candidate, st *stand, t *Attempt, o Outcome) {
	if s := c.suspect(st.authority); s != nil && o.Verdict != Neutral {
		s.proofs = 0 // they are to come in a row
	}
	switch {
	case st.isTry(t):
		if t.role == onTrial {
			t.Call.attempts-- // it could trip nothing
			if o.Left {
				c.tryLeft(now, st, t, o)
				return
			}
		}
		if q := t.Call; o.Verdict == Neutral || q.main == nil && q.failure.on == c.current {
			c.untry(q) // it says nothing, nor does it where both have failed: the next one tries
			return
		}
		st.tryLost, st.kind = true, o.Trigger
		c.tryJudged(now, st)
	case o.Verdict == Stall && st.tooEarly(now, t):
		st.owed = st.owed || !t.control && !t.Copy() && !now.Before(st.first.Add(headStart))
		c.wake(st.authority) // its caller had no time: that is no verdict yet
	case o.Verdict == Neutral || st.trials.n > 0 || st.answered != nil || st.refused:
		c.wake(st.authority) // the next one goes on
	default:
		c.refuse(now, r, st, o.Trigger)
	}
}

// tooEarly reports whether t, which has stalled, had no chance: its authority has tried the
// candidate for less than a second; or for less than a trial's time, and t asked its transport
// for a connection and got none, or had little of its caller's time. A transport goes on with a
// dial when its caller has left, and the next trial may find the connection made. The next trial
// may also have more time, since its caller has no build to wait for.
func (st *stand) tooEarly(now time.Time, t *Attempt) bool {
	return now.Before(st.first.Add(headStart)) || now.Before(st.early) && (t.looks() || t.hurried(now))
}

// hurried reports whether a, a trial that its caller's leaving ends, had less than two thirds of
// the time that its caller took. A caller that waits for a build, or for attempts in service that
// take long to fail, may have left before a fresh transport could answer.
func (a *Attempt) hurried(now time.Time) bool {
	since := a.Call.since
	return !since.IsZero() && trialParts*a.waited(now) < (trialParts-1)*now.Sub(since)
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
			c.patience.refused(now, st.authority)
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
