// Package body knows which requests may be sent again, and whether a request's body is
// still available.
package body

import "net/http"

// May a POST go again? Yes, if nothing of it was sent: no connection was got for it and no
// byte of its body was read, or an HTTP/2 connection did not take it. A POST that may have
// been processed goes again only if it has an Idempotency-Key or X-Idempotency-Key header
// (Allows). The same holds for PUT, PATCH and DELETE, as in net/http. Under ReplayUnsent only
// what was not sent goes again, and under ReplayNever nothing does. Whether something was
// sent is told by Unsent in internal/evidence/watch.go: by net/http's hooks or, for a
// transport that has none, by the error's type and by how much of the body is left.
//
// A request that the core calls back before anything of it was sent goes again without an error.
// After an error four more things must hold, as for any request. mayGoAgain and its caller in
// internal/call/land.go see to three: the error speaks against the transport, or a trial was
// never sent; the caller is still there; and the body can be had again, since it has GetBody
// or no byte of it was read. The core sees to the fourth, in internal/core: the request has
// an attempt left (spare in table.go; the fallback needs none), and there is something to make
// it on:
//
//   - While the authority is not tripped, that is the transport in service, but not after a
//     stall there, since a slow upstream is not asked twice (onItsWay in table.go). A timeout may
//     be a dialer's if nobody watched the attempt: after that a request goes again (note in
//     events.go).
//   - Once the authority has tripped, the request waits until a candidate is ready. It is sent
//     on the transport in service once more, as its own control, and on the candidate if that
//     fails, too (withTrial in trial.go). If there is nothing to try or to wait for, it goes to
//     the fallback (withoutTrial in table.go).
//   - After a promotion it is sent on the transport that was promoted. A POST with such a header
//     and a body that can be had again may move there, too, while it still waits for its answer
//     on the one that was replaced (promote.go).
//   - If the transport in service has ended, it has the next one built, if that may begin, and
//     waits for it. Otherwise it goes to the fallback or, without one, waits for what is being
//     built (withoutTransport in table.go).
//   - With WithWaitForReady it starts over with all of this after a second (wait.go).

// A Replay says which requests may be sent again after an error. Its values are
// those of respawn.Replay, where they are documented.
type Replay int

const (
	Idempotent Replay = iota
	Unsent
	Never
)

// String is the value as operators read it.
func (r Replay) String() string { return [...]string{"idempotent", "unsent", "never"}[r] }

// Allows reports whether sending req again is safe after an attempt of which nothing
// was sent, or of which something may have been sent. It does not say whether the body
// is still available.
func (r Replay) Allows(req *http.Request, unsent bool) bool {
	switch {
	case r == Never:
		return false
	case unsent:
		return true // whatever it was, nobody has seen it
	case r == Unsent:
		return false
	case isIdempotent(req):
		return true
	}
	return false // conservatively: it may have been processed
}

// isIdempotent is net/http's isReplayable (net/http/request.go), but for the body.
func isIdempotent(req *http.Request) bool {
	if isSafe(req.Method) {
		return true
	}
	// The header is there or not; net/http does not look at its value.
	_, key := req.Header["Idempotency-Key"]
	_, xkey := req.Header["X-Idempotency-Key"]
	return key || xkey
}

// isSafe reports whether a request with this method only asks. "" means GET.
func isSafe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}
