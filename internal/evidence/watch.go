// Package evidence tells what the end of an attempt says about the transport:
// how far the attempt got, and what kind of error it had. It decides nothing.
package evidence

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// A Phase is how far an attempt got, as its httptrace tells.
type Phase int32

const (
	Unwatched Phase = iota // nobody looked: the authority was above suspicion
	Silent                 // no hook fired: this RoundTripper has none
	Refused                // no hook fired in net/http's own: it refused the request
	Dialing                // wanted a connection, never got one: nothing was sent
	Connected              // had a connection
	Answered               // saw a first response byte
)

// A Watch is what can be seen of one attempt. The zero value is that of an
// attempt which nobody watched.
type Watch struct {
	watched bool
	own     bool // the transport is net/http's own
	start   time.Time
	phase   atomic.Int32
	dialed  atomic.Int64 // how long after start it had its connection, in ns
}

type watchKey struct{}

// WatchOf returns the Watch of the attempt that req belongs to, or nil.
func WatchOf(req *http.Request) *Watch {
	w, _ := req.Context().Value(watchKey{}).(*Watch)
	return w
}

// Begin derives a request, to be made on transport, whose errors can be told by
// phase. reached may be nil; it is told, as early as that can be known, that the
// attempt was connected or answered.
func (w *Watch) Begin(req *http.Request, transport http.RoundTripper, reached func(Phase)) *http.Request {
	_, w.own = transport.(*http.Transport)
	w.watched = true
	w.start = time.Now()
	reach := func(p Phase) {
		w.phase.Store(int32(p))
		if reached != nil {
			reached(p)
		}
	}
	// net/http asks again when it retries on another connection by itself,
	// which it does only while that is safe: its last word counts. Others may
	// retry what was sent, so with them a connection once had stays had.
	ctx := context.WithValue(req.Context(), watchKey{}, w)
	return req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			if w.own || w.Reached() < Connected {
				w.phase.Store(int32(Dialing))
			}
		},
		GotConn: func(httptrace.GotConnInfo) {
			w.dialed.Store(int64(w.Waited()))
			reach(Connected)
		},
		GotFirstResponseByte: func() { reach(Answered) },
	}))
}

// Watched reports whether Begin was called.
func (w *Watch) Watched() bool { return w != nil && w.watched }

// Reached returns how far the attempt got. A nil Watch was Unwatched.
func (w *Watch) Reached() Phase {
	if !w.Watched() {
		return Unwatched
	}
	p := Phase(w.phase.Load())
	if p == Unwatched {
		p = Silent
		if w.own {
			p = Refused
		}
	}
	return p
}

// Waited is how long a watched attempt has been waiting.
func (w *Watch) Waited() time.Duration { return time.Since(w.start) }

// Unanswered is how long a watched attempt has been waiting on a connection,
// which is what can be compared: a fresh transport has to dial first.
func (w *Watch) Unanswered() time.Duration {
	if w.Reached() < Connected {
		return 0
	}
	return w.Waited() - time.Duration(w.dialed.Load())
}

// Unsent reports whether nothing of a request that ended in err can have
// reached the server: no connection was got. WroteHeaders would be no proof, it
// fires even when nothing was written.
func (w *Watch) Unsent(err error) bool {
	switch w.Reached() {
	case Dialing:
		return true
	case Unwatched, Silent, Refused:
		return neverSent(err)
	}
	return refusedStream(err)
}
