package core

import "time"

// What becomes of a candidate that nobody tries? It is over five minutes after it was built,
// and so is one that was tried without a verdict: both are reported as untried. A planned one is put in service after WithRecreateTimeout, unless somebody
// tried it in vain: it did not answer what the transport in service answered, or lost what
// can be asked only once (lasts, expire). If nothing is in flight when a planned one is
// built, it is put in service at once; and so is any, tried or not, where the transport in
// service has ended (Built in build.go, Ended in events.go).
//
// It is over sooner if nobody wants it any more (wanted in sharing.go), which is so once
// each authority that was tripped has been answered or has refused it; if it makes way for
// the next one (givesWay there) or for a planned one (plan.go); if whoever called Recreate for
// it has given up (Abandon there); if it says itself that it has ended (Spoiled in build.go);
// and with Close. What tried it goes on in service, where
// that is safe. A candidate is retired when it is over.

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
	copied  bool      // planned: a copy has been tried

	stands []*stand             // what each authority has made of it, the first to try it first
	of     map[Authority]*stand // the same, to be found
}

func (r *candidate) moveTo(s Stage) { r.stage = s }

// end: the candidate is over, and not promoted. What was not sent on it goes on in
// service.
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

// expire: nobody has proved the candidate, and its time is over. A planned one is
// promoted all the same, unless somebody tried it in vain.
func (c *Client) expire(now time.Time, r *candidate) {
	if !r.planned {
		c.end(now, Untried)
		return
	}
	for _, st := range r.stands {
		switch {
		case st.inVain:
			c.end(now, st.kind)
			return
		case st.try != nil && st.tryLost && st.try.Kind == Once:
			c.end(now, st.kind) // it cannot have a control
			return
		case st.try != nil && st.tryWell:
			c.end(now, TrialTimeout)
			return
		}
	}
	c.promote(now, nil, false)
}
