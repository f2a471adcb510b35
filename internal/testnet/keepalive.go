package testnet

import "time"

// Keep-alive of an idle connection. As with probes of the window, those that
// would be answered are not sent: the alarm runs only from the moment when
// packets are dropped until a probe has been answered.

// keepProbing is called when packets are dropped.
func (c *Conn) keepProbing() {
	if c.keepAlarm.isSet() {
		return // it was dark before, and no probe has been answered since
	}
	if k := c.keep.idle; k > 0 {
		// Until now each probe was answered: the peer was last heard at the last one.
		c.heard = c.heard.Add(time.Since(c.heard) / k * k)
	}
	c.awaitKeepAlive()
}

// awaitKeepAlive sets the alarm for the first probe.
func (c *Conn) awaitKeepAlive() {
	c.keepAlarm.stop()
	c.missed = 0
	if c.keep.idle > 0 && c.link.dark && !c.gone && !c.hungUp {
		c.keepAlarm.set(c.link.n, time.Until(c.heard.Add(c.keep.idle)), c.keepAlive)
	}
}

// keepAlive sends a probe, or gives up. While something is unacknowledged the
// rules of retransmission hold instead.
func (c *Conn) keepAlive() {
	if c.missed > 0 && !c.heard.Before(c.asked) { // it was answered
		c.missed = 0
		if !c.link.dark {
			return
		}
	}
	silent := time.Since(c.heard)
	switch {
	case c.out.unanswered():
		c.awaitNext(c.keep.idle)
	case silent < c.keep.idle:
		c.awaitNext(c.keep.idle - silent)
	case c.missed > 0 && c.givesUp(silent):
		c.sendReset()
		c.timedOut("a silent peer by keep-alive")
	default:
		c.missed++
		c.asked = time.Now()
		c.link.wire(c.out.way).send(packet{kind: isProbe})
		c.awaitNext(c.keep.interval)
	}
}

func (c *Conn) awaitNext(d time.Duration) {
	if !c.gone && (c.link.dark || c.missed > 0) {
		c.keepAlarm.set(c.link.n, d, c.keepAlive)
	}
}

// givesUp reports whether keep-alive has waited long enough. TCP_USER_TIMEOUT
// takes the place of the number of probes.
func (c *Conn) givesUp(silent time.Duration) bool {
	if c.userTimeout > 0 {
		return silent >= c.userTimeout
	}
	return c.missed >= c.keep.count
}
