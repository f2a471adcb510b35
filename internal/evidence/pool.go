package evidence

import "net/http"

// A Pool is what is known of the connections that a transport has for its requests. The zero
// value is that of a transport that shows nothing of them: neither net/http's nor a wrapper
// that says it wraps one.
type Pool struct {
	known  bool
	places bool
}

// PoolOf describes the pool of t, which may be nil, as it is now. net/http wants t unchanged
// once it is in use.
func PoolOf(t *http.Transport) Pool {
	return Pool{known: t != nil, places: t != nil && t.MaxConnsPerHost > 0}
}

// HasPlaces reports whether requests may wait for a place in the pool. Such a wait is
// nobody's fault, and only the hooks show it.
func (p Pool) HasPlaces() bool { return p.places }
