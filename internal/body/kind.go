package body

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
)

// What kind of request is it? Whether it may be sent again is in replay.go.

// Has reports whether there is a body to send.
func Has(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// NeedsShield reports whether req has a body that must be observed while it is sent.
// One kind can be read only once, and net/http would close it unread when a dial fails;
// another can fail, or keep everybody waiting. The shield of a file lets a connection send it
// straight from its disk all the same (file.go).
func (r Replay) NeedsShield(req *http.Request) bool {
	if r == Never || !Has(req) {
		return false
	}
	switch unwrapped(req.Body).(type) {
	case *bytes.Reader, *bytes.Buffer, *strings.Reader:
		return req.GetBody == nil // in memory: it neither fails nor waits
	}
	return true
}

// IsPlainGet reports, at little cost, whether req is a GET without a body, as most
// requests are, which can always be sent again.
func IsPlainGet(req *http.Request) bool {
	return (req.Method == http.MethodGet || req.Method == "") && (req.Body == nil || req.Body == http.NoBody)
}

// NeedsWatch reports whether req has to be watched from its first attempt: a request
// that must not be processed twice may be sent again only if it is known to be unsent.
func (r Replay) NeedsWatch(req *http.Request) bool {
	return r != Never && (r == Unsent || !isIdempotent(req) || r.NeedsShield(req))
}

var (
	nopCloserType         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterToType = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)

// unwrapped returns the reader that net/http finds in an io.NopCloser (net/http/transfer.go,
// unwrapBody and isKnownInMemoryReader).
func unwrapped(r io.Reader) io.Reader {
	if t := reflect.TypeOf(r); t == nopCloserType || t == nopCloserWriterToType {
		r, _ = reflect.ValueOf(r).Field(0).Interface().(io.Reader)
	}
	return r
}

// Repeatable reports whether req may be sent again whatever became of it: it is
// idempotent, and its body can be had again.
func (r Replay) Repeatable(req *http.Request) bool {
	return r == Idempotent && isIdempotent(req) && (!Has(req) || req.GetBody != nil)
}

// Copyable reports whether req may be in two places at once: it is a GET, HEAD, OPTIONS
// or TRACE without a body, and asks for no other protocol.
func (r Replay) Copyable(req *http.Request) bool {
	return r == Idempotent && isSafe(req.Method) && !Has(req) && !asksForUpgrade(req)
}

// asksForUpgrade goes by the header's name on the wire: net/http sends a key as it is.
func asksForUpgrade(req *http.Request) bool {
	for key, values := range req.Header {
		if len(key) == len("Upgrade") && len(values) > 0 && strings.EqualFold(key, "Upgrade") {
			return true
		}
	}
	return false
}
