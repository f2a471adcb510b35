package testnet

import (
	"fmt"
	"strings"
	"time"
)

// A Direction is one of the two ways of a connection, or both.
type Direction uint8

// The directions of packets and of data.
const (
	ToHost Direction = 1 << iota
	FromHost
	Both = ToHost | FromHost
)

// Faults is the state of the way to a host, or of one connection. The zero
// Faults is a network that is well.
type Faults struct {
	// Refuse answers dials with ECONNREFUSED. It means nothing for a Link.
	Refuse bool
	// Drop loses all packets of these directions, those under way included:
	// data, acknowledgments, SYNs, probes and resets. Nobody is told.
	Drop Direction
	// Frozen stops the host's process, as SIGSTOP does. Its kernel goes on:
	// dials connect, and data is acknowledged until the receive buffer is full.
	// The host's own reads and writes wait for the thaw, or for their deadlines.
	// Its Close returns at once, but the client learns of it after the thaw. A
	// server that still answers HTTP/2 PINGs is not frozen: its handlers wait.
	Frozen bool
	// Unread stops the reader of these directions, so that its window falls
	// to zero once its buffer is full: ToHost is the host that does not read.
	Unread Direction
	// DelayToHost and DelayFromHost are how long each packet travels.
	DelayToHost, DelayFromHost time.Duration
	// BytesPerSecond limits what each connection carries in each direction.
	// 0 is no limit.
	BytesPerSecond int
}

// with joins the faults of a host and those of one of its links.
func (f Faults) with(g Faults) Faults {
	f.Refuse = f.Refuse || g.Refuse
	f.Drop |= g.Drop
	f.Frozen = f.Frozen || g.Frozen
	f.Unread |= g.Unread
	f.DelayToHost += g.DelayToHost
	f.DelayFromHost += g.DelayFromHost
	if f.BytesPerSecond == 0 || g.BytesPerSecond > 0 && g.BytesPerSecond < f.BytesPerSecond {
		f.BytesPerSecond = g.BytesPerSecond
	}
	return f
}

// delay is how long a packet of the direction travels.
func (f Faults) delay(d Direction) time.Duration {
	if d == ToHost {
		return f.DelayToHost
	}
	return f.DelayFromHost
}

func (f Faults) roundTrip() time.Duration { return f.DelayToHost + f.DelayFromHost }

// String names what is set, for the network's story.
func (f Faults) String() string {
	var parts []string
	if f.Refuse {
		parts = append(parts, "refuses")
	}
	if f.Drop != 0 {
		parts = append(parts, fmt.Sprintf("drops %v", f.Drop))
	}
	if f.Frozen {
		parts = append(parts, "is frozen")
	}
	if f.Unread != 0 {
		parts = append(parts, fmt.Sprintf("leaves unread %v", f.Unread))
	}
	if f.roundTrip() > 0 {
		parts = append(parts, fmt.Sprintf("takes %v there and %v back", f.DelayToHost, f.DelayFromHost))
	}
	if f.BytesPerSecond > 0 {
		parts = append(parts, fmt.Sprintf("carries %d bytes/s", f.BytesPerSecond))
	}
	if parts == nil {
		return "is well"
	}
	return strings.Join(parts, ", ")
}

// back is the other direction.
func (d Direction) back() Direction { return d ^ Both }

// String names the direction.
func (d Direction) String() string {
	switch d {
	case ToHost:
		return "to the host"
	case FromHost:
		return "from the host"
	case Both:
		return "both ways"
	}
	return "nothing"
}

// Conditions are the faults of a Host or a Link, which can be set and healed at any time. A host's
// faults apply to all its connections, those to come included.
type Conditions struct {
	n       *Network
	who     string
	changed func()
	faults  Faults
	spell   alarm // ends Partition
}

// Set replaces all faults.
func (c *Conditions) Set(f Faults) { c.change(func(old *Faults) { *old = f }) }

// Faults returns the faults that are set.
func (c *Conditions) Faults() Faults {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	return c.faults
}

// Heal ends all faults. Nobody is told: what was lost meanwhile arrives with
// its next retransmission.
func (c *Conditions) Heal() { c.Set(Faults{}) }

// Refuse answers dials with ECONNREFUSED. Connections live on: see Host.Reset.
func (c *Conditions) Refuse() { c.change(func(f *Faults) { f.Refuse = true }) }

// BlackHole loses all packets, or those of the directions given.
func (c *Conditions) BlackHole(ways ...Direction) {
	c.change(func(f *Faults) { f.Drop = all(ways) })
}

// Partition loses all packets for d. After that only Drop is healed: other faults stay.
func (c *Conditions) Partition(d time.Duration) {
	c.BlackHole()
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.spell.set(c.n, d, func() {
		f := c.faults
		f.Drop = 0
		c.become(f)
	})
}

// Freeze stops the host's process: see Faults.Frozen.
func (c *Conditions) Freeze() { c.change(func(f *Faults) { f.Frozen = true }) }

// ZeroWindow stops the readers of the directions given, or of both: see
// Faults.Unread.
func (c *Conditions) ZeroWindow(ways ...Direction) {
	c.change(func(f *Faults) { f.Unread = all(ways) })
}

// Slow delays each packet, so that a round trip takes twice as long.
func (c *Conditions) Slow(oneWay time.Duration) {
	c.change(func(f *Faults) { f.DelayToHost, f.DelayFromHost = oneWay, oneWay })
}

func (c *Conditions) change(f func(*Faults)) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.spell.stop()
	faults := c.faults
	f(&faults)
	c.become(faults)
}

func (c *Conditions) become(f Faults) {
	c.faults = f
	c.n.note(c.who, "%v", f)
	c.changed()
}

func all(ways []Direction) Direction {
	if len(ways) == 0 {
		return Both
	}
	var d Direction
	for _, w := range ways {
		d |= w
	}
	return d
}
