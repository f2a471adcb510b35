package core

import "time"

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

// tripped: an authority has. If that is news the next build is at once, but never
// closer than a first interval to the latest.
func (p *pace) tripped(news bool) {
	if !news {
		return
	}
	p.startOver()
	p.notBefore = p.built.Add(p.first)
}

func (p *pace) startOver() {
	p.epoch++
	p.interval, p.opened = 0, false
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

func (c *Client) paceOf(planned bool) *pace {
	if planned {
		return &c.planPace
	}
	return &c.pace
}

func (c *Client) advance(now time.Time, r *candidate) { c.paceOf(r.planned).advance(now, r) }

func (r *recent) over(now time.Time, a Authority) { r.use(now, a).over = now }

// calm reports whether a had no outage in the last minute: its trip is news.
func (r *recent) calm(now time.Time, a Authority) bool {
	m := r.get(a)
	return m == nil || now.Sub(m.over) >= calm
}
