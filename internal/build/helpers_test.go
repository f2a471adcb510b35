package build

import (
	"crypto/x509"
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
	t.Cleanup(func() { verifyNone(t, before) })
}

// verifyNone is goleak's, with patience: it alone gives goroutines half a second to end.
func verifyNone(t *testing.T, opts ...goleak.Option) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); goleak.Find(opts...) != nil && time.Now().Before(deadline); {
	}
	goleak.VerifyNone(t, opts...)
}

// serveH2 serves HTTP/1 and HTTP/2 over a real loopback socket, and returns what
// a client must trust.
func serveH2(t *testing.T, h http.Handler) (url string, roots *x509.CertPool) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL, srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}
