package core

import (
	"slices"
	"time"
)

// When does a waiting request give up? If its caller leaves (Leave), or at Close; or when it is
// woken, and nothing is left for it to do. A request waits while a candidate is being built,
// which takes WithRecreateTimeout at most. It also waits for up to a second while others of its
// authority try the candidate, or, if a copy has been answered, until there is a verdict on
// that (judge in slow.go). If its caller may have to leave before the build must have ended, a
// fallback gets half of the caller's time (waitOn), and one new request at a time that is asked
// once goes to the transport in service, a second into the build, or within a quarter of its time
// if the build before this one gave nothing (mayNotSee in trial.go). A request that has no attempt
// left may wait for its authority to trip (waitForTrip). A request is woken when its wait is over, by
// a trip or a verdict of its authority, when that is well again or forgotten, by the end of each build
// or candidate, and by each promotion; if it waits for a trip, also when the transport in service ends. Then it
// does the first of these that applies (round in table.go):
//
//   - If the transport in service has ended, it has the next one built, if that may begin, and
//     waits for it. Otherwise it goes to the fallback, if there is one, or waits for what is
//     being built. If nothing is, it is sent in service once, or gives up (withoutTransport).
//   - If its authority is not tripped any more, it is sent in service again. But it gives up if
//     it was stalled there, since a slow upstream is not asked twice, or if it has no attempt
//     left (onItsWay). Who has no attempt left waits first, for up to a head start, if the authority
//     has failed often enough to trip, and others under way alone keep it from that (waitForTrip).
//   - If there is a candidate for it, it sends its control, makes the trial, or waits again. If
//     there is none, it may have the next one built, and waits for that (withTrial in trial.go).
//   - If there is a fallback, it goes to the fallback (withoutTrial).
//   - If the transport in service has not failed it yet, it is sent there (withoutTrial).
//   - It gives up.
//
// So, while its authority is tripped, a request that the transport in service has failed gives
// up or goes to the fallback for one of six reasons:
//
//   - Its authority has refused a candidate since the request last failed, or its own trial has
//     failed while others go on. That failure cannot justify another trial (hasEvidence in
//     trial.go).
//   - There is no candidate for it, and none may be built: the backoff does not allow it yet,
//     or the present candidate is planned, or is protected by a trial that still has time, or
//     by an answer that waits for its verdict (waitForNext, givesWay in sharing.go).
//   - There is a fallback, and half of its caller's time is gone while the candidate is being
//     built (waitOn).
//   - It has had its wait. Nobody waits for a candidate after another one that it has waited
//     for (waitForVerdict), unless it has that built itself (waitForNext); and whoever took long
//     to fail beside a candidate waits only if it has not waited before (waitForOthers).
//   - The time that WithWaitForReady gave it is over (outOfTime).
//   - It has no attempt left. It makes at most min(threshold, 3), and two more once it has met
//     an outage, failed on a transport that was replaced for one, or was silent for long on a
//     transport that was replaced (spare, meets in table.go). An attempt is not counted if its
//     error said too little, once (note in events.go); if it tried a planned candidate and did
//     not get its answer there (plan.go); if it was called back from a candidate, or from a
//     transport that did not have it yet, or moved from a candidate that was rejected (uncount in
//     attempt.go); or if it may be in two places and was silent for long on a transport that was
//     replaced (silentBehind in promote.go).
//
// Its caller gets the error of its latest attempt in service; if none has failed there, that of
// its trial; and if none has failed at all, the reason why the wait ended, such as the
// context's (keep, end in internal/call/land.go).
//
// With WithWaitForReady it does not give up when it is woken, if it may be sent again and has
// met an outage: it rests for a second, or until a promotion or Close, and starts over. It
// keeps which candidate it has waited for, since nobody waits for a second one that others asked for,
// and that it has met an outage. Its time for starting over begins when it would have given up first
// (mayStartOver).

// waiting says what ends a call's wait.
type waiting uint8

const (
	notWaiting waiting = iota
	forTrip            // whatever happens to its authority
	forVerdict         // whatever happens to a candidate
	forRound           // only time, a promotion and Close
)

func (q *Call) moveTo(w waiting) { q.waiting = w }

// wait makes q wait for what why says, at most until that time.
func (c *Client) wait(q *Call, why waiting, until time.Time) Step {
	q.moveTo(why)
	c.waiters = append(c.waiters, q)
	return Step{Do: Wait, Until: until}
}

// waitForVerdict: q waits for what becomes of candidate r: whether it is built, and what
// the trial of q's authority comes to that holds back the others. Nobody waits for two
// candidates that others asked for. A wait is over, too, if an attempt is answered that q has
// left behind on a transport that was replaced (Answered in events.go).
func (c *Client) waitForVerdict(now time.Time, q *Call, r *candidate) (Step, bool) {
	if q.outOfTime(now) || q.waitedFor != 0 && q.waitedFor != r.id {
		return Step{}, false
	}
	q.waitedFor = r.id
	return c.waitOn(now, q, r)
}

// waitOn: q waits for r. Where there is a fallback, who may have to leave before a build has ended
// keeps half of its time for that. After a build that gave nothing, who is asked once looks up
// before it has to leave: it may be the only one to find out that the transport in service is well
// again (mayNotSee in trial.go).
func (c *Client) waitOn(now time.Time, q *Call, r *candidate) (Step, bool) {
	until := q.readyBy
	if r.stage == Building && c.mayLeave(q, r) {
		if s := c.suspect(q.Authority); c.unbuilt > 0 && s != nil && q.fresh() && askedOnce(q, s) {
			if at := c.looksUpAt(q, r); now.Before(at) {
				until = first(until, at)
			}
		}
		if c.rules.Fallback && q.maySend() {
			half := q.since.Add(q.Deadline.Sub(q.since) / 2)
			if !now.Before(half) {
				return Step{}, false
			}
			until = first(until, half)
		}
	}
	return c.wait(q, forVerdict, until), true
}

