package evidence

import "net/http"

// A Pool is what is known of the connections that a transport has for its requests. The zero
// value is that of a transport that shows nothing of them: neither net/http's nor a wrapper
// that says it wraps one.
type Pool struct {
	known  bool
	places bool
	http1  bool // and nothing else: a request asks once for a connection
}

// PoolOf describes the pool of t, which may be nil, as it is now. net/http wants t unchanged
// once it is in use.
func PoolOf(t *http.Transport) Pool {
	if t == nil {
		return Pool{}
	}
	return Pool{known: true, places: t.MaxConnsPerHost > 0, http1: !mayBeHTTP2(t)}
}

// mayBeHTTP2 reports whether t may have HTTP/2, as far as can be read while t is in use: net/http writes to
// TLSNextProto and TLSClientConfig, but not where a dialer of the user's keeps it from HTTP/2
// (net/http/transport.go, onceSetNextProtoDefaults and protocols).
func mayBeHTTP2(t *http.Transport) bool {
	//lint:ignore SA1019 some still set them
	dials := t.Dial != nil || t.DialTLS != nil || t.DialContext != nil || t.DialTLSContext != nil
	switch {
	case t.Protocols != nil:
		return t.Protocols.HTTP2() || t.Protocols.UnencryptedHTTP2()
	case t.ForceAttemptHTTP2 || !dials:
		return true
	}
	return t.TLSNextProto["h2"] != nil // golang.org/x/net's
}

// HasPlaces reports whether requests may wait for a place in the pool. Such a wait is
// nobody's fault, and only the hooks show it.
func (p Pool) HasPlaces() bool { return p.places }
