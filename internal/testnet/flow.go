package testnet

import "time"

// A flow is one direction of a connection: the sending half of one kernel, and
// the receiving half of the other. Sequence numbers count the bytes from 0, and
// the FIN as one more.
type flow struct {
	link     *Link
	from, to *Conn
	way      Direction

	// The sender.
	buf   []byte // what the writer has handed over from una on
	una   int64  // the first that is not acknowledged
	nxt   int64  // the first that was never sent
	total int64  // the end of what the writer has handed over, FIN included
	fin   bool   // the writer has shut down: the last of total is the FIN
	edge  int64  // the receiver has room for what is before this

	timer     alarm
	since     time.Time // since when data has waited for the next acknowledgment
	backoff   int       // retransmissions that were not answered
	recovered int64     // fast retransmission has sent again what is before this

	blocked time.Time // since when the window has been closed before unsent data
	probed  time.Time // when the first probe of the window was sent
	probes  int       // probes that were not answered

	// The receiver.
	in         []byte // what has arrived and was not read
	rcv        int64  // the next to arrive
	advertised int64  // the edge that the sender was told
	eof        bool   // the FIN has arrived
	arrived    int64  // bytes, for the statistics
}

// push sends what the window allows. After a timeout only the timer sends, until something is
// acknowledged, as in Linux, whose congestion window is down to one packet then.
func (f *flow) push() {
	if f.from.gone {
		return
	}
	if f.backoff == 0 {
		for limit := f.limit(); f.nxt < limit && !f.from.gone; limit = f.limit() {
			if f.since.IsZero() {
				f.since = time.Now()
			}
			seq := f.nxt
			f.nxt = min(limit, seq+segmentSize)
			f.transmit(seq, f.nxt)
		}
	}
	f.arm()
}

// limit is the end of what may be sent.
func (f *flow) limit() int64 { return min(f.total, f.edge) }

// transmit sends what lies between two sequence numbers.
func (f *flow) transmit(seq, end int64) {
	p := packet{kind: isData, seq: seq, fin: f.fin && end == f.total}
	first, last := seq-f.una, end-f.una
	if p.fin {
		last--
	}
	p.data = append([]byte(nil), f.buf[first:last]...)
	f.link.wire(f.way).send(p)
}

// rto returns the retransmission timeout before it is doubled. It assumes that the kernel knows the
// round-trip time.
func (f *flow) rto() time.Duration { return RTOMin + f.link.weather().roundTrip() }

// arm sees to it that the timer runs if the sender waits for something.
func (f *flow) arm() {
	switch {
	case f.from.gone:
		f.timer.stop()
	case f.una < f.nxt:
		f.blocked, f.probed = time.Time{}, time.Time{}
		if !f.timer.isSet() {
			f.wait(backedOff(f.rto(), f.backoff), f.since, f.retransmit)
		}
	case f.nxt < f.total:
		if f.blocked.IsZero() {
			f.blocked = time.Now()
		}
		f.awaitProbe()
	default:
		f.blocked, f.probed, f.since = time.Time{}, time.Time{}, time.Time{}
		f.timer.stop()
	}
}

// wait sets the timer to d, or to less if TCP_USER_TIMEOUT, counted from since, passes before that.
func (f *flow) wait(d time.Duration, since time.Time, then func()) {
	if u := f.from.userTimeout; u > 0 && !since.IsZero() {
		d = max(0, min(d, time.Until(since.Add(u))))
	}
	f.timer.set(f.link.n, d, then)
}

// retransmit is called when what was sent was not acknowledged in time.
func (f *flow) retransmit() {
	limit, rule := RetransmissionLimit, "after its retransmissions"
	if u := f.from.userTimeout; u > 0 {
		limit, rule = u, "by TCP_USER_TIMEOUT"
	}
	if time.Since(f.since) >= limit {
		f.from.timedOut("unacknowledged data " + rule)
		return
	}
	f.backoff++
	f.resend()
	f.arm()
}

// resend sends again what was sent and not acknowledged.
func (f *flow) resend() {
	for seq, end := f.una, f.nxt; seq < end && !f.from.gone; seq += segmentSize {
		// An acknowledgment can arrive while this goes on.
		if first, last := max(seq, f.una), min(seq+segmentSize, end); first < last {
			f.transmit(first, last)
		}
	}
}

// acknowledged is called at the sender.
func (f *flow) acknowledged(p packet) {
	if f.from.gone {
		return
	}
	f.from.heard = time.Now()
	f.edge = p.edge
	f.probes = 0
	switch {
	case p.ack > f.una:
		n := min(p.ack-f.una, int64(len(f.buf)))
		f.buf = f.buf[n:]
		f.una, f.nxt = p.ack, max(f.nxt, p.ack)
		f.backoff, f.since = 0, time.Time{}
		if f.una < f.nxt {
			f.since = time.Now()
		}
		f.timer.stop()
		f.from.cond.Broadcast()
		f.from.settle()
	case p.gap && f.una >= f.recovered && f.una < f.nxt:
		// Fast retransmission (RFC 5681), once for what is missing.
		f.recovered = f.nxt
		f.resend()
	}
	if f.blockedNoMore() {
		f.timer.stop()
	}
	f.push()
}

func (f *flow) blockedNoMore() bool { return !f.blocked.IsZero() && f.limit() > f.nxt }

// arrive is called at the receiver, with data or a probe.
func (f *flow) arrive(p packet) {
	c := f.to
	switch {
	case c.timeWait:
		f.acknowledge(false)
		return
	case c.gone:
		f.link.wire(f.way.back()).send(packet{kind: isReset})
		return
	}
	c.heard = time.Now()
	gap := p.kind == isData && p.seq > f.rcv
	if p.kind == isData && !gap {
		if !f.take(p) {
			return
		}
		c.cond.Broadcast()
	}
	f.acknowledge(gap)
	c.settle()
}

// take keeps what is new and has room. It reports whether the connection lives.
func (f *flow) take(p packet) bool {
	skip := min(f.rcv-p.seq, int64(len(p.data)))
	fresh := p.data[skip:]
	if len(fresh) > 0 && f.to.hungUp {
		f.to.abort() // nobody will ever read it
		return false
	}
	n := min(len(fresh), f.room())
	f.in = append(f.in, fresh[:n]...)
	f.rcv += int64(n)
	f.arrived += int64(n)
	if p.fin && f.rcv == p.end()-1 {
		f.rcv++
		f.eof = true
	}
	return true
}

// room is the receiver's window.
func (f *flow) room() int { return max(0, f.to.receiveBuffer-len(f.in)) }

// acknowledge tells the sender what has arrived, and how much room there is.
func (f *flow) acknowledge(gap bool) {
	f.advertised = f.rcv + int64(f.room())
	f.link.wire(f.way.back()).send(packet{kind: isAck, ack: f.rcv, edge: f.advertised, gap: gap})
}

// read takes what has arrived, and tells the sender if that opens its window.
func (f *flow) read(p []byte) int {
	n := copy(p, f.in)
	f.in = f.in[n:]
	closed := f.advertised <= f.rcv
	if closed && f.room() > 0 && !f.to.gone && !f.eof {
		f.acknowledge(false)
	}
	return n
}

// finish sends a FIN after what was written.
func (f *flow) finish() {
	if !f.fin {
		f.fin = true
		f.total++
		f.push()
	}
}

// unanswered reports whether something that was sent, or waits to be, is not
// acknowledged.
func (f *flow) unanswered() bool { return f.una < f.total }
