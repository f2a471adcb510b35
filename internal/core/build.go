package core

import "time"

// begin builds a candidate. need is whom it is built for; zero where it is
// planned, or for the client.
func (c *Client) begin(now time.Time, trigger string, planned bool, need About) {
	c.now++
	c.serial++
	p := c.paceOf(planned)
	c.cand = &candidate{id: c.serial, planned: planned, trigger: trigger, began: c.now, epoch: p.epoch, paceWasFresh: !p.opened, of: make(map[Authority]*stand)}
	c.cand.moveTo(Building)
	c.todo.Build = &Build{
		ID: c.serial, Trigger: trigger, Planned: planned, Need: need, Delay: p.interval, Epoch: p.epoch,
	}
	p.began(now)
}

// A Draw is what chance and the policy gave for a candidate.
type Draw struct {
	Interval time.Duration // until the next build, once this candidate is judged
	MaxAge   time.Duration // for how long it may serve; 0: for ever
}

// Drawn: chance and the policy gave this for a candidate whose build goes on. It
// counts also if that is called off.
func (c *Client) Drawn(id uint64, d Draw) {
	if r := c.cand; r != nil && r.id == id && r.stage == Building {
		r.draw, r.age = d.Interval, d.MaxAge
		c.paceOf(r.planned).drawn(r)
	}
}

// Built: the factory has returned a transport that has not ended. idle: nothing
// is in flight.
func (c *Client) Built(now time.Time, id uint64, idle bool, d Draw) {
	r := c.cand
	if r == nil || r.id != id || r.stage != Building {
		c.todo.Retire = append(c.todo.Retire, id) // called off meanwhile
		return
	}
	c.now++
	r.ready, r.draw, r.age = c.now, d.Interval, d.MaxAge
	c.paceOf(r.planned).drawn(r)
	c.lasts(now, r)
	r.moveTo(Ready)
	switch {
	case c.ended, r.planned && idle:
		c.promote(now, nil, false)
	case !c.wanted(r):
		c.end(now, CurrentRecovered)
	default:
		c.wake(Authority{})
	}
	c.settle(now)
}

// NotBuilt: the factory has failed; kind is how.
func (c *Client) NotBuilt(now time.Time, id uint64, kind string, d Draw) {
	r := c.cand
	if r == nil || r.id != id || r.stage != Building {
		return
	}
	r.draw = d.Interval
	c.paceOf(r.planned).drawn(r)
	c.end(now, kind)
	c.unbuilt = c.now
	c.settle(now)
}

// Spoiled: the candidate reports that it has ended.
func (c *Client) Spoiled(now time.Time, id uint64) {
	if r := c.cand; r != nil && r.id == id && r.stage == Ready {
		c.end(now, TransportEnded)
		c.settle(now)
	}
}

// NotSent: a was not sent after all. Its call is as if a had not been made.
func (c *Client) NotSent(now time.Time, a *Attempt) {
	if !a.over && !c.closed {
		c.callBack(a)
		c.settle(now)
	}
}
