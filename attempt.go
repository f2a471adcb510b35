package respawn

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// A phase is how far an attempt got, as its httptrace tells.
type phase int32

const (
	phaseUnwatched phase = iota // nobody looked: the authority was above suspicion
	phaseSilent                 // no hook fired: this RoundTripper has none
	phaseRefused                // no hook fired in net/http's own: it refused the request
	phaseDialing                // wanted a connection, never got one: nothing was sent
	phaseConnected              // had a connection
	phaseAnswered               // saw a first response byte
)

// An attempt is one RoundTrip on one generation.
type attempt struct {
	gen   *generation
	began uint64        // rt.clock when it began; 0 is before any failure now in the streak table
	req   *http.Request // as it was sent; nil for the caller's own
	err   error
	after func() // releases what the attempt holds when it has failed and was judged; nil for most

	// What this one must show, if it is a trial.
	proof  proof
	toBeat time.Duration

	// Of watched attempts only.
	watched bool
	start   time.Time
	phase   atomic.Int32
	dialed  atomic.Int64 // how long after start it had its connection, in ns
}

type attemptKey struct{}

// attemptOf returns the watched attempt that req belongs to, or nil.
func attemptOf(req *http.Request) *attempt {
	a, _ := req.Context().Value(attemptKey{}).(*attempt)
	return a
}

func (a *attempt) reached() phase {
	if a == nil || !a.watched {
		return phaseUnwatched
	}
	p := phase(a.phase.Load())
	if p == phaseUnwatched {
		p = phaseSilent
		if _, ok := a.gen.transport.(*http.Transport); ok {
			p = phaseRefused
		}
	}
	return p
}

// finish must be called for a failed attempt once it has been judged: until
// then its request's context tells whether it was cut.
func (a *attempt) finish() {
	if a.after != nil {
		a.after()
	}
}

// waited is how long a watched attempt has been waiting.
func (a *attempt) waited() time.Duration { return time.Since(a.start) }

// unanswered is how long it has been waiting on a connection, which is what can
// be compared: a fresh transport has to dial first.
func (a *attempt) unanswered() time.Duration {
	if a.reached() < phaseConnected {
		return 0
	}
	return a.waited() - time.Duration(a.dialed.Load())
}

// unsent reports whether nothing of the request can have reached the server:
// no connection was got. WroteHeaders would be no proof, it fires even when
// nothing was written.
func (a *attempt) unsent() bool {
	switch a.reached() {
	case phaseDialing:
		return true
	case phaseUnwatched, phaseSilent, phaseRefused:
		return neverSent(a.err)
	}
	return refusedStream(a.err)
}

// watch derives a request whose errors can be told by phase. For a trial the
// hooks are also where the candidate is proven, as early as that can be known.
func (a *attempt) watch(req *http.Request, proved func(phase)) *http.Request {
	a.watched = true
	a.start = time.Now()
	reach := func(p phase) {
		a.phase.Store(int32(p))
		if proved != nil {
			proved(p)
		}
	}
	// net/http asks again when it retries on another connection by itself,
	// which it does only while that is safe: its last word counts. Others may
	// retry what was sent, so with them a connection once had stays had.
	_, own := a.gen.transport.(*http.Transport)
	ctx := context.WithValue(req.Context(), attemptKey{}, a)
	return req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			if own || a.reached() < phaseConnected {
				a.phase.Store(int32(phaseDialing))
			}
		},
		GotConn: func(httptrace.GotConnInfo) {
			a.dialed.Store(int64(a.waited()))
			reach(phaseConnected)
		},
		GotFirstResponseByte: func() { reach(phaseAnswered) },
	}))
}
