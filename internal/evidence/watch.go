// Package evidence tells what the end of an attempt says about the transport:
// how far the attempt got, and what kind of error it had. It decides nothing.
package evidence

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
)

// A Phase is how far an attempt got, as its httptrace tells.
type Phase uint8

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
// from depth, since a request that is made while the attempt waits for its connection is
// nested (asks in hooks.go tells it from an HTTP/2 stream, which asks again). The second is
// whether anything may have been sent: any connection at all means that it may.
type Watch struct {
	context.Context // the request's, with the hooks

	trace httptrace.ClientTrace
	pool  Pool
	host  string // of the request's URL, which may name a port
	port  string // where it names none
	start time.Time

	Listener Listener // set before Begin; nil: nobody listens

	mu      sync.Mutex // hooks fire concurrently, and late; guards the below
	phase   Phase
	waiting bool          // for a connection of its own
	shown   bool          // some connection was shown
	refused bool          // by the caller's own hook
	nested  int32         // requests of others that have no connection yet
	placed  time.Duration // when it had its place, after start
}

type watchKey struct{}

// traceKey is the key of net/http/httptrace, which does not export it: a context that
// knows it can return a trace itself, and need not be wrapped.
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

// watchOf returns the Watch of the attempt that req belongs to, or nil.
func watchOf(req *http.Request) *Watch {
	w, _ := req.Context().Value(watchKey{}).(*Watch)
	return w
}

// Begin returns the context under ctx for an attempt that starts now, is for u and gets its
// connection from pool. With it, the attempt's errors can be told by phase.
func (w *Watch) Begin(ctx context.Context, u *url.URL, pool Pool, now time.Time) context.Context {
	w.Context, w.pool, w.start = ctx, pool, now
	w.phase = Silent
	w.trace.GetConn, w.trace.GotConn = w.getConn, w.gotConn
	w.aim(u)
	if pool.places {
		w.trace.DNSStart = func(httptrace.DNSStartInfo) { w.dials() }
		w.trace.ConnectStart = func(string, string) { w.dials() }
		w.trace.TLSHandshakeStart = w.dials
	}
	if httptrace.ContextClientTrace(ctx) == nil && !pool.places {
		return w
	}
	// The caller's hooks are composed with these, and net's are passed on to the
	// dialer, by httptrace alone.
	trace := w.trace
	w.trace = httptrace.ClientTrace{}
	ctx = httptrace.WithClientTrace(w, &trace) // and trace has all hooks now
	w.heed(&trace)
	return ctx
}

// Watched reports whether Begin was called.
func (w *Watch) Watched() bool { return w != nil && w.Context != nil }

// Note notes when an attempt that nobody watches began.
func (w *Watch) Note(start time.Time) { w.start = start }

// Started is when the attempt began; zero if nobody looked.
func (w *Watch) Started() time.Time { return w.start }

// Since returns the time since when a watched attempt has waited for nothing but the
// transport; zero while it waits for a place in its own pool.
func (w *Watch) Since() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == Queued {
		return time.Time{}
	}
	return w.start.Add(w.placed)
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

// Queued is how long the attempt had to wait for a place in its own pool before it had one.
func (w *Watch) Queued() time.Duration {
	if !w.Watched() {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.placed
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

// IfUnsent calls f, which does not block, unless something of sent may have been sent: a
// connection was shown, or a byte of its body was read. No hook comes in between.
func (w *Watch) IfUnsent(sent *http.Request, f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.shown && !body.Touched(sent) {
		f()
	}
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
// WroteHeaders would be no proof, it fires even when nothing was written. An error of the
// caller's own body proves nothing, whatever connection it speaks of: an upload may be
// another server's answer.
func (w *Watch) Unsent(sent *http.Request, err error) bool {
	foreign := sent != nil && body.MayBe(sent, err)
	switch {
	case !foreign && refusedStream(err):
		return true
	case sent != nil && body.Touched(sent):
		return false
	case w.Watched() && w.shownAny():
		return false
	case !w.Apart() && (foreign || !neverSent(err)):
		return false
	}
	return sent == nil || !body.Begun(sent)
}

// Judged derives the request that an error is read from: the caller's, whose
// context tells whether it has gone, with the body as it was sent and what w saw.
func (w *Watch) Judged(caller, sent *http.Request) *http.Request {
	req := caller.WithContext(context.WithValue(caller.Context(), watchKey{}, w))
	req.Body = sent.Body
	return req
}
