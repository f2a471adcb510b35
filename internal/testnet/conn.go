package testnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Conn is one end of a connection, as a program sees it: a net.Conn with
// those methods of net.TCPConn that people use, whose errors are those of
// net.TCPConn.
type Conn struct {
	link          *Link
	in, out       *flow
	local, remote net.Addr
	cond          *sync.Cond // readers and writers wait here

	// The program's side.
	closed          bool // Close was called
	linger0         bool
	writing         bool // one Write at a time
	readBy, writeBy deadline
	sendBuffer      int
	receiveBuffer   int

	// The kernel's side.
	hungUp      bool  // the kernel has acted on Close
	gone        bool  // the kernel knows nothing of the connection any more
	timeWait    bool  // the kernel still answers a FIN whose acknowledgment was lost
	err         error // why it is gone, if the program is to know
	ended       error // what the dialer ended with, which the program gets unwrapped
	userTimeout time.Duration
	keep        keepAlive
	keepAlarm   alarm
	heard       time.Time // when the peer last sent anything
	asked       time.Time // when the last probe of keep-alive was sent
	missed      int       // such probes that were not answered
}

// Link returns the connection that this is an end of.
func (c *Conn) Link() *Link { return c.link }

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Read reads what has arrived.
func (c *Conn) Read(p []byte) (int, error) {
	c.link.n.mu.Lock()
	defer c.link.n.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.fails("read", net.ErrClosed)
		case c.readBy.passed():
			return 0, c.fails("read", os.ErrDeadlineExceeded)
		case c.unread():
		case len(p) == 0:
			return 0, nil
		case len(c.in.in) > 0:
			return c.in.read(p), nil
		case c.err != nil:
			return 0, c.fails("read", os.NewSyscallError("read", c.err))
		case c.in.eof:
			return 0, io.EOF
		}
		c.cond.Wait()
	}
}

// Write hands p to the kernel. It returns when all of it is in the send
// buffer, not when it has arrived.
func (c *Conn) Write(p []byte) (int, error) {
	c.link.n.mu.Lock()
	defer c.link.n.mu.Unlock()
	for c.writing {
		c.cond.Wait()
	}
	c.writing = true
	defer func() {
		c.writing = false
		c.cond.Broadcast()
	}()
	for sent := 0; ; {
		switch room := c.sendBuffer - len(c.out.buf); {
		case c.closed:
			return sent, c.fails("write", net.ErrClosed)
		case c.writeBy.passed():
			return sent, c.fails("write", os.ErrDeadlineExceeded)
		case c.stopped():
		case c.err != nil:
			return sent, c.fails("write", os.NewSyscallError("write", c.err))
		case c.out.fin:
			return sent, c.fails("write", os.NewSyscallError("write", syscall.EPIPE))
		case sent == len(p):
			return sent, nil
		case room > 0:
			n := min(room, len(p)-sent)
			c.out.buf = append(c.out.buf, p[sent:sent+n]...)
			c.out.total += int64(n)
			sent += n
			c.out.push()
			if sent == len(p) {
				return sent, nil
			}
			continue
		}
		c.cond.Wait()
	}
}

// Close closes this end and wakes whoever reads or writes. What was written
// still goes out; if something that arrived was not read, the peer gets a reset
// instead, as from Linux.
func (c *Conn) Close() error {
	c.link.n.mu.Lock()
	defer c.link.n.mu.Unlock()
	if c.closed {
		return c.fails("close", net.ErrClosed)
	}
	c.closed = true
	c.readBy.alarm.stop()
	c.writeBy.alarm.stop()
	c.link.n.note(c.who(), "closed")
	if !c.stopped() {
		c.hangUp()
	}
	c.cond.Broadcast()
	return nil
}

// CloseWrite ends what this end sends. It can still read.
func (c *Conn) CloseWrite() error {
	c.link.n.mu.Lock()
	defer c.link.n.mu.Unlock()
	switch {
	case c.closed:
		return c.fails("close", net.ErrClosed)
	case c.gone:
		return c.fails("close", os.NewSyscallError("shutdown", syscall.ENOTCONN))
	}
	c.out.finish()
	return nil
}

// SetDeadline sets both deadlines, as net.Conn says.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.readBy, &c.writeBy) }

// SetReadDeadline sets the deadline of reads, those that wait included.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.readBy) }

// SetWriteDeadline sets the deadline of writes, those that wait included.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.writeBy) }

func (c *Conn) setDeadlines(t time.Time, ds ...*deadline) error {
	return c.option(func() {
		for _, d := range ds {
			d.at = t
			d.alarm.stop()
			if !t.IsZero() && !d.passed() {
				d.alarm.set(c.link.n, time.Until(t), c.cond.Broadcast)
			}
		}
	})
}

// SetKeepAliveConfig sets TCP keep-alive, as net.TCPConn does.
func (c *Conn) SetKeepAliveConfig(config net.KeepAliveConfig) error {
	return c.option(func() {
		c.keep = keepAliveOf(config)
		c.awaitKeepAlive()
	})
}

// SetUserTimeout sets TCP_USER_TIMEOUT. 0 turns it off.
func (c *Conn) SetUserTimeout(d time.Duration) error {
	return c.option(func() {
		c.userTimeout = d
		c.out.timer.stop()
		c.out.arm()
	})
}

// SetLinger makes Close reset the connection if sec is 0, as net.TCPConn's does. Any other value is
// taken for the default, a negative one.
func (c *Conn) SetLinger(sec int) error { return c.option(func() { c.linger0 = sec == 0 }) }

// SetReadBuffer sets how much this end keeps that was not read.
func (c *Conn) SetReadBuffer(bytes int) error {
	return c.option(func() {
		c.receiveBuffer = bytes
		c.in.read(nil)
	})
}

// SetWriteBuffer sets how much Write takes that was not acknowledged.
func (c *Conn) SetWriteBuffer(bytes int) error { return c.option(func() { c.sendBuffer = bytes }) }

// SetNoDelay does nothing: this network never delays small packets.
func (c *Conn) SetNoDelay(bool) error { return c.option(func() {}) }

func (c *Conn) option(set func()) error {
	c.link.n.mu.Lock()
	defer c.link.n.mu.Unlock()
	if c.closed {
		return c.fails("set", net.ErrClosed)
	}
	set()
	c.cond.Broadcast()
	return nil
}

// A deadline is a time from which calls fail. Its alarm wakes those that wait.
type deadline struct {
	at    time.Time
	alarm alarm
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// fails is an error as package net returns it.
func (c *Conn) fails(op string, err error) error {
	if c.ended != nil && !c.closed && err != os.ErrDeadlineExceeded {
		return c.ended // the dialer has ended: its error, not a *net.OpError
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
