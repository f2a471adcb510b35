package core

import "time"

// What does a promotion do to those in flight? What tried the candidate is in service from
// then on (enterService). What waits on the transport that was replaced finishes there, but:
//
//   - What does not go to its transport yet (Goes in events.go), of an authority that was tripped,
//     moves to the transport in service at once (condemnOne).
//   - What may be sent again, of an authority that was tripped, moves to the transport in
//     service after its head start, if it has an attempt left. So does, with an attempt left or
//     not, what waits on a candidate that was rejected (condemn, rescue).
//   - Of other authorities, or after a promotion by plan, it moves once it has been silent for
//     as many patiences as trip an authority, with an attempt left or not. A request that may
//     not be in two places moves then only if its caller has no deadline and it has an attempt
//     left (silentBehind).
//   - What moves and may be in two places also stays, and its caller gets the first answer,
//     unless the transport that was replaced had been proved dead (replaced).

// promote puts the candidate in service. by is the attempt that it answered; nil: nobody had
// to try it. proven: what it answered, the transport in service did not.
func (c *Client) promote(now time.Time, by *Attempt, proven bool) {
	r := c.cand
	about := About{}
	switch {
	case by == nil && c.ended && !c.absent:
		about = c.aboutEnded()
	case by != nil:
		if s := c.suspect(by.Call.Authority); s != nil {
			about = s.about()
		} else {
			about.Authority = by.Call.Authority
		}
	}
	need := proven || c.ended && !c.absent
	if need {
		c.promoted, c.dead = now, c.current
		if c.suspect(about.Authority) != nil {
			c.recent.swappedFor(now, about.Authority)
		}
	}
	c.advance(now, r)
	if r.planned && !need {
		c.planSucceeded()
	}
	c.report(now, Report{What: WasPromoted, About: about, Candidate: r.id})
	c.now++
	c.current, c.cand, c.unbuilt = r.id, nil, 0
	c.endOfEnded(now)
	c.todo.Promote = r.id
	c.agedAt = time.Time{}
	if r.age > 0 {
		c.agedAt = now.Add(r.age)
	}
	old := c.suspects
	c.renew()
	for _, st := range r.stands {
		c.enterService(st)
	}
	c.condemn(now, old)
	c.plannedEnded(now, r, "")
	c.wakeAll()
	if s := c.suspect(about.Authority); s != nil {
		c.acquit(now, s) // what proved the candidate is its first answer in service
	}
}

// enterService: what tried the promoted candidate is in service now. A copy takes
// the place of the attempt that it is beside.
func (c *Client) enterService(st *stand) {
	for a := st.trials.first; a != nil; a = st.trials.first {
		a.remove()
		q := a.Call
		if a.Copy() && q.left {
			c.detach(a)
			continue
		}
		if a.role == asPlanned && (q.main != nil || q.fresh()) {
			c.callBack(a) // its caller is served, or was, without it
			continue
		}
		if a.Copy() {
			if q.main != nil {
				c.replaced(q.main)
			}
			q.main, q.copy = a, nil
		}
		c.enters(a)
	}
	c.releaseControl(st)
}

// enters: a, which is on the transport just promoted, is in service.
func (c *Client) enters(a *Attempt) {
	a.moveTo(inService)
	if s := c.suspect(a.Call.Authority); s != nil {
		s.flying.add(a)
	}
}

// condemn marks the requests that wait on the transport that was replaced, of
// authorities that were tripped. Each that may be sent again moves to the transport in
// service once its head start is over.
func (c *Client) condemn(now time.Time, old []*suspect) {
	for _, s := range old {
		if s.state == Tripped {
			c.todo.Condemn = append(c.todo.Condemn, s.authority)
		}
		for a := s.flying.first; a != nil; a = s.flying.first {
			a.remove()
			if s.state == Tripped {
				c.condemnOne(a)
			}
		}
		for a := s.strays.first; a != nil; a = s.strays.first {
			a.remove()
			if a.On == c.current {
				c.enters(a)
			} else {
				c.condemnOne(a)
			}
		}
	}
	c.rescue(now)
}

func (c *Client) condemnOne(a *Attempt) {
	if a.over {
		return
	}
	a.Call.tripped = true
	if a.stays() && a.unsent() {
		c.callBack(a)
		return
	}
	if a.Call.Kind < Repeatable {
		return
	}
	if a.ripeAt.IsZero() { // it did not begin under suspicion
		a.ripeAt = a.start.Add(headStartOf(a.start, a.Call))
	}
	c.condemned.add(a)
}

// Condemned: a, of an authority that a promotion condemned, began on the healthy
// path of the transport that was replaced, and has been adopted for this.
func (c *Client) Condemned(now time.Time, a *Attempt) {
	if c.closed || a.On == c.current || a.in != nil || a.role != inService {
		return
	}
	c.condemnOne(a)
	c.rescue(now)
}

// silentBehind: a waits on a transport that was replaced, perhaps for another authority
// or by plan. Nobody begins anything there any more, so that its silences are judged by
// themselves: as many as trip an authority condemn it, too. What may not be in two places
// and has a deadline stays all the same: its wait has an end, and nobody knows whether its
// transport is dead.
func (c *Client) silentBehind(now time.Time, a *Attempt) {
	q := a.Call
	if a.role != inService || a.in != nil || c.rules.Stalls == 0 || q.Kind != Copyable && !q.Deadline.IsZero() {
		return
	}
	a.silentIn(now, nil)
	if a.silent.n >= c.rules.Stalls && now.Sub(a.silent.first) >= c.rules.StallSpan {
		if q.Kind == Copyable {
			q.attempts-- // it moves with its last attempt, too: nothing else would end its wait
		}
		c.Condemned(now, a)
	}
}

// endOfEnded: what had ended is not in service any more.
func (c *Client) endOfEnded(now time.Time) {
	if c.absent {
		c.ended, c.absent = false, false
	}
	if c.ended {
		c.ended = false
		c.recent.over(now, now, Authority{})
		c.report(now, Report{What: HasRecovered, About: c.aboutEnded(), Kind: BySwap, Over: now})
	}
}

// rescue moves the attempts that are condemned and have had their head start, if their calls
// may make another attempt. A call whose trial was left on a candidate that is over always may:
// the trial is not counted then (uncount), since the call made it for the client's sake.
func (c *Client) rescue(now time.Time) {
	for a := c.condemned.first; a != nil; {
		next := a.next
		if !now.Before(a.ripeAt) {
			a.remove()
			if a.onCandidate() || c.spare(a.Call) {
				c.move(a)
			}
		}
		a = next
	}
}

// move: the call of a, whose transport was replaced, is sent again in service. Where
// nobody has proved that the transport is dead, the answer may be slow, and take longer
// than transports serve: what may be in two places waits on in the first, too, and its
// caller gets the first answer.
func (c *Client) move(a *Attempt) {
	if c.replaced(a) {
		c.todo.Part = append(c.todo.Part, a.Call)
	}
}

// replaced lets go of a, whose call goes elsewhere. It reports whether a was left behind,
// and not called back.
func (c *Client) replaced(a *Attempt) (behind bool) {
	q := a.Call
	if a.On == c.dead || q.Kind != Copyable || q.behind != nil {
		c.callBack(a)
		return false
	}
	a.remove()
	c.uncount(a)
	a.moveTo(leftBehind)
	q.main, q.behind = nil, a
	if q.copy == nil {
		q.failure = failure{}
	}
	return true
}

// forsake calls back what q has left behind: its caller has its answer, or has gone.
func (c *Client) forsake(q *Call) {
	if q.behind != nil {
		c.callBack(q.behind)
	}
}
