// Package testnet is a network in memory with the faults of a real one. It is for the
// tests of every layer and, by way of respawntest, for those of users. It depends only
// on the standard library, so that users take on no other dependency with it.
package testnet

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Network is an internet of its own: hosts that listen, connections between
// dialers and hosts, and the faults that befall them. Nothing leaves the
// process, and time is that of package time alone, so a Network that is made
// in a testing/synctest bubble runs in virtual time. It runs no goroutine of its
// own but for the servers that Serve and ServeTLS start.
//
// What one side writes is in the other side's buffer when Write returns, unless
// a fault keeps it. What Linux's TCP does about a fault is done here, at the same
// moment: see tcp.go for its rules.
//
// The parts: Host (a listener), Dialer, Link (one connection, as the network
// sees it) and Conn (one end of it, as a program sees it). Host and Link have
// Conditions, with which faults are set and healed. Stats, Open and Events tell
// what happened.
type Network struct {
	t testing.TB

	// mu guards everything about the network, its hosts, links, ends and
	// dialers. Nothing waits while holding it.
	mu      sync.Mutex
	born    time.Time
	closed  bool
	over    chan struct{} // closed by Close
	hosts   map[string]*Host
	count   int // of hosts ever, for their addresses
	ports   int // of dialers' ends, likewise
	def     Dialer
	events  []Event
	signers *authority    // of ServeTLS
	serving int           // connections that a server has a goroutine for
	served  chan struct{} // closed when serving is 0, if Close waits for that
}

// New returns a network without hosts, which is closed at the end of
// the test. In a synctest bubble it has to be made inside.
func New(t testing.TB) *Network {
	n := &Network{t: t, born: time.Now(), over: make(chan struct{}), hosts: map[string]*Host{}}
	n.def.Network = n
	t.Cleanup(n.Close)
	return n
}

// Close ends the servers that the network runs, all listeners, all dials under
// way, and all connections, whose ends are reset. It returns when the servers have
// ended what they served, or a second later.
func (n *Network) Close() {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	n.note("network", "closed")
	n.closed = true
	close(n.over)
	var servers []func() error
	for _, h := range n.hosts {
		h.stopListening()
		h.resetAll()
		h.spell.stop()
		if h.stopServer != nil {
			servers = append(servers, h.stopServer)
		}
	}
	n.mu.Unlock()
	for _, stop := range servers {
		_ = stop()
	}
	n.linger()
}

// Listen adds a host, or lets one listen again whose listener was closed.
// The address is "name:port"; a dial finds it by that, whatever the case. It
// fails the test if the address is in use or makes no sense.
func (n *Network) Listen(addr string) *Host {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	h, err := n.listen(addr)
	if err != nil {
		n.t.Fatalf("listen %s: %v", addr, err)
	}
	return h
}

func (n *Network) listen(addr string) (*Host, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	key := strings.ToLower(addr)
	h := n.hosts[key]
	switch {
	case n.closed:
		return nil, net.ErrClosed
	case h == nil:
		n.count++
		h = &Host{n: n, name: addr, ended: make(chan struct{})}
		// A block of documentation addresses (RFC 5737): nobody's.
		h.addr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(n.count)), Port: int(number)}
		h.cond = sync.NewCond(&n.mu)
		h.Conditions = Conditions{n: n, who: addr, changed: h.refresh}
		n.hosts[key] = h
	case h.listening || h.end != nil:
		return nil, fmt.Errorf("the address is in use, or its host has ended")
	}
	h.listening = true
	n.note(addr, "listens")
	return h, nil
}

// Dial connects to a host of the network, as DialContext does.
func (n *Network) Dial(network, addr string) (net.Conn, error) {
	return n.DialContext(context.Background(), network, addr)
}

// DialContext connects to a host of the network, as the zero net.Dialer would:
// with Go's defaults for keep-alive, and no timeout but the context's and the
// kernel's. It is made for http.Transport.DialContext. For other settings, and
// for a dialer that dies, use a Dialer.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.def.DialContext(ctx, network, addr)
}

// An Event is something that happened on a network.
type Event struct {
	At   time.Duration // since the network was made
	Who  string        // a host "good.test:443", or its second link "good.test:443#2"
	What string
}

// String returns the event as a line of the network's story.
func (e Event) String() string { return fmt.Sprintf("%v %s: %s", e.At, e.Who, e.What) }

// Events returns what has happened since the network was made: faults, dials,
// and the ends of connections. It is for tests that assert a story, and for
// the reader of one that failed.
func (n *Network) Events() []Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events)
}

// note adds to the story.
func (n *Network) note(who, format string, args ...any) {
	if !n.closed {
		n.events = append(n.events, Event{time.Since(n.born), who, fmt.Sprintf(format, args...)})
	}
}

// An alarm is a timer whose function runs under the network's mutex, and never
// after the alarm was stopped or set anew.
type alarm struct {
	timer *time.Timer
	turn  int
}

// set replaces what the alarm was set to.
func (a *alarm) set(n *Network, d time.Duration, f func()) {
	a.stop()
	turn := a.turn
	a.timer = time.AfterFunc(d, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if a.turn != turn {
			return // too late: it was stopped while this waited for the mutex
		}
		a.timer = nil
		f()
	})
}

func (a *alarm) stop() {
	a.turn++
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
}

func (a *alarm) isSet() bool { return a.timer != nil }
