package testnet

import (
	"net"
	"syscall"
)

// How a kernel ends its end of a connection. All of this runs under the
// network's mutex.

// who names the end in the network's story.
func (c *Conn) who() string {
	if c == c.link.client {
		return c.link.who + " client"
	}
	return c.link.who + " server"
}

// stopped reports whether the program on this end is frozen.
func (c *Conn) stopped() bool {
	return c == c.link.server && c.link.weather().Frozen && !c.link.n.closed
}

// unread reports whether this end is kept from reading.
func (c *Conn) unread() bool { return c.stopped() || c.link.weather().Unread&c.in.way != 0 }

// hangUp acts on Close.
func (c *Conn) hangUp() {
	c.hungUp = true
	c.keepAlarm.stop()
	switch {
	case c.gone:
		c.link.prune()
	case c.linger0 || len(c.in.in) > 0:
		c.abort()
	default:
		c.out.finish()
		c.settle()
	}
}

// settle lets go of a closed connection once both directions are at their end.
func (c *Conn) settle() {
	if c.hungUp && !c.gone && c.out.fin && !c.out.unanswered() && c.in.eof {
		c.timeWait = true
		c.over(nil)
	}
}

// abort closes a connection with a reset.
func (c *Conn) abort() {
	c.closed, c.hungUp = true, true
	c.sendReset()
	c.over(nil)
}

func (c *Conn) sendReset() {
	if !c.gone {
		c.link.wire(c.out.way).send(packet{kind: isReset})
	}
}

// wasReset is called when the peer's reset arrives.
func (c *Conn) wasReset() {
	if c.gone {
		return
	}
	c.link.n.note(c.who(), "was reset")
	if c.in.eof {
		c.over(syscall.EPIPE) // as Linux says in CLOSE_WAIT
		return
	}
	c.over(syscall.ECONNRESET)
}

// timedOut gives up.
func (c *Conn) timedOut(what string) {
	if !c.gone {
		c.link.n.note(c.who(), "gives up %s", what)
		c.over(syscall.ETIMEDOUT)
	}
}

// over forgets the connection. The program can still read what has arrived.
func (c *Conn) over(err error) {
	c.gone, c.err = true, err
	c.out.buf = nil
	c.out.timer.stop()
	c.keepAlarm.stop()
	c.cond.Broadcast()
	c.link.prune()
}

// lose ends a dialer's end of a connection and tells the peer nothing. The program gets err itself.
func (c *Conn) lose(err error) {
	c.ended = err
	if !c.gone {
		c.over(net.ErrClosed)
	}
}
