package evidence

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// rtFunc is a RoundTripper made of a function.
type rtFunc func(*http.Request) (*http.Response, error)

func (f rtFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// poolOf is the pool of tr, which wraps nothing.
func poolOf(tr http.RoundTripper) Pool {
	t, _ := tr.(*http.Transport)
	return PoolOf(t)
}

// refused is what net/http returns when nobody listens.
func refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

func mustRequest(ctx context.Context, method, url string, body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		panic(err)
	}
	return req
}

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

// request is a GET under the test's context.
func request(t *testing.T, url string) *http.Request {
	t.Helper()
	return mustRequest(t.Context(), http.MethodGet, url, nil)
}

// refusingAddr is a loopback address where nobody listens.
func refusingAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func hang(_ http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	<-req.Context().Done()
}

func setCancel(req *http.Request, cancel <-chan struct{}) {
	req.Cancel = cancel //lint:ignore SA1019 http.Client.Timeout still uses it
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// tell fires the caller's httptrace hooks as net/http does.
func tell(req *http.Request, hooks ...string) {
	trace := httptrace.ContextClientTrace(req.Context())
	for _, hook := range hooks {
		switch {
		case trace == nil:
		case hook == "GetConn":
			trace.GetConn("a.test:80")
		case hook == "GotConn":
			trace.GotConn(httptrace.GotConnInfo{})
		case hook == "GotFirstResponseByte":
			trace.GotFirstResponseByte()
		}
	}
}
