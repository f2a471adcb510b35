package core

import (
	"slices"
	"time"
)

// What does a second dead host do meanwhile? There is one candidate at a time, and it
// belongs to all authorities that are tripped: none waits for another's trial to try it.
//
//   - The requests of the second one that have failed wait while the candidate is being
//     built. Then the second one tries the same candidate, at the same time as the first, with
//     a control of its own. What an authority has made of the candidate is its stand.
//   - The first proof (proof.go), whosever it is, puts the candidate in service for all. The second
//     authority is on the new transport then, too. It counts as healing until its first
//     answer there, and its streak starts over (renew in suspect.go).
//   - A refusal is the authority's own (refuse in proof.go): the candidate stays as long as
//     there is a tripped authority that has not refused it (wanted).
//   - An authority asks for the next candidate only if there is none, or if it has refused
//     this one, or if its copies on this one have run out of time (standsFor). It also needs a
//     failure that is newer than its refusal (hasEvidence in trial.go), and the backoff must
//     allow it. All authorities share the backoff, which starts over if the second one's
//     trip is news (pace.go).
//   - This candidate then gives way, unless a trial of it still has time, or an answer of it waits
//     for a verdict (judgedAt). Another authority's trial or answer does not protect the candidate
//     in two cases: if the authority that asks tripped after this build began; or if the outage of
//     the authority that asks is less than a minute old, and it had none in the minute before. But
//     a verdict that is due within a second is waited for in all cases. A planned candidate does
//     not give way (givesWay). If this candidate had no verdict yet, an interval of the backoff
//     comes before the next build (replace), unless the backoff has started over since this build
//     began.
//   - A request of the second authority that has no candidate to try or to wait for goes to the
//     fallback. Without a fallback, a new one is sent in service, and one that failed there
//     gives up with its own error (withoutTrial in table.go, wait.go).

// wanted reports whether somebody has a use for r: the client, whoever planned
// it, or an authority that is tripped and has not refused it.
func (c *Client) wanted(r *candidate) bool {
	return c.ended || r.planned || slices.ContainsFunc(c.suspects, func(s *suspect) bool {
		return s.state == Tripped && !r.refusedBy(s.authority)
	})
}

// standsFor reports whether authority a may still try r: a has not refused r, and
// has no copies on r that ran out of time unanswered.
func (r *candidate) standsFor(a Authority) bool {
	st := r.stand(a)
	return st == nil || !st.refused && !(st.late && st.trials.n > 0)
}

// refusedBy reports whether r did not help a.
func (r *candidate) refusedBy(a Authority) bool {
	st := r.stand(a)
	return st != nil && st.refused
}

// givesWay reports whether candidate r, which is of no use to s, may be dropped to build the next one
// for s. It may not be if it is planned, or if a verdict on an answer of it is due within a second. Nor
// may it be while an authority's trials of r have time, or an answer of it waits for a verdict; but the
// trials and answers of other authorities than s do not protect r if s tripped after the build of r
// began, or the outage of s is young.
func (c *Client) givesWay(now time.Time, r *candidate, s *suspect) bool {
	if r.planned {
		return false
	}
	for _, st := range r.stands {
		at := c.judgedAt(st)
		if !at.IsZero() && !at.After(now.Add(headStart)) {
			return false
		}
		young := st.pending() && !st.late || !at.IsZero()
		if young && !(st.authority != s.authority && (s.tripAt > r.began || now.Before(s.youngUntil))) {
			return false
		}
	}
	return true
}

// judgedAt is when an answer of st has its verdict, if its control, which is under way or about to be
// sent, stays silent; zero: none waits for that. It is asked of all stands at each event: of hundreds
// of dead hosts, none but those that were answered cost a search.
func (c *Client) judgedAt(st *stand) time.Time {
	if st.answered != nil {
		return st.answered.judgeAt
	}
	if len(st.served) == 0 {
		return time.Time{}
	}
	if s := c.suspect(st.authority); s != nil && s.probe != nil && st.servedBefore(s.probe) != nil {
		return c.probedAt(s)
	}
	return time.Time{}
}

// isJudged reports whether an answer of st waits for a verdict that comes by itself.
func (c *Client) isJudged(st *stand) bool { return !c.judgedAt(st).IsZero() }

// pending reports whether st has trials that are unanswered, or answered trials whose control is
// still to come.
func (st *stand) pending() bool { return st.trials.n > 0 || len(st.served) > 0 }

