package respawntest

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respawnhttp/respawn"
)

const (
	site  = "https://api.test/"
	plain = "http://api.test/" // where nobody speaks HTTP/2
)

var errTest = errors.New("as the test wants it")

// A world is a network with one host, and what bad factories need of it.
type world struct {
	*Network
	api  *Host
	base http.RoundTripper
	urls []string
	over chan struct{} // closed at the end of the test
}

// inWorld runs a test in virtual time.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{Network: NewNetwork(t), urls: []string{site}, over: make(chan struct{})}
		t.Cleanup(func() { close(w.over) })
		answer := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		w.api = w.ServeTLS("api.test:443", answer)
		w.Serve("api.test:80", answer)
		w.base = w.transport()
		test(t, w)
	})
}

// transport is what a good factory returns: HTTP/2, with pings.
func (w *world) transport() *http.Transport {
	return &http.Transport{
		DialContext:       w.DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: w.RootCAs()},
		ForceAttemptHTTP2: true,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: 30 * time.Second},
	}
}

// http1 is a transport whose connections hold goroutines of HTTP/1.
func (w *world) http1() *http.Transport {
	t := w.transport()
	t.ForceAttemptHTTP2, t.HTTP2 = false, nil
	return t
}

// through is transport with a tunnel beneath it.
func (w *world) through(t *Tunnel) *http.Transport {
	transport := w.transport()
	transport.DialContext = t.DialContext
	return transport
}

// returns is a factory that never fails.
func returns(build func() http.RoundTripper) respawn.Factory {
	return func(context.Context) (http.RoundTripper, error) { return build(), nil }
}

// A hiding wrapper shows nothing of what it wraps.
type hiding struct{ inner http.RoundTripper }

func (h hiding) RoundTrip(req *http.Request) (*http.Response, error) { return h.inner.RoundTrip(req) }

// A showing wrapper says what it wraps, and nothing else.
type showing struct{ hiding }

func (s showing) WrappedRoundTripper() http.RoundTripper { return s.inner }

// A closing transport has a Close of its own.
type closing struct {
	*http.Transport
	close func() error
}

func (c *closing) Close() error { return c.close() }

// An erring transport can say that it has ended.
type erring struct {
	*http.Transport
	err func() error
}

func (e *erring) Err() error { return e.err() }
