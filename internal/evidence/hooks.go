package evidence

import (
	"cmp"
	"net"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// What the hooks of an attempt tell: whose connection is asked for, and whether the attempt has a
// place in its pool, and then a connection.

// A Listener is told of an attempt as it goes on, without a lock.
type Listener interface {
	Asks(queued bool) // the attempt looks for a connection, and for a place in its own pool first
	Placed()          // it has that place
	Sends()           // something of it may have been sent
}

// aim notes what the attempt's own GetConn will name. Only a hook that has to tell takes it
// apart (isTarget), since most requests fire none.
func (w *Watch) aim(u *url.URL) {
	if u != nil {
		w.host, w.port = u.Host, portOf(u.Scheme)
	}
}

// isTarget reports whether the attempt itself asks for hostPort: GetConn names the host and the
// port of the URL together, in ASCII (net/http/transport.go, canonicalAddr).
func (w *Watch) isTarget(hostPort string) bool {
	host, port, err := net.SplitHostPort(hostPort)
	u := url.URL{Host: w.host}
	return err == nil && isInASCII(host, u.Hostname()) && port == cmp.Or(u.Port(), w.port)
}

// isInASCII reports whether host is name, or may be what net/http makes of it if name is not ASCII. A
// label of name that is not has one that begins with "xn--" (RFC 5890, section 2.3.2.1). Which one is
// not computed: that takes tables of all of Unicode, and two names of one shape within one attempt
// are rare.
func isInASCII(host, name string) bool {
	if host == name {
		return true
	}
	labels, names := strings.Split(host, "."), strings.FieldsFunc(name, isDot)
	return !isASCII(name) && slices.EqualFunc(labels, names, func(label, of string) bool {
		if isASCII(of) {
			return strings.EqualFold(label, of)
		}
		return strings.HasPrefix(label, "xn--")
	})
}

// isDot reports whether r separates labels (RFC 3490, section 3.1).
func isDot(r rune) bool { return strings.ContainsRune(".\u3002\uff0e\uff61", r) }

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

func (w *Watch) getConn(hostPort string) {
	asks, placed := w.asks(hostPort)
	switch {
	case w.Listener == nil:
	case asks:
		w.Listener.Asks(w.pool.places)
	case placed:
		w.Listener.Placed()
	}
}

// asks reports whether it is the attempt itself that looks for a connection. If the pool is
// net/http's, the first GetConn is the attempt's, which names a proxy where there is one.
// Else GetConn's host:port has to tell: the transport may have no hooks at all, and those that
// fire may be of a request within its dial. placed: the attempt waits for no place any more.
func (w *Watch) asks(hostPort string) (asks, placed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting && !w.pool.http1 && w.isTarget(hostPort) {
		// An HTTP/2 stream asks once more for the connection that the attempt has waited for
		// (net/http/h2_bundle.go, getConnCalled), so that its dial, and what asked within, is over.
		w.nested = 0
		return false, w.leavesQueueLocked(Dialing)
	}
	if w.waiting || !w.pool.known && !w.isTarget(hostPort) {
		w.nested++ // a request within the attempt's dial: the attempt has its place
		return false, w.leavesQueueLocked(Dialing)
	}
	// net/http asks again when it retries by itself, which it does only if the
	// request was not processed: its latest GetConn counts.
	w.waiting, w.phase = true, Dialing
	if w.pool.places {
		w.phase = Queued
	}
	return true, false
}

// dials notes that a connection is being made, so the attempt does not wait for a place.
func (w *Watch) dials() {
	w.mu.Lock()
	placed := w.nested == 0 && w.leavesQueueLocked(Dialing)
	w.mu.Unlock()
	if placed && w.Listener != nil {
		w.Listener.Placed()
	}
}

// leavesQueueLocked ends the wait for a place, and reports whether there was one.
func (w *Watch) leavesQueueLocked(to Phase) bool {
	if w.phase != Queued {
		return false
	}
	w.phase, w.placed = to, time.Since(w.start)
	return true
}

func (w *Watch) gotConn(httptrace.GotConnInfo) {
	w.mu.Lock()
	first := !w.shown
	w.shown = true
	placed := false
	if w.nested > 0 {
		w.nested--
	} else {
		placed = w.leavesQueueLocked(Connected)
		w.waiting, w.phase = false, Connected
	}
	w.mu.Unlock()
	switch {
	case w.Listener == nil:
	case first:
		w.Listener.Sends()
	case placed:
		w.Listener.Placed()
	}
}
