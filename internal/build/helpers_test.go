package build

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// rtFunc is a RoundTripper made of a function.
type rtFunc func(*http.Request) (*http.Response, error)

func (f rtFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// refused is what net/http returns when nobody listens.
func refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// unsent fails as net/http does when nobody listens.
func unsent(*http.Request) (*http.Response, error) { return nil, refused() }

// noLeaks fails the test when it leaves goroutines of its own. Call it before
// anything that registers a Cleanup, so that it looks after all of them.
func noLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// A protocol is a way to serve over a real loopback socket, and a transport of
// its own for it.
type protocol struct {
	name  string
	serve func(*testing.T, http.Handler) (*httptest.Server, func() *http.Transport)
}

var (
	h1 = protocol{"h1", func(t *testing.T, h http.Handler) (*httptest.Server, func() *http.Transport) {
		return serveOn(t, h, false)
	}}
	h2 = protocol{"h2", func(t *testing.T, h http.Handler) (*httptest.Server, func() *http.Transport) {
		return serveOn(t, h, true)
	}}
)

func serveOn(t *testing.T, h http.Handler, http2 bool) (*httptest.Server, func() *http.Transport) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = http2
	if http2 {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv, func() *http.Transport {
		tr := &http.Transport{ExpectContinueTimeout: time.Minute}
		if http2 {
			roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			tr.TLSClientConfig = &tls.Config{RootCAs: roots}
			tr.ForceAttemptHTTP2 = true
		}
		t.Cleanup(tr.CloseIdleConnections)
		return tr
	}
}
