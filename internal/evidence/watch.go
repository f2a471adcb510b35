// Package evidence tells what the end of an attempt says about the transport:
// how far the attempt got, and what kind of error it had. It decides nothing.
package evidence

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
)

// A Phase is how far an attempt got, as its httptrace tells.
type Phase int32

const (
	Unwatched Phase = iota // nobody looked: the authority was above suspicion
	Silent                 // no hook fired: a RoundTripper or a protocol that has none, or a request that was refused
	Queued                 // waits for a place in its own pool (MaxConnsPerHost)
	Dialing                // wanted a connection, never got one
	Connected              // had a connection
)

// A Watch holds what can be observed of one attempt, and is the context through which
// that is observed. The zero value stands for an attempt that nobody watched.
//
// Hooks are inherited: if a dialer, or a callback for a proxy's header or a
// certificate, sends a request under the context that it was given, that request fires
// them, too. A Watch therefore keeps two facts apart. The first is whether the attempt
// had a connection of its own: that follows from which GetConn was the attempt's, and
// from depth, since a request made while the attempt waits for its connection is
// nested. The second is whether anything may have been sent: any connection at all
// means that it may.
type Watch struct {
	context.Context // the request's, with the hooks

	trace   httptrace.ClientTrace
	own     bool   // the transport is net/http's: the first GetConn is the attempt's
	places  bool   // and its pool may have no place
	target  string // host:port that is asked for, where it is not
	start   time.Time
	reached func()
	Asked   func() // told, if set before Begin, that the attempt looks for a connection

	mu      sync.Mutex // hooks fire concurrently, and late; guards the below
	phase   Phase
	since   time.Time // it began, or had its place
	waiting bool      // for a connection of its own
	nested  int       // requests for others that have none yet
	shown   bool      // any connection was
}

type watchKey struct{}

// traceKey is net/http/httptrace's own key, which it tells nobody: a context that
// is its own trace need not be wrapped in one.
var traceKey = func() any {
	p := keyProbe{Context: context.Background()}
	httptrace.ContextClientTrace(&p)
	return p.key
}()

type keyProbe struct {
	context.Context
	key any
}

func (p *keyProbe) Value(key any) any {
	p.key = key
	return nil
}

// Value implements [context.Context].
func (w *Watch) Value(key any) any {
	switch {
	case key == watchKey{}:
		return w
	case key == traceKey && w.trace.GetConn != nil:
		return &w.trace
	}
	return w.Context.Value(key)
}

// WatchOf returns the Watch of the attempt that req belongs to, or nil.
func WatchOf(req *http.Request) *Watch {
	w, _ := req.Context().Value(watchKey{}).(*Watch)
	return w
}

// Begin derives a request under ctx, to be made on transport, whose errors can be
// told by phase. reached may be nil; it is told that something may have been sent.
func (w *Watch) Begin(ctx context.Context, req *http.Request, transport http.RoundTripper, reached func()) *http.Request {
	t, own := transport.(*http.Transport)
	w.Context, w.own, w.start, w.reached = ctx, own, time.Now(), reached
	w.phase, w.since = Silent, w.start
	w.trace = httptrace.ClientTrace{GetConn: w.getConn, GotConn: w.gotConn}
	if !own {
		w.target = targetOf(req.URL)
	} else if w.places = t.MaxConnsPerHost > 0; w.places {
		w.trace.DNSStart = func(httptrace.DNSStartInfo) { w.dials() }
		w.trace.ConnectStart = func(string, string) { w.dials() }
		w.trace.TLSHandshakeStart = w.dials
	}
	if httptrace.ContextClientTrace(ctx) == nil && !w.places {
		return req.WithContext(w)
	}
	// The caller's hooks are composed with these, and net's are passed on to the
	// dialer, by httptrace alone.
	trace := w.trace
	w.trace = httptrace.ClientTrace{}
	return req.WithContext(httptrace.WithClientTrace(w, &trace))
}

// targetOf is host:port as GetConn names it (net/http/transport.go,
// canonicalAddr), but for names that are not ASCII.
func targetOf(u *url.URL) string {
	if u == nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func (w *Watch) getConn(hostPort string) {
	if w.asks(hostPort) && w.Asked != nil {
		w.Asked()
	}
}

// asks reports whether it is the attempt itself that looks for a connection.
func (w *Watch) asks(hostPort string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting || !w.own && hostPort != w.target {
		w.nested++
		return false
	}
	// net/http asks again when it retries by itself, which it does only where its
	// request was not processed: its last word counts.
	w.waiting, w.phase = true, Dialing
	if w.places {
		w.phase = Queued
	}
	return true
}

// dials: somebody does something about a connection, so that nobody waits for a
// place.
func (w *Watch) dials() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nested == 0 && w.phase == Queued {
		w.phase, w.since = Dialing, time.Now()
	}
}

func (w *Watch) gotConn(httptrace.GotConnInfo) {
	w.mu.Lock()
	first := !w.shown
	w.shown = true
	if w.nested > 0 {
		w.nested--
	} else {
		w.waiting = false
		if w.phase == Queued {
			w.since = time.Now()
		}
		w.phase = Connected
	}
	w.mu.Unlock()
	if first && w.reached != nil {
		w.reached()
	}
}

// Watched reports whether Begin was called.
func (w *Watch) Watched() bool { return w != nil && w.Context != nil }

// Started is when a watched attempt began; zero for others.
func (w *Watch) Started() time.Time { return w.start }

// Since returns the time since when a watched attempt has waited for nothing but the
// transport; zero while it waits for a place in its own pool.
func (w *Watch) Since() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == Queued {
		return time.Time{}
	}
	return w.since
}

// Reached returns how far the attempt got. A nil Watch was Unwatched.
func (w *Watch) Reached() Phase {
	if !w.Watched() {
		return Unwatched
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.phase
}

// Apart reports whether the attempt was without a connection of its own when it ended:
// it looked for one last, whatever it had before.
func (w *Watch) Apart() bool {
	phase := w.Reached()
	return phase == Dialing || phase == Queued
}

// shownAny reports whether any connection was shown, nested or not.
func (w *Watch) shownAny() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shown
}

// beganLate reports whether the caller's deadline had passed before the attempt
// began: then it says nothing.
func (w *Watch) beganLate(req *http.Request) bool {
	deadline, ok := req.Context().Deadline()
	return ok && w.Watched() && !w.start.Before(deadline)
}

// Unsent reports whether nothing of a request that ended in err can have
// reached the server: no connection was shown, nested or not, and no byte of sent's
// body was read; or the server itself says that it did not take the request.
// WroteHeaders would be no proof, it fires even when nothing was written.
func (w *Watch) Unsent(sent *http.Request, err error) bool {
	switch {
	case refusedStream(err):
		return true
	case sent != nil && body.Touched(sent):
		return false
	case w.Watched() && w.shownAny():
		return false
	case w.Apart():
		return true
	}
	return neverSent(err)
}

// Judged derives the request that an error is read from: the caller's, whose
// context tells whether it has gone, with the body as it was sent and what w saw.
func (w *Watch) Judged(caller, sent *http.Request) *http.Request {
	req := caller.WithContext(context.WithValue(caller.Context(), watchKey{}, w))
	req.Body = sent.Body
	return req
}