// replace builds the next candidate for s, at the request of q, and reports whether it did:
// ending a candidate that had no verdict yet starts an interval of the backoff, in which
// nothing is built.
func (c *Client) replace(now time.Time, s *suspect, q *Call) bool {
	if r := c.cand; r != nil {
		c.makeWay(now, r)
	}
	if !c.pace.due(now) {
		return false
	}
	c.begin(now, s.trigger, false, s.about())
	c.todo.Build.Asked = q
	return true
}

// makeWay ends r to make room for the next candidate. Authorities whose copies on r have run
// out of time refuse it first.
func (c *Client) makeWay(now time.Time, r *candidate) {
	for _, st := range slices.Clone(r.stands) {
		if st.trials.n > 0 && st.late && c.cand == r {
			c.refuse(now, r, st, TrialTimeout)
		}
	}
	if c.cand == r {
		c.end(now, Superseded)
	}
}

// noLongerNeeded: s is no suspect any more, since it was answered or forgotten. Its trials go on
// in service, where that is safe, and a candidate that nobody else wants is over.
func (c *Client) noLongerNeeded(now time.Time, s *suspect, kind string) {
	c.callBackAll(&s.strays)
	c.patience.over(s.authority)
	if r := c.cand; r != nil {
		if st := r.stand(s.authority); st != nil {
			if d := st.outwaited(now); d > 0 && kind == CurrentRecovered {
				c.patience.noFaster(now, s.authority, d)
			}
			if st.slow && kind == CurrentRecovered {
				kind = UpstreamSlow
			}
			c.releaseControl(st)
			st.served, st.until, st.late, st.slow = nil, time.Time{}, false, false
			c.callBackAll(&st.trials)
			st.holder = nil
		}
		if r.stage == Ready && !c.wanted(r) {
			c.end(now, kind)
		}
	}
	c.wake(s.authority)
}

// releaseTrials: the candidate of st is over for its authority. Copies end, what
// was not sent is called back, and what was sent goes on and is no trial.
func (c *Client) releaseTrials(st *stand) {
	c.releaseControl(st)
	st.holder, st.served = nil, nil
	s := c.suspect(st.authority)
	for a := st.trials.first; a != nil; a = st.trials.first {
		a.remove()
		switch {
		case a.Copy() || a.unsent() || a.role == onTry && a.Call.Kind != Once:
			c.callBack(a)
		case s != nil:
			s.strays.add(a)
		}
	}
}

// A stand is what one authority has made of a candidate.
type stand struct {
	authority Authority
	trials    attempts  // that could still be answered
	holder    *Attempt  // the one of trials that holds back the others
	first     time.Time // when it was first tried
	early     time.Time // until then a trial that had no chance is no verdict
	owed      bool      // there was a trial without a verdict and a control: the next request is sent in service
	until     time.Time // when its trials have had their time; zero before the first
	late      bool      // that time is over
	refused   bool
	answered  *Attempt         // a copy, whose control is still silent: it is judged at its judgeAt
	slow      bool             // one such control was answered: the candidate was no faster
	served    []answeredMethod // their control is still to come

	tryout // of a planned candidate
}

// stand returns what a has made of r, or nil if nothing yet.
func (r *candidate) stand(a Authority) *stand { return r.of[a] }

func (r *candidate) standOrNew(a Authority) *stand {
	if st := r.stand(a); st != nil {
		return st
	}
	st := &stand{authority: a.Clone()}
	r.stands, r.of[st.authority] = append(r.stands, st), st
	return st
}

// standOf returns what q's authority has made of the Ready candidate, or nil.
func (c *Client) standOf(q *Call) *stand {
	if r := c.cand; r != nil && r.stage == Ready {
		return r.stand(q.Authority)
	}
	return nil
}

// forget drops what an evicted authority has made of r, so that a flood of names that fail
// takes no more than maxSuspects. It stays if the authority has tried a planned candidate: it
// shall do so once.
func (r *candidate) forget(a Authority) {
	if st := r.stand(a); st != nil && st.try == nil {
		r.stands = slices.DeleteFunc(r.stands, func(o *stand) bool { return o == st })
		delete(r.of, a)
	}
}

// connected reports whether one of the trials got a connection.
func (st *stand) connected() bool {
	for a := st.trials.first; a != nil; a = a.next {
		if a.connected {
			return true
		}
	}
	return false
}
