package testnet

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A Dialer connects to the hosts of a network, as a net.Dialer does, and can die
// as the tunnels do that people put under their transports. It must not be
// copied after its first use.
type Dialer struct {
	// Network is the network that the dialer is on.
	Network *Network
	// Timeout limits a dial. 0 is no limit but the context's and the kernel's.
	Timeout time.Duration
	// KeepAlive and KeepAliveConfig are those of net.Dialer: the zero values
	// are Go's defaults, and a negative KeepAlive turns it off.
	KeepAlive       time.Duration
	KeepAliveConfig net.KeepAliveConfig
	// UserTimeout is TCP_USER_TIMEOUT. 0 is none.
	UserTimeout time.Duration

	// Guarded by the network's mutex.
	err   error         // since End
	ended chan struct{} // closed by End; made by whoever needs it first
}

// Dial connects without a context.
func (d *Dialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// End ends the dialer for good, like a tunnel that has died. Later dials and those under way fail
// with err itself, and so do reads and writes at this end of the dialer's connections. The hosts'
// ends are reset. A nil err stands for net.ErrClosed in a *net.OpError.
func (d *Dialer) End(err error) {
	d.Network.mu.Lock()
	defer d.Network.mu.Unlock()
	if d.err != nil {
		return
	}
	if err == nil {
		err = &net.OpError{Op: "dial", Net: "tcp", Err: net.ErrClosed}
	}
	d.Network.note("dialer", "ends for good")
	d.err = err
	close(d.end())
	for _, h := range d.Network.hosts {
		for _, l := range slices.Clone(h.links) {
			if l.dialer == d {
				l.client.lose(err)
				l.reset()
			}
		}
	}
}

func (d *Dialer) end() chan struct{} {
	if d.ended == nil {
		d.ended = make(chan struct{})
	}
	return d.ended
}

func (d *Dialer) keepAlive() keepAlive {
	switch {
	case d.KeepAliveConfig.Enable:
		return keepAliveOf(d.KeepAliveConfig)
	case d.KeepAlive < 0:
		return keepAlive{}
	}
	return keepAliveOf(net.KeepAliveConfig{Enable: true, Idle: d.KeepAlive})
}

// DialContext connects to a host. Its errors are those of net.Dialer. The
// network has to be one of TCP's, which are all the same here.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	t := &try{dialer: d, n: d.Network, ctx: ctx, network: network}
	conn, err := t.dial(addr)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// A try is one dial.
type try struct {
	dialer  *Dialer
	n       *Network
	ctx     context.Context
	network string
	host    *Host
	limit   <-chan time.Time // the dialer's timeout
	ended   <-chan struct{}
}

func (t *try) dial(addr string) (*Conn, error) {
	if !strings.HasPrefix(t.network, "tcp") {
		return nil, t.fails(net.UnknownNetworkError(t.network))
	}
	if err := t.ctx.Err(); err != nil {
		return nil, t.gaveUp()
	}
	if err := t.begin(addr); err != nil {
		return nil, err
	}
	if d := t.dialer.Timeout; d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		t.limit = timer.C
	}
	for i := range SYNRetries + 1 {
		sent := time.Now()
		trip, there := t.syn()
		if there {
			if err := t.pause(trip); err != nil {
				return nil, err
			}
			if conn, err, answered := t.synAck(); answered {
				return conn, err
			}
		}
		if err := t.pause(SYNTimeout<<i - time.Since(sent)); err != nil {
			return nil, err
		}
	}
	return nil, t.fails(os.NewSyscallError("connect", syscall.ETIMEDOUT))
}

// begin finds the host.
func (t *try) begin(addr string) error {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.host = t.n.hosts[strings.ToLower(addr)]
	t.ended = t.dialer.end()
	switch {
	case t.dialer.err != nil:
		return t.dialer.err
	case t.host != nil:
		t.host.dials++
		t.n.note(t.host.name, "dialed")
		return nil
	}
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return t.fails(err)
	}
	for known := range t.n.hosts {
		if n, _, _ := net.SplitHostPort(known); strings.EqualFold(n, name) {
			return t.fails(os.NewSyscallError("connect", syscall.ECONNREFUSED))
		}
	}
	return t.fails(&net.DNSError{Err: "no such host", Name: name, IsNotFound: true})
}

// syn sends a SYN. It returns how long the answer takes, if there is one.
func (t *try) syn() (time.Duration, bool) {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	return t.host.faults.roundTrip(), t.host.faults.Drop == 0
}

// synAck returns the host's answer to a SYN. There is none if the answer is lost or the backlog is
// full.
func (t *try) synAck() (conn *Conn, err error, answered bool) {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	h := t.host
	switch {
	case t.dialer.err != nil:
		return nil, t.dialer.err, true
	case h.end != nil:
		return nil, h.end, true
	case t.n.closed:
		return nil, t.fails(net.ErrClosed), true
	case h.faults.Drop != 0 || h.listening && len(h.queue) >= Backlog:
		return nil, nil, false
	case h.faults.Refuse || !h.listening:
		return nil, t.fails(os.NewSyscallError("connect", syscall.ECONNREFUSED)), true
	}
	l := newLink(h, t.dialer)
	h.queue = append(h.queue, l.server)
	h.cond.Broadcast()
	return l.client, nil, true
}

// pause waits, unless something ends the dial.
func (t *try) pause(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-t.limit:
		return t.fails(os.ErrDeadlineExceeded)
	case <-t.ctx.Done():
		return t.gaveUp()
	case <-t.ended:
		return t.dialer.cause()
	case <-t.host.ended:
		return t.host.cause()
	case <-t.n.over:
		return t.fails(net.ErrClosed)
	}
}

// gaveUp returns the error that net.Dialer returns for a context that is done.
func (t *try) gaveUp() error {
	if t.ctx.Err() == context.DeadlineExceeded {
		return t.fails(os.ErrDeadlineExceeded)
	}
	return t.fails(canceledError{})
}

func (t *try) fails(err error) error {
	e := &net.OpError{Op: "dial", Net: t.network, Err: err}
	if t.host != nil {
		e.Addr = t.host.addr
	}
	return e
}

func (d *Dialer) cause() error {
	d.Network.mu.Lock()
	defer d.Network.mu.Unlock()
	return d.err
}

func (h *Host) cause() error {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	return h.end
}

// canceledError is package net's own error for a context that was canceled.
type canceledError struct{}

func (canceledError) Error() string        { return "operation was canceled" }
func (canceledError) Is(target error) bool { return target == context.Canceled }
