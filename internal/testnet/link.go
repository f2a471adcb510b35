package testnet

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// A Link is one connection, as the network sees it. Its Conditions apply to it alone, in
// addition to those of its host.
type Link struct {
	Conditions

	n              *Network
	host           *Host
	dialer         *Dialer
	number         int
	client, server *Conn
	there, back    *wire
	dark           bool // packets of some direction are dropped
}

// newLink connects a dialer to a host. The caller holds the mutex.
func newLink(h *Host, d *Dialer) *Link {
	n := h.n
	h.numbered++
	n.ports++
	l := &Link{n: n, host: h, dialer: d, number: h.numbered}
	l.Conditions = Conditions{n: n, who: fmt.Sprintf("%s#%d", h.name, l.number), changed: l.refresh}
	here := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 1024 + n.ports%64512}
	l.client = newConn(l, here, h.addr, d.keepAlive(), d.UserTimeout)
	l.server = newConn(l, h.addr, here, keepAliveOf(net.KeepAliveConfig{Enable: true}), 0)
	join(l.client, l.server, ToHost)
	join(l.server, l.client, FromHost)
	l.there, l.back = &wire{link: l, way: ToHost}, &wire{link: l, way: FromHost}
	h.links = append(h.links, l)
	n.note(l.who, "connected")
	return l
}

func newConn(l *Link, local, remote net.Addr, k keepAlive, userTimeout time.Duration) *Conn {
	return &Conn{
		link: l, local: local, remote: remote, cond: sync.NewCond(&l.n.mu), heard: time.Now(),
		keep: k, userTimeout: userTimeout, sendBuffer: SendBuffer, receiveBuffer: ReceiveBuffer,
	}
}

// join makes the flow from one end to the other.
func join(from, to *Conn, way Direction) {
	f := &flow{link: from.link, from: from, to: to, way: way, edge: ReceiveBuffer, advertised: ReceiveBuffer}
	from.out, to.in = f, f
}

// Name returns the host's address and the connection's number, as in
// "good.test:443#2": the second one since the host was made.
func (l *Link) Name() string { return l.who }

// Host returns the host that the link leads to.
func (l *Link) Host() *Host { return l.host }

// Reset resets the connection: both ends get ECONNRESET, at once.
func (l *Link) Reset() {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	l.reset()
}

func (l *Link) reset() {
	l.client.wasReset()
	l.server.wasReset()
}

// weather is what befalls the link: its own faults and its host's.
func (l *Link) weather() Faults { return l.host.faults.with(l.faults) }

// drops reports whether packets of any of these directions are lost.
func (l *Link) drops(way Direction) bool { return l.weather().Drop&way != 0 }

// wire returns the way that packets of the direction take.
func (l *Link) wire(way Direction) *wire {
	if way == ToHost {
		return l.there
	}
	return l.back
}

// refresh is called under the mutex when the link's faults or its host's have
// changed.
func (l *Link) refresh() {
	l.dark = l.drops(Both)
	for _, c := range []*Conn{l.client, l.server} {
		if l.dark {
			c.keepProbing()
			c.out.arm()
		}
		if c.closed && !c.hungUp && !c.stopped() {
			c.hangUp() // it was closed while its process was frozen
		}
		c.cond.Broadcast()
	}
}

// prune forgets the link when both of its ends are over.
func (l *Link) prune() {
	for _, c := range []*Conn{l.client, l.server} {
		if !c.closed || !c.gone {
			return
		}
	}
	if i := slices.Index(l.host.links, l); i >= 0 {
		l.host.links = slices.Delete(l.host.links, i, i+1)
		l.host.sum.add(l.traffic())
		l.spell.stop()
	}
}

// traffic counts bytes that arrived.
type traffic struct{ toHost, fromHost int64 }

func (t *traffic) add(u traffic) {
	t.toHost += u.toHost
	t.fromHost += u.fromHost
}

func (l *Link) traffic() traffic { return traffic{l.client.out.arrived, l.server.out.arrived} }
