package core

import "time"

// What resets the backoff? A client has one pace for all its authorities, and another
// one for what is planned; each asks the user's policy, WithBackOff, for its intervals.
//
// The pace starts over, with a new policy and a build at once, when an authority trips, or the
// transport says that it has ended, if that is news (isNews). It is news if the authority, or
// the transport, has no outage now and had none in the last minute, and if no outage led to a
// promotion in the last minute. Even so, no build is closer than a first interval to the latest
// (startOver). Nothing else resets the pace: neither a promotion, nor an answer, nor the passing
// of time.
//
// The pace of what is planned starts over with each promotion of a planned candidate, unless
// the candidate was proven for a tripped authority (proof.go), or the transport in service had
// ended (promote). Only WithMaxAge waits for that pace, after a candidate of its own that was
// not promoted (plannedEnded in plan.go). Recreate never waits for a pace.
//
// Where the pace does not start over, the next build waits for one interval. That begins when
// the candidate is promoted, ends or, if it was not planned, is refused for the first time,
// whichever comes first (advance). If the candidate had not been built by then, the interval is
// at least 100 ms. A policy that says Stop is overruled: its latest interval goes on, or a second
// if that is longer (draw in internal/gate/policy.go).

// A pace spaces builds. The intervals are the policy's, which the shell asks: it
// draws one with each build, and takes a new policy when the epoch is a new one.
type pace struct {
	epoch     uint64
	interval  time.Duration // the latest that was waited; 0: none
	opened    bool          // its first interval was drawn
	first     time.Duration // of the latest epoch that had one
	built     time.Time     // the latest build
	notBefore time.Time     // the next one
}

// paceTrip: an authority has tripped, or, if it is the zero authority, the transport
// in service has ended. Its outage, if it has one, has not begun now.
func (c *Client) paceTrip(now time.Time, a Authority) {
	if c.isNews(now, a) {
		c.pace.startOver()
	}
}

// isNews reports whether a trip of a is the first sign of something new: a had no
// outage in the last minute, nor has it one, and the client put no transport in
// service for need in that time.
func (c *Client) isNews(now time.Time, a Authority) bool {
	s := c.suspect(a)
	return (s == nil || !s.outage()) && c.recent.calm(now, a) && now.Sub(c.promoted) >= calm
}

// calm reports whether a has had no outage that ended in the last minute.
func (r *recent) calm(now time.Time, a Authority) bool {
	m := r.get(a)
	return m == nil || now.Sub(m.over) >= calm
}

// startOver: the next build is at once, but never closer than a first interval to the
// latest.
func (p *pace) startOver() {
	p.epoch++
	p.interval, p.opened = 0, false
	p.notBefore = p.built.Add(p.first)
}

// planSucceeded: what was planned is in service. What is planned next has a pace that
// knows nothing of it.
func (c *Client) planSucceeded() { c.planPace = pace{epoch: c.planPace.epoch + 1} }

func (c *Client) paceOf(planned bool) *pace {
	if planned {
		return &c.planPace
	}
	return &c.pace
}

func (p *pace) due(now time.Time) bool { return !now.Before(p.notBefore) }

func (p *pace) began(now time.Time) { p.built = now }

// drawn: the interval that the end of r will start is known. A first one counts
// although the pace has started over since.
func (p *pace) drawn(r *candidate) {
	if r.paceWasFresh {
		p.first = r.draw
		p.notBefore = later(p.notBefore, p.built.Add(p.first))
	}
}

// advance: the candidate was refused, promoted or is over, for the first time.
// What was drawn with it counts in the pace that it was drawn in.
func (p *pace) advance(now time.Time, r *candidate) {
	if r.paced {
		return
	}
	r.paced = true
	if r.epoch != p.epoch {
		return
	}
	p.interval, p.opened = r.draw, r.draw > 0
	if r.stage == Building {
		p.interval = max(p.interval, leastRest)
	}
	p.notBefore = now.Add(p.interval)
}

func (c *Client) advance(now time.Time, r *candidate) { c.paceOf(r.planned).advance(now, r) }
