package testnet

import "time"

// A packet is what travels on a wire: data, an acknowledgment, a probe of the
// window, or a reset.
type packet struct {
	kind packetKind

	// Data: the bytes from the sequence number seq on. A FIN takes a number
	// of its own, after the last byte.
	seq  int64
	data []byte
	fin  bool

	// Acknowledgment: all before ack has arrived, and there is room up to
	// edge. A gap says that something before what just arrived is missing.
	ack, edge int64
	gap       bool
}

type packetKind uint8

const (
	isData packetKind = iota
	isAck
	isProbe
	isReset
)

// end is the first sequence number after the packet.
func (p packet) end() int64 {
	end := p.seq + int64(len(p.data))
	if p.fin {
		end++
	}
	return end
}

// A wire carries the packets of one direction of a link, in order.
type wire struct {
	link  *Link
	way   Direction
	queue []traveling
	free  time.Time // when the last packet has left, if bandwidth is limited
	due   alarm
}

type traveling struct {
	packet
	at time.Time // when it arrives
}

// send takes a packet to the other end, at once if there is no delay. A packet
// is lost if the direction is dark when it leaves or when it arrives.
func (w *wire) send(p packet) {
	f := w.link.weather()
	if f.Drop&w.way != 0 {
		return
	}
	now := time.Now()
	at := now
	if f.BytesPerSecond > 0 {
		if at.Before(w.free) {
			at = w.free
		}
		at = at.Add(time.Duration(len(p.data)) * time.Second / time.Duration(f.BytesPerSecond))
		w.free = at
	}
	at = at.Add(f.delay(w.way))
	// No packet overtakes another: one that is sent behind others waits for them.
	if len(w.queue) == 0 && !at.After(now) {
		w.deliver(p)
		return
	}
	w.queue = append(w.queue, traveling{p, at})
	w.await()
}

// await sets the alarm for the first packet under way.
func (w *wire) await() {
	if len(w.queue) > 0 && !w.due.isSet() {
		w.due.set(w.link.n, time.Until(w.queue[0].at), w.arrive)
	}
}

func (w *wire) arrive() {
	for len(w.queue) > 0 && !w.queue[0].at.After(time.Now()) {
		p := w.queue[0].packet
		w.queue = w.queue[1:]
		if !w.link.drops(w.way) {
			w.deliver(p)
		}
	}
	w.await()
}

func (w *wire) deliver(p packet) {
	to, data := w.link.client, w.link.server.out
	if w.way == ToHost {
		to, data = w.link.server, w.link.client.out
	}
	switch p.kind {
	case isReset:
		to.wasReset()
	case isAck:
		to.out.acknowledged(p)
	default:
		data.arrive(p)
	}
}
