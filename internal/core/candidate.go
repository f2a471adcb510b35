package core

import (
	"slices"
	"time"
)

// What becomes of a candidate that nobody tries? It is over five minutes after it was built.
// So is one that was tried without a verdict. Both are reported as untried (expire). But one whose
// answer waits for its verdict stays until that (lastsUntil). And one that answered within its first
// minute is promoted four minutes after that answer, if no control came, nobody was served in
// between, and the proof takes no other answer (believe in like.go).
//
// A planned candidate is put in service after WithRecreateTimeout instead (lasts), unless an
// authority that was well tried it in vain (expire). It did so if
//
//   - the candidate did not answer a request that the transport in service answered, whatever the
//     candidate's error said (endsNeutrally in plan.go). If the candidate was not waited for any
//     longer, the transport in service must have taken no more time than the candidate had
//     (tryAnswered there);
//   - the candidate had no connection for requests that tried it first (countTry there), or left them
//     without an answer, though for less than a second in all; or
//   - the candidate failed a request that can have no control: one of kind Once, or one whose caller
//     has left.
//
// A planned candidate is put in service as soon as it is built if no request is in flight, and
// any candidate is if the transport in service has ended (Built in build.go). If the transport
// in service ends later, the candidate that is ready is put in service then, tried or not,
// unless it has ended, too (Ended in events.go).
//
// A candidate is over sooner if
//
//   - the factory fails, or takes longer than WithRecreateTimeout (NotBuilt in build.go);
//   - nobody wants it any more: each authority that was tripped has been answered, has
//     refused it, or is forgotten. A planned one is always wanted. One that is still being
//     built is over only when it is built (wanted and noLongerNeeded in sharing.go, Built);
//   - it makes way for the next one (givesWay in sharing.go), for a planned one, or, if it is
//     planned by age, for one that Recreate orders (plan in plan.go);
//   - everybody who called Recreate for it has given up (Abandon in plan.go);
//   - it reports that it has ended (Spoiled in build.go); or
//   - the client is closed.
//
// A candidate that is over is retired, and a build that is under way is canceled (end).
// Copies on it are canceled. A request on it that was not sent asks what to do next, as if it
// had not been there, unless it is sealed. So does one that may be sent again, if the transport
// in service has answered its authority, or if it was trying a planned candidate. All other
// requests stay where they are (releaseTrials and noLongerNeeded in sharing.go).

// A Stage is how far a candidate is. One that is over is none.
type Stage uint8

const (
	Building Stage = iota // the factory is at work
	Ready                 // it can be tried
)

// A candidate is a fresh transport, from the start of its build to its promotion
// or rejection. It is offered to all tripped authorities.
type candidate struct {
	id      uint64
	stage   Stage
	planned bool // by hand or by age
	trigger string

	began Instant // the build
	ready Instant
	until time.Time // Ready: when it goes, or is promoted untried

	// The interval that its end starts, see pace.
	epoch        uint64
	paceWasFresh bool
	draw         time.Duration
	age          time.Duration // how long it may serve, if it is promoted; 0: for ever
	paced        bool

	halfway time.Time // planned: from then on it is tried first, not by a copy

	stands []*stand             // what each authority has made of it, the first to try it first
	of     map[Authority]*stand // the same, to be found
}

func (r *candidate) moveTo(s Stage) { r.stage = s }

// end: the candidate is over, and not promoted.
func (c *Client) end(now time.Time, kind string) {
	r := c.cand
	c.advance(now, r)
	c.cand, c.unbuilt = nil, 0
	if r.stage == Ready {
		c.todo.Retire = append(c.todo.Retire, r.id)
	} else {
		c.todo.Cancel = r.id
	}
	for _, st := range r.stands {
		c.releaseTrials(st)
	}
	c.report(now, Report{What: WasRejected, Candidate: r.id, Kind: kind})
	c.plannedEnded(now, r, kind)
	c.wake(Authority{})
}

// lasts sets how long r, which is ready now, waits to be tried.
func (c *Client) lasts(now time.Time, r *candidate) {
	r.until = now.Add(readyFor)
	if r.planned {
		r.until, r.halfway = now.Add(c.rules.RecreateTimeout), now.Add(c.rules.RecreateTimeout/2)
	}
}

// lastsUntil is when r goes, or is promoted untried. A candidate that was not planned does not go
// while an answer of it waits for a verdict (isJudged).
func (c *Client) lastsUntil(r *candidate) time.Time {
	if !r.planned && slices.ContainsFunc(r.stands, c.isJudged) {
		return time.Time{}
	}
	return r.until
}

// expire: nobody has proved the candidate, and its time is over. A planned one is
// promoted all the same, unless somebody tried it in vain.
func (c *Client) expire(now time.Time, r *candidate) {
	if !r.planned {
		c.end(now, Untried)
		return
	}
	for _, st := range r.stands {
		switch {
		case st.inVain, st.missed:
			c.end(now, st.kind)
			return
		case st.try != nil && st.tryLost && (st.try.Kind == Once || st.gone):
			c.end(now, st.kind) // it can have no control of its own
			return
		case st.try != nil && st.tryWell, st.spent > 0:
			c.end(now, TrialTimeout)
			return
		}
	}
	c.promote(now, nil, false)
}