// mayLeave reports whether q may have to leave before the build of r has ended.
func (c *Client) mayLeave(q *Call, r *candidate) bool {
	return !q.Deadline.IsZero() && q.Deadline.Before(c.paceOf(r.planned).built.Add(c.rules.RecreateTimeout))
}

// looksUpAt is when q has waited for the build of r for a second, or, after a build that gave
// nothing, for a head start.
func (c *Client) looksUpAt(q *Call, r *candidate) time.Time {
	patient := headStart
	if c.unbuilt > 0 {
		patient = headStartOf(q.since, q)
	}
	return c.paceOf(r.planned).built.Add(patient)
}

// waitForTrip: q has failed as often as it may. If its authority has failed often enough to trip, and
// has not, others under way may be well (mostFailed in streak.go). q waits for up to a head start for
// what becomes of them: where they only wait for their turn to fail, the authority trips, and q goes on.
// q does not wait for a trip that would come too late for it (outOfTime), or is of no use to it: q has had
// the attempts of who met an outage already, and there is no fallback.
func (c *Client) waitForTrip(now time.Time, q *Call, s *suspect) Step {
	if q.decidedBy.IsZero() {
		q.decidedBy = first(q.readyBy, now.Add(headStartOf(now, q)))
	}
	if s == nil || !c.mayYetTrip(s) || q.tripped && !c.rules.Fallback || !now.Before(q.decidedBy) {
		return Step{Do: GiveUp}
	}
	return c.wait(q, forTrip, q.decidedBy)
}

// waitForNext: q has the next candidate built for its authority s, where the backoff
// allows it and the present one may go, and waits for it.
func (c *Client) waitForNext(now time.Time, q *Call, s *suspect) (Step, bool) {
	r := c.cand
	if q.outOfTime(now) || !c.pace.due(now) || r != nil && !c.givesWay(now, r, s) || !c.replace(now, s, q) {
		return Step{}, false
	}
	q.waitedFor = c.cand.id
	return c.waitOn(now, q, c.cand)
}

// waitForOthers: q took long to fail while the candidate was there. It waits, once, for the
// verdict on what others try, but no longer than a trial may hold it back. If the candidate has
// answered one of them already, q waits until there is a verdict on that, though it may have
// waited for this candidate before.
func (c *Client) waitForOthers(now time.Time, q *Call) (Step, bool) {
	answered := c.cand.stand(q.Authority).answered != nil
	if q.waitedFor != 0 && !(answered && q.waitedFor == c.cand.id) || q.outOfTime(now) {
		return Step{}, false
	}
	q.waitedFor = c.cand.id
	until := q.readyBy
	if !answered {
		until = first(until, now.Add(headStart))
	}
	return c.wait(q, forVerdict, until), true
}

// heldBack reports whether a trial of a is so young that its others wait for it.
func (r *candidate) heldBack(a Authority) bool {
	st := r.stand(a)
	return st != nil && st.holder != nil
}

// hadItsChance reports whether q took long to fail while r was there, and others of
// its authority try r: nobody's wait is doubled for what they are about to find out.
// Where they have got a connection and q has lost its own, or r has answered one like q, they have
// found out enough.
func (r *candidate) hadItsChance(q *Call) bool {
	st := r.stand(q.Authority)
	if st == nil || st.hasServed(q.Method) || !q.failure.slow || q.failure.at < r.ready || !q.failure.stall && st.connected() {
		return false
	}
	return st.trials.n > 0 || st.answered != nil
}

// mayStartOver reports whether q waits for ready, and may: it has met an outage,
// which may be over by now.
func (q *Call) mayStartOver(now time.Time) bool {
	if q.Ready == 0 || !q.maySend() || !q.tripped {
		return false
	}
	if q.readyBy.IsZero() {
		q.readyBy = now.Add(q.Ready)
	}
	return now.Before(q.readyBy)
}

// outOfTime reports whether q has waited for ready for as long as it may.
func (q *Call) outOfTime(now time.Time) bool { return !q.readyBy.IsZero() && !now.Before(q.readyBy) }

func (c *Client) stopWaiting(q *Call) {
	if q.waiting != notWaiting {
		q.moveTo(notWaiting)
		c.waiters = slices.DeleteFunc(c.waiters, func(p *Call) bool { return p == q })
	}
}

// Leave: q's caller has gone while q waited. q does not ask again.
func (c *Client) Leave(q *Call) {
	c.stopWaiting(q)
	c.forsake(q)
}

// wake ends the wait for a verdict, or for a trip, of the calls of an authority; of all calls for
// the zero authority.
func (c *Client) wake(a Authority) {
	c.wakeIf(func(q *Call) bool {
		return (q.waiting == forVerdict || q.waiting == forTrip) && (a == Authority{} || q.Authority == a)
	})
}

func (c *Client) wakeAll() { c.wakeIf(func(*Call) bool { return true }) }

func (c *Client) wakeIf(match func(*Call) bool) {
	c.waiters = slices.DeleteFunc(c.waiters, func(q *Call) bool {
		if !match(q) {
			return false
		}
		q.moveTo(notWaiting)
		c.todo.Wake = append(c.todo.Wake, q)
		return true
	})
}
