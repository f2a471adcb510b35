package test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"github.com/respawnhttp/respawn/internal/testkit"
)

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
	protocols = []protocol{h1, h2}
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

// script is a RoundTripper that does the steps one after another, the last one
// for ever.
func script(steps ...testkit.RoundTripperFunc) testkit.RoundTripperFunc {
	var n atomic.Int64
	return func(req *http.Request) (*http.Response, error) {
		i := min(int(n.Add(1)), len(steps)) - 1
		return steps[i](req)
	}
}

// unsent fails as net/http does when nobody listens: it closes the body and
// has not read it.
func unsent(req *http.Request) (*http.Response, error) {
	testkit.CloseBody(req)
	return nil, testkit.Refused()
}

var errReset = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}

// lost fails after the server may have seen the whole request.
func lost(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
	testkit.CloseBody(req)
	return nil, errReset
}

// hangs is a factory that ends with its context only.
func hangs(ctx context.Context) (http.RoundTripper, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

var errFactory = errors.New("no tunnel")

func fails(context.Context) (http.RoundTripper, error) { return nil, errFactory }

func fresh(context.Context) (http.RoundTripper, error) { return &testkit.Stub{}, nil }

// A trackedBody knows how often it was read and closed.
type trackedBody struct {
	io.Reader
	reads, closes atomic.Int64
	once          sync.Once
	closed        chan struct{}
}

func (b *trackedBody) Read(p []byte) (int, error) { b.reads.Add(1); return b.Reader.Read(p) }

func (b *trackedBody) Close() error {
	b.closes.Add(1)
	b.once.Do(func() { close(b.closed) })
	return nil
}

func track(r io.Reader) *trackedBody { return &trackedBody{Reader: r, closed: make(chan struct{})} }

// bodies makes the request bodies of a test, and remembers all that it made.
type bodies struct {
	mu   sync.Mutex
	made []*trackedBody
}

func (b *bodies) next(content io.Reader) *trackedBody {
	body := track(content)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.made = append(b.made, body)
	return body
}

func (b *bodies) assertClosedOnce(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, body := range b.made {
		assert.EqualValuesf(t, 1, body.closes.Load(), "body %d of %d must be closed exactly once (it was read %d times)",
			i+1, len(b.made), body.reads.Load())
	}
}

// frozen is a request as it was before it was sent.
type frozen struct {
	req             *http.Request
	before          http.Request
	header, trailer http.Header
	url             url.URL
}

// assertUntouched compares every field, the unexported ones too: by identity
// where there is one, and the maps by content as well.
func (f *frozen) assertUntouched(t *testing.T) {
	t.Helper()
	was, is := reflect.ValueOf(f.before), reflect.ValueOf(*f.req)
	for i := range was.NumField() {
		name := was.Type().Field(i).Name
		a, b := was.Field(i), is.Field(i)
		switch a.Kind() {
		case reflect.Func, reflect.Map, reflect.Pointer, reflect.Chan, reflect.Slice:
			assert.Equalf(t, a.Pointer(), b.Pointer(), "Request.%s was replaced", name)
		case reflect.Interface:
			assert.Equalf(t, a.IsNil(), b.IsNil(), "Request.%s was replaced", name)
		case reflect.String:
			assert.Equalf(t, a.String(), b.String(), "Request.%s was changed", name)
		case reflect.Int, reflect.Int64:
			assert.Equalf(t, a.Int(), b.Int(), "Request.%s was changed", name)
		case reflect.Bool:
			assert.Equalf(t, a.Bool(), b.Bool(), "Request.%s was changed", name)
		default:
			t.Errorf("Request.%s is a %s: teach this test to compare it", name, a.Kind())
		}
	}
	assert.Equal(t, f.header, f.req.Header, "Request.Header was written to")
	assert.Equal(t, f.trailer, f.req.Trailer, "Request.Trailer was written to")
	assert.Equal(t, f.url, *f.req.URL, "Request.URL was written to")
	assert.True(t, f.before.Body == f.req.Body, "Request.Body was replaced")
	assert.True(t, f.before.Context() == f.req.Context(), "the request's context was replaced")
}

func freeze(req *http.Request) *frozen {
	return &frozen{req, *req, req.Header.Clone(), req.Trailer.Clone(), *req.URL}
}

// bodyKinds are the ways a caller can hand over a body.
var bodyKinds = []struct {
	name string
	set  func(*http.Request, *bodies)
}{
	{"no body", func(*http.Request, *bodies) {}},
	{"NoBody", func(req *http.Request, _ *bodies) { req.Body = http.NoBody }},
	{"one-shot", func(req *http.Request, b *bodies) {
		req.Body = b.next(strings.NewReader(payload))
		req.ContentLength = int64(len(payload))
	}},
	{"GetBody", func(req *http.Request, b *bodies) {
		req.Body = b.next(strings.NewReader(payload))
		req.ContentLength = int64(len(payload))
		req.GetBody = func() (io.ReadCloser, error) { return b.next(strings.NewReader(payload)), nil }
	}},
}

const payload = "a payload worth sending once"

// hang never answers. It reads the body first: a server sees its client leave
// only after that.
func hang(_ http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	<-req.Context().Done()
}

func setCancel(req *http.Request, cancel <-chan struct{}) {
	req.Cancel = cancel //lint:ignore SA1019 http.Client.Timeout still uses it
}
