package build

import (
	"context"
	"net/http"
	"reflect"
	"sync"
)

// A Cloner is the factory of clients that have set none: it clones Base.
type Cloner struct {
	Base *http.Transport
	// Pinged is told, once, that the settings of golang.org/x/net's HTTP/2 were lost,
	// and that clones ping as ours do instead.
	Pinged func()

	once sync.Once
}

// Make is the factory.
func (c *Cloner) Make(context.Context) (http.RoundTripper, error) {
	clone := CloneTransport(c.Base)
	if pings(clone) && !pings(c.Base) {
		c.once.Do(c.Pinged)
	}
	return clone, nil
}

// CloneTransport is Clone without its traps, which are all about HTTP/2.
func CloneTransport(t *http.Transport) *http.Transport {
	clone := t.Clone() // first: it also completes t.TLSNextProto
	switch _, shared := clone.TLSNextProto["h2"]; {
	case shared:
		// x/net's http2.ConfigureTransports was here. Its entries lead to the
		// connection pool of t: the clone would dial, throw the connection
		// away and use the dead one. All of them go, since net/http enables
		// HTTP/2 by itself only where there is no map at all.
		clone.TLSNextProto = nil
		clone.ForceAttemptHTTP2 = true
		addPings(clone)
	case clone.TLSNextProto == nil && t.TLSNextProto["h2"] != nil:
		// net/http enabled HTTP/2 on t by itself, which left a TLSClientConfig
		// that offers it; the clone would take that for a custom one, offer
		// HTTP/2 and not speak it (golang/go#79418).
		clone.ForceAttemptHTTP2 = true
	}
	if registered(t) {
		addPings(clone)
	}
	return clone
}

// registered reports whether x/net's http2.ConfigureTransports was at t since Go 1.27:
// net/http asks x/net for its settings then, ReadIdleTimeout among them, and remembers
// whom to ask in a field that Clone leaves out. Nobody else can read it, so this looks
// only at whether it is set, which is done before t is used.
func registered(t *http.Transport) bool {
	f := reflect.ValueOf(t).Elem().FieldByName("h2Config")
	return f.IsValid() && !f.IsZero()
}

// addPings gives t, which is ours, our pings if it has none: a ReadIdleTimeout
// would be in x/net's http2.Transport, where nobody can read it.
func addPings(t *http.Transport) {
	if pings(t) {
		return
	}
	if t.HTTP2 == nil {
		t.HTTP2 = &http.HTTP2Config{}
	}
	t.HTTP2.SendPingTimeout, t.HTTP2.PingTimeout = PingAfter, PingTimeout
}

// pings reports whether t is set to send HTTP/2 pings. Since Go 1.27 the first use of
// t fills in an empty HTTP2 where there was none, perhaps at the same time: both mean
// the same here, so the race detector is not asked.
//
//go:norace
func pings(t *http.Transport) bool {
	h := t.HTTP2
	return h != nil && h.SendPingTimeout > 0
}

// Pingless reports whether t speaks HTTP/2 and sends no pings, as far as that can be
// read while t is in use: net/http writes to TLSNextProto and TLSClientConfig then.
func Pingless(t *http.Transport) bool {
	switch {
	case pings(t), registered(t): // x/net may have some
		return false
	case t.Protocols != nil:
		return t.Protocols.HTTP2() || t.Protocols.UnencryptedHTTP2()
	case t.ForceAttemptHTTP2:
		return true
	}
	//lint:ignore SA1019 some still set them
	return t.Dial == nil && t.DialTLS == nil && t.DialContext == nil && t.DialTLSContext == nil
}
