package testnet

import (
	"net"
	"slices"
	"sync"
)

// A Host is an address of a network that is, or was, listened on. It is a
// net.Listener, for http.Server.Serve and its like. Its Conditions apply to every
// connection to it, in addition to the connection's own.
type Host struct {
	Conditions

	n         *Network
	name      string // "name:port"
	addr      *net.TCPAddr
	cond      *sync.Cond // Accept waits here
	listening bool
	queue     []*Conn // connected, and not accepted
	links     []*Link // those of which at least one end is not over
	numbered  int     // links ever
	dials     int
	sum       traffic // of links that are over
	end       error   // what dials fail with since End
	ended     chan struct{}

	stopServer func() error // of Serve and ServeTLS
}

// Name returns the address that the host was made with.
func (h *Host) Name() string { return h.name }

// Addr returns the address of the listener.
func (h *Host) Addr() net.Addr { return h.addr }

// Accept waits for a connection. While the host is frozen it waits on.
func (h *Host) Accept() (net.Conn, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	for {
		switch {
		case !h.listening:
			return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: h.addr, Err: net.ErrClosed}
		case len(h.queue) > 0 && !h.faults.Frozen:
			c := h.queue[0]
			h.queue = h.queue[1:]
			return c, nil
		}
		h.cond.Wait()
	}
}

// Close ends the listener: dials are refused, and connections that nobody has
// accepted are reset. Those that were accepted live on. The host can listen
// again: see Network.Listen.
func (h *Host) Close() error {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if !h.listening {
		return &net.OpError{Op: "close", Net: "tcp", Addr: h.addr, Err: net.ErrClosed}
	}
	h.n.note(h.name, "listens no more")
	h.stopListening()
	return nil
}

// stopListening ends the listener, which may have been closed before. The caller holds the mutex.
func (h *Host) stopListening() {
	h.listening = false
	for _, c := range h.queue {
		c.abort()
	}
	h.queue = nil
	h.cond.Broadcast()
}

// End ends the host for good, as the far end of a session that was closed: its
// connections are reset, and all dials, those under way included, fail
// with err. A nil err is net.ErrClosed in a *net.OpError.
func (h *Host) End(err error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if h.end != nil {
		return
	}
	h.n.note(h.name, "ends for good")
	if err == nil {
		err = &net.OpError{Op: "dial", Net: "tcp", Addr: h.addr, Err: net.ErrClosed}
	}
	h.end = err
	close(h.ended)
	h.stopListening()
	h.resetAll()
}

// Reset resets all connections to the host: both ends get ECONNRESET. Later dials are not affected.
func (h *Host) Reset() {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.resetAll()
}

func (h *Host) resetAll() {
	for _, l := range slices.Clone(h.links) {
		l.reset()
	}
}

// Links returns the connections to the host that the dialing program has not
// closed, the oldest first.
func (h *Host) Links() []*Link {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	var open []*Link
	for _, l := range h.links {
		if !l.client.closed {
			open = append(open, l)
		}
	}
	return open
}

// AllLinks returns the connections to the host that are not over at both ends, the
// oldest first: those of Links, and those whose close has not come through.
func (h *Host) AllLinks() []*Link {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	return slices.Clone(h.links)
}

// Stats tell what a host has seen since it was made.
type Stats struct {
	// Dials counts attempts to connect, Connected those that succeeded.
	Dials, Connected int
	// OpenByClients counts the connections that the dialing program has not
	// closed, OpenByServer those that the listening program has not.
	OpenByClients, OpenByServer int
	// BytesToHost and BytesFromHost count the bytes of data that arrived.
	BytesToHost, BytesFromHost int64
}

// Stats returns what the host has seen since it was made.
func (h *Host) Stats() Stats {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	s := Stats{Dials: h.dials, Connected: h.numbered}
	sum := h.sum
	for _, l := range h.links {
		sum.add(l.traffic())
		if !l.client.closed {
			s.OpenByClients++
		}
		if !l.server.closed {
			s.OpenByServer++
		}
	}
	s.BytesToHost, s.BytesFromHost = sum.toHost, sum.fromHost
	return s
}

// Dials returns how often somebody has tried to connect.
func (h *Host) Dials() int { return h.Stats().Dials }

// Open returns how many connections the dialing program has not closed.
func (h *Host) Open() int { return h.Stats().OpenByClients }

// refresh is called under the mutex when the host's faults have changed.
func (h *Host) refresh() {
	h.cond.Broadcast()
	for _, l := range slices.Clone(h.links) {
		l.refresh()
	}
}
