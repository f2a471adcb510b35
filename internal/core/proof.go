package core

import (
	"math"
	"time"
)

// What proves a candidate? An answer, if the transport in service gives none (trialAnswered):
//
//   - to a request whose latest attempt in service began after the candidate was ready, and
//     failed (hasControl in trial.go), unless the upstream may have come back since (mayBeBack);
//   - to a copy, whose control stays silent or fails (slow.go). Where the upstream may have come
//     back, the control begins after the copy's answer;
//   - to a request that is asked once (askedOnce in trial.go), if another of the same method that
//     was sent in service after the trial began failed there, or was silent for twice as long as
//     the trial took (like.go). If there is none, the next one like it is sent in service, and
//     decides. The same holds for an answer that may be due to an upstream that came back. Where
//     that next one does not come within four minutes, the answer is proof enough, if nobody was
//     served otherwise meanwhile, by the transport in service or by a fallback (believe in like.go).
//
// Where a candidate was planned, the answer to a request whose authority was well when it tried
// the candidate is enough (plan.go).
//
// A promotion for an authority did not help if a failure or a stall of that authority counts within a
// minute. The authority's next proof then takes four answers in a row, and after another such
// promotion eight, until ten minutes have passed in which the authority had no outage (prove;
// didNotHelp in memory.go). Trials that fail between the answers do not start a proof over: it takes so
// many answers more that it is no likelier to be due to chance (mayBeChance).
//
// When does an authority refuse a candidate? When a trial of it has failed (trialFailed), unless
//
//   - another trial of the authority is under way, or an answered copy waits for its verdict;
//   - the trial's end was neutral; or
//   - the trial was a stall that came too early: within a second of the authority's first trial of
//     this candidate, or, if the trial had no connection yet or less than two thirds of its caller's
//     time, within the time limit of the authority's trials (tooEarly).
//
// It also does when that time limit is over and trials are still under way (passedOf in clock.go).
// After a refusal the authority's next trial needs a failure in service that is newer (hasEvidence
// in trial.go).

// prove: t was answered, and its control was not. After promotions that did not
// help, more than one such answer is asked for. They may be of several candidates,
// since one may have to make way for another authority's before it has them all.
func (c *Client) prove(now time.Time, st *stand, t *Attempt) {
	if s := c.suspect(st.authority); s != nil {
		c.now++ // what begins from here on may be the next one's control
		s.proved = c.now
		s.proofs++
		if s.mayBeChance(c.recent.answers(s.tripped, st.authority)) {
			s.copyAt = now // the transport in service has just failed once more: the next copy need not wait
			c.wake(st.authority)
			return
		}
	}
	c.promote(now, t, true)
}

// mayBeChance reports whether the answers of candidates to s, each with a control that was not answered,
// are likelier than so many answers in a row, if fresh transports are no better than the one in service.
// Where candidates answer most trials, few controls fail by chance. Where many trials fail, many do.
func (s *suspect) mayBeChance(inRow int) bool {
	return chance(s.proofs, s.missed) > chance(inRow, 0)
}

// chance is how likely it is that the controls of all answers fail, if what is sent fails as often as
// the trials do. It has one trial more of either kind (Laplace's rule of succession).
func chance(answers, missed int) float64 {
	return math.Pow(float64(missed+1)/float64(answers+missed+2), float64(answers))
}

// miss counts a trial that has failed, if a candidate has answered s before it. Trials that fail before
// the first answer may have met an outage of the upstream. So may many that fail after it, and mostMissed
// bounds these.
func (s *suspect) miss() {
	if s.proofs > 0 {
		s.missed = min(s.missed+1, mostMissed*(s.proofs+1))
	}
}

// trialAnswered: an attempt that waits for a verdict has been answered; it is out of
// its call.
func (c *Client) trialAnswered(now time.Time, st *stand, t *Attempt) {
	s := c.suspect(t.Call.Authority)
	if s != nil {
		if s.up == 0 {
			s.up = c.now + 1
		}
		s.copyGap, s.copyAt = 0, earlier(s.copyAt, now.Add(headStart))
	}
	c.now++ // what begins from here on meets an upstream that is up
	switch {
	case t.tries() || s == nil:
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
		s.hasLike(now, q.Method, s.trusts(t), silenceFor(t.waited(now))) ||
		s.turned() && s.hasLike(now, q.Method, s.proved, silenceFor(t.waited(now)))
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
	for older != nil && older.held { // its transport does not have it yet
		older = older.next
	}
	silent := older != nil && older.began < t.began && older.waited(now) >= headStart
	return (control.took >= longAgo || silent || s.refusals > 0) && !c.recent.servedSince(s.authority, control.began)
}

// controlFailed: what failed in service may be the control of its own call's copy, or of what
// the candidate has answered of its method.
func (c *Client) controlFailed(now time.Time, a *Attempt, o Outcome) {
	q := a.Call
	st := c.standOf(q)
	m := st.servedBefore(a)
	switch {
	case st == nil:
	case st.answered != nil && st.answered.Call == q:
		c.copysControlFailed(now, st, a, o)
	case m != nil && a.failsAsControl(now, o, m.took) && !st.refused:
		c.proveServed(now, st, q.Method)
	case st.tryLost && !(o.Left && o.Verdict == Neutral):
		c.untry(q) // both failed: it says nothing
	}
}

// trialFailed: a trial is over, and unproven; it is out of its call.
func (c *Client) trialFailed(now time.Time, r *candidate, st *stand, t *Attempt, o Outcome) {
	if s := c.suspect(st.authority); s != nil && o.Verdict != Neutral {
		s.miss()
	}
	switch {
	case st.isTry(t):
		c.wake(st.authority) // if it has tripped meanwhile, others may have waited for t
		if t.role == onTry {
			t.Call.attempts-- // it could trip nothing
			if o.Left && !o.notSent() {
				c.tryLeft(now, st, t, o)
				return
			}
		}
		if q := t.Call; o.Verdict == Neutral || q.main == nil && q.failure.on == c.current {
			st.endsNeutrally(t, o)
			c.untry(q) // it says nothing, nor does it where both have failed: the next one tries
			return
		}
		st.tryLost, st.kind = true, o.Trigger
		c.tryJudged(now, st)
	case o.Verdict == Neutral, o.Verdict == Stall && st.tooEarly(now, t):
		st.owed = st.owed || !t.control && !t.Copy() && !now.Before(st.first.Add(headStart))
		c.wake(st.authority) // that is no verdict yet
	case st.trials.n > 0 || st.answered != nil || st.refused:
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

// refuse: r did not help the authority of st. It stays for the others. An authority that is well may
// have tried what is planned in vain: that is no part of its next outage.
func (c *Client) refuse(now time.Time, r *candidate, st *stand, kind string) {
	if s := c.suspect(st.authority); s != nil && s.outage() {
		s.refusals++
		if s.row == silent || kind == TrialTimeout {
			c.patience.refused(now, st.authority)
		}
	}
	c.isRefused(now, r, st, kind)
}

// isRefused: r is over for the authority of st. Where the transport in service answered what r did
// not, that is all, and says nothing of an upstream that may be down.
func (c *Client) isRefused(now time.Time, r *candidate, st *stand, kind string) {
	c.now++
	st.refused = true
	about := About{Authority: st.authority}
	if s := c.suspect(st.authority); s != nil {
		s.refused = c.now
		about = s.about()
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
