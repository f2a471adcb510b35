package respawn

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/respawnhttp/respawn/internal/evidence"
)

// This file pins the contract of http.RoundTripper: that nobody who does not
// break the transport can tell respawn from what it wraps.

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

// request is a GET under the test's context.
func request(t *testing.T, url string) *http.Request {
	t.Helper()
	return mustRequest(t.Context(), http.MethodGet, url, nil)
}

// script is a RoundTripper that does the steps one after another, the last one
// for ever.
func script(steps ...rtFunc) rtFunc {
	var n atomic.Int64
	return func(req *http.Request) (*http.Response, error) {
		i := min(int(n.Add(1)), len(steps)) - 1
		return steps[i](req)
	}
}

// unsent fails as net/http does when nobody listens: it closes the body and
// has not read it.
func unsent(req *http.Request) (*http.Response, error) {
	closeBody(req)
	return nil, refused()
}

var errReset = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}

// lost fails after the server may have seen the whole request.
func lost(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
	closeBody(req)
	return nil, errReset
}

// hangs is a factory that ends with its context only.
func hangs(ctx context.Context) (http.RoundTripper, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

var errFactory = errors.New("no tunnel")

func fails(context.Context) (http.RoundTripper, error) { return nil, errFactory }

func fresh(context.Context) (http.RoundTripper, error) { return &stub{}, nil }

// A trackedBody knows how often it was read and closed.
type trackedBody struct {
	io.Reader
	reads, closes atomic.Int64
	once          sync.Once
	closed        chan struct{}
}

func track(r io.Reader) *trackedBody { return &trackedBody{Reader: r, closed: make(chan struct{})} }

func (b *trackedBody) Read(p []byte) (int, error) { b.reads.Add(1); return b.Reader.Read(p) }

func (b *trackedBody) Close() error {
	b.closes.Add(1)
	b.once.Do(func() { close(b.closed) })
	return nil
}

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

func freeze(req *http.Request) *frozen {
	return &frozen{req, *req, req.Header.Clone(), req.Trailer.Clone(), *req.URL}
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

// paths are all the ways a request can take through respawn. Setup returns the
// client in the state that leads the next request down that path.
var paths = []struct {
	name  string
	setup func(*testing.T) *RecoveringRoundTripper
	want  error // nil: answered with 200
}{
	{"healthy", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, &stub{}, WithFactory(fresh))
	}, nil},
	{"with a drain limit", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, &stub{}, WithFactory(fresh), WithDrainTimeout(time.Hour))
	}, nil},
	{"under suspicion", func(t *testing.T) *RecoveringRoundTripper {
		rt := start(t, script(lost, answer), WithFactory(fresh))
		_, err := do(rt, mustRequest(t.Context(), http.MethodPost, "http://a.test/", nil))
		require.Error(t, err)
		require.NotEmpty(t, rt.Health().Streaks)
		return rt
	}, nil},
	{"replayed", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, script(unsent, answer), WithFactory(fails))
	}, nil},
	{"replayed with a drain limit", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, script(unsent, answer), WithFactory(fails), WithDrainTimeout(time.Hour))
	}, nil},
	{"trial at once", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, rtFunc(unsent), WithThreshold(1), WithFactory(fresh))
	}, nil},
	{"trial after the threshold", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, rtFunc(unsent), WithFactory(fresh))
	}, nil},
	{"trial that fails, then the current transport", func(t *testing.T) *RecoveringRoundTripper {
		rt := start(t, script(unsent, answer), WithThreshold(1), every(time.Second),
			WithFactory(func(context.Context) (http.RoundTripper, error) { return rtFunc(unsent), nil }))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		time.Sleep(2 * time.Second) // past the backoff, so the next request is the trial
		return rt
	}, nil},
	{"ended transport", func(t *testing.T) *RecoveringRoundTripper {
		base := &sessionStub{}
		base.end(net.ErrClosed)
		return start(t, base, WithFactory(fresh))
	}, nil},
	{"waited for ready", func(t *testing.T) *RecoveringRoundTripper {
		f := &factory{build: func(n int64, ctx context.Context) (http.RoundTripper, error) {
			if n < 3 {
				return nil, errFactory
			}
			return &stub{}, nil
		}}
		return start(t, rtFunc(unsent), WithThreshold(1), WithFactory(f.make), every(time.Second), WithWaitForReady(time.Minute))
	}, nil},
	{"fallback", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, rtFunc(unsent), WithThreshold(1), WithFactory(fails), WithFallback(&stub{}))
	}, nil},
	{"fallback at once", func(t *testing.T) *RecoveringRoundTripper {
		rt := start(t, rtFunc(unsent), WithThreshold(1), WithFactory(fails), WithFallback(&stub{}), every(time.Hour))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		return rt
	}, nil},
	{"fallback fails", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, rtFunc(unsent), WithThreshold(1), WithFactory(fails), WithFallback(dead(errReset)))
	}, errReset},
	{"all refused", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, rtFunc(unsent), WithFactory(func(context.Context) (http.RoundTripper, error) { return rtFunc(unsent), nil }))
	}, syscall.ECONNREFUSED},
	{"in the backoff window", func(t *testing.T) *RecoveringRoundTripper {
		rt := start(t, rtFunc(unsent), WithThreshold(1), WithFactory(fails), every(time.Hour))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		return rt
	}, syscall.ECONNREFUSED},
	{"lost on the wire", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, rtFunc(lost), WithFactory(fails))
	}, errReset},
	{"lost in the trial", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, rtFunc(unsent), WithThreshold(1),
			WithFactory(func(context.Context) (http.RoundTripper, error) { return rtFunc(lost), nil }))
	}, errReset},
	{"never replayed", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, rtFunc(unsent), WithReplay(ReplayNever), WithFactory(fresh))
	}, syscall.ECONNREFUSED},
	{"closed", func(t *testing.T) *RecoveringRoundTripper {
		rt := start(t, &stub{}, WithFactory(fresh))
		require.NoError(t, rt.Close())
		return rt
	}, ErrClosed},
	{"closed while waiting for the verdict", func(t *testing.T) *RecoveringRoundTripper {
		rt := start(t, rtFunc(unsent), WithThreshold(1), WithFactory(hangs))
		time.AfterFunc(time.Second, func() { rt.Close() })
		return rt
	}, syscall.ECONNREFUSED},
	{"factory times out", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, rtFunc(unsent), WithThreshold(1), WithFactory(hangs))
	}, syscall.ECONNREFUSED},
	{"deadline while waiting for the verdict", func(t *testing.T) *RecoveringRoundTripper {
		return start(t, rtFunc(unsent), WithThreshold(1), WithFactory(hangs), WithRecreateTimeout(time.Hour))
	}, syscall.ECONNREFUSED},
	// Nothing was lent to any transport, so nobody else closes the body.
	{"deadline while an ended transport is replaced", func(t *testing.T) *RecoveringRoundTripper {
		base := &sessionStub{}
		base.end(net.ErrClosed)
		return start(t, base, WithFactory(hangs), WithRecreateTimeout(time.Hour))
	}, context.DeadlineExceeded},
}

// The caller's request is not written to, its body is closed exactly once, and
// the response leads back to the caller's own request, on every path.
func TestContractOnEveryPath(t *testing.T) {
	for _, path := range paths {
		for _, kind := range bodyKinds {
			t.Run(path.name+"/"+kind.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rt := path.setup(t)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					req := mustRequest(ctx, http.MethodPost, "http://a.test/path?q=1", nil)
					req.Header.Set("X-Test", "1")
					req.Trailer = http.Header{"X-Sum": {"2"}}
					var sent bodies
					kind.set(req, &sent)
					before := freeze(req)

					resp, err := rt.RoundTrip(req)

					if path.want != nil {
						require.ErrorIs(t, err, path.want)
						assert.Nil(t, resp)
					} else {
						require.NoError(t, err)
						assert.Same(t, req, resp.Request, "resp.Request must be the caller's")
						got, err := io.ReadAll(resp.Body)
						require.NoError(t, err)
						require.NoError(t, resp.Body.Close())
						if len(sent.made) > 0 {
							assert.Equal(t, payload, string(got), "the server must see the whole body")
						}
					}
					synctest.Wait()
					before.assertUntouched(t)
					sent.assertClosedOnce(t)
					assert.Zero(t, rt.Health().InFlight, "the request must be counted out")
				})
			})
		}
	}
}

// A GetBody that fails ends the call with the transport's own error, which the
// caller can do more with.
func TestContractFailingGetBody(t *testing.T) {
	rt := start(t, rtFunc(unsent), WithFactory(fails))
	var sent bodies
	req := mustRequest(t.Context(), http.MethodPost, "http://a.test/", nil)
	req.Body = sent.next(strings.NewReader(payload))
	req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("the file is gone") }
	before := freeze(req)

	_, err := rt.RoundTrip(req)

	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	before.assertUntouched(t)
	sent.assertClosedOnce(t)
}

// The same over real sockets, where net/http closes bodies when it likes:
// without having read them when a dial fails, and after RoundTrip has returned
// when the server answers early.
func TestContractBodyOverSockets(t *testing.T) {
	large := strings.Repeat("x", 8<<20) // more than any socket buffers, so that nobody can read it to its end
	cases := []struct {
		name    string
		content func() io.Reader
		dial    func(n int64) error // nil: the dial succeeds
		change  func(*http.Request)
		status  int
		err     string // part of the error; "" for an answer
		neutral bool   // the error says nothing against the transport
		hits    int64  // requests the server saw
	}{
		{name: "success", status: 200, hits: 1},
		{name: "dial fails once, replayed", dial: func(n int64) error {
			if n == 1 {
				return refused()
			}
			return nil
		}, status: 200, hits: 1},
		{name: "every dial fails", dial: func(int64) error { return refused() }, err: "connection refused"},
		{name: "early 413", content: func() io.Reader { return strings.NewReader(large) },
			change: func(req *http.Request) { req.URL.Path = "/early" }, status: 413, hits: 1},
		{name: "the reader fails", content: func() io.Reader {
			return io.MultiReader(strings.NewReader("some"), failingReader{})
		}, err: errReader.Error(), neutral: true},
		{name: "the reader fails like a network", content: func() io.Reader {
			return io.MultiReader(strings.NewReader("some"), failingReader{io.ErrUnexpectedEOF})
		}, err: "unexpected EOF", neutral: true},
		{name: "bad header", change: func(req *http.Request) { req.Header["bad header"] = []string{"1"} },
			err: "invalid header field name", neutral: true},
		{name: "bad scheme", change: func(req *http.Request) { req.URL.Scheme = "gopher" },
			err: "unsupported protocol scheme", neutral: true},
		{name: "no host", change: func(req *http.Request) { req.URL.Host = "" },
			err: "no Host in request URL", neutral: true},
		{name: "no URL", change: func(req *http.Request) { req.URL = nil },
			err: "nil Request.URL", neutral: true},
	}
	for _, proto := range protocols {
		for _, tc := range cases {
			for _, kind := range []string{"one-shot", "GetBody"} {
				t.Run(strings.Join([]string{proto.name, tc.name, kind}, "/"), func(t *testing.T) {
					var sent bodies
					t.Cleanup(func() { sent.assertClosedOnce(t) }) // when all goroutines are gone
					noLeaks(t)
					var hits atomic.Int64
					srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						if req.URL.Path == "/early" {
							hits.Add(1)
							w.WriteHeader(http.StatusRequestEntityTooLarge)
							return
						}
						got, err := io.ReadAll(req.Body)
						if err == nil {
							hits.Add(1)
							_, _ = w.Write(got)
						}
					}))
					var dials atomic.Int64
					base := transport()
					base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						if n := dials.Add(1); tc.dial != nil {
							if err := tc.dial(n); err != nil {
								return nil, err
							}
						}
						return new(net.Dialer).DialContext(ctx, network, addr)
					}
					rt := start(t, base)

					content := func() io.Reader { return strings.NewReader(payload) }
					if tc.content != nil {
						content = tc.content
					}
					req := mustRequest(t.Context(), http.MethodPost, srv.URL, nil)
					req.Body = sent.next(content())
					if kind == "GetBody" {
						req.GetBody = func() (io.ReadCloser, error) { return sent.next(content()), nil }
					}
					if tc.change != nil {
						tc.change(req)
					}

					resp, err := rt.RoundTrip(req)

					if tc.err != "" {
						require.ErrorContains(t, err, tc.err)
						assert.EqualValues(t, tc.hits, hits.Load())
						if !tc.neutral {
							return
						}
						// Nobody was watching, so the first may raise suspicion;
						// more of them never trip.
						if kind == "one-shot" {
							assert.LessOrEqual(t, dials.Load(), int64(1), "it must not be sent again")
						}
						for range 5 {
							again := req.WithContext(t.Context())
							again.Body, again.GetBody = sent.next(content()), nil
							_, err = rt.RoundTrip(again)
							require.ErrorContains(t, err, tc.err)
						}
						h := rt.Health()
						assert.EqualValues(t, 1, h.Generation)
						assert.Zero(t, h.Rejections, "no fresh transport may be tried for the request's own fault")
						assert.Empty(t, h.Streaks)
						return
					}
					require.NoError(t, err)
					assert.Same(t, req, resp.Request)
					assert.Equal(t, tc.status, resp.StatusCode)
					got, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					if tc.status == http.StatusOK {
						assert.Equal(t, payload, string(got))
					}
					assert.EqualValues(t, tc.hits, hits.Load())
				})
			}
		}
	}
}

var errReader = errors.New("the caller's disk is broken")

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	return 0, errReader
}

// The caller that gives up during a dial has its body closed once, and no
// second dial is made for it.
func TestContractCancelWhileDialing(t *testing.T) {
	for _, watched := range []bool{false, true} {
		t.Run(fmt.Sprintf("watched=%v", watched), func(t *testing.T) {
			var sent bodies
			t.Cleanup(func() { sent.assertClosedOnce(t) })
			noLeaks(t)
			dialing := make(chan struct{})
			var dials atomic.Int64
			base := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				if watched && dials.Load() == 0 {
					dials.Add(1)
					return nil, refused()
				}
				dials.Add(1)
				close(dialing)
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			rt := start(t, base)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-dialing; cancel() }()
			req := mustRequest(ctx, http.MethodPost, "http://a.test/", nil)
			req.Body = sent.next(strings.NewReader(payload))
			before := freeze(req)

			_, err := rt.RoundTrip(req)

			require.ErrorIs(t, err, context.Canceled)
			before.assertUntouched(t)
			if watched {
				assert.EqualValues(t, 2, dials.Load())
			} else {
				assert.EqualValues(t, 1, dials.Load())
				assert.Empty(t, rt.Health().Streaks, "giving up is no failure")
			}
		})
	}
}

func TestContractNoBodyIsHandedOn(t *testing.T) {
	for _, opts := range map[string][]Option{"healthy": nil, "slow path": {WithDrainTimeout(time.Hour)}} {
		noBody := rtFunc(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 204, Body: http.NoBody, Request: req}, nil
		})
		rt := start(t, noBody, append(opts, WithFactory(fresh))...)
		resp, err := rt.RoundTrip(mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil))
		require.NoError(t, err)
		assert.True(t, resp.Body == http.NoBody, "net/http and its users compare with that very value")
		assert.Zero(t, rt.Health().InFlight)
	}
}

// RoundTrippers that break the contract are tolerated as far as net/http does.
func TestContractForeignRoundTrippers(t *testing.T) {
	for _, slow := range []bool{false, true} {
		opts := []Option{WithFactory(fresh), WithReplay(ReplayNever)}
		if slow {
			opts = append(opts, WithDrainTimeout(time.Hour))
		}
		t.Run(fmt.Sprintf("nil body, slow=%v", slow), func(t *testing.T) {
			rt := start(t, rtFunc(func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, ContentLength: 0}, nil
			}), opts...)
			resp, err := rt.RoundTrip(mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil))
			require.NoError(t, err)
			assert.Nil(t, resp.Body)
			assert.Nil(t, resp.Request, "what the transport did not set stays so")
			assert.Zero(t, rt.Health().InFlight)

			resp, err = (&http.Client{Transport: rt}).Get("http://a.test/") // net/http/client.go makes a body for it
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		})
		t.Run(fmt.Sprintf("nil response and nil error, slow=%v", slow), func(t *testing.T) {
			rt := start(t, rtFunc(func(*http.Request) (*http.Response, error) { return nil, nil }), opts...)
			_, err := (&http.Client{Transport: rt}).Get("http://a.test/")
			require.ErrorContains(t, err, "returned a nil *Response with a nil error")
			assert.Zero(t, rt.Health().InFlight)
		})
		t.Run(fmt.Sprintf("another request in the response, slow=%v", slow), func(t *testing.T) {
			other := mustRequest(t.Context(), http.MethodGet, "http://b.test/", nil)
			rt := start(t, rtFunc(func(req *http.Request) (*http.Response, error) {
				resp, err := answer(req)
				resp.Request = other
				return resp, err
			}), opts...)
			resp, err := rt.RoundTrip(mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Same(t, other, resp.Request, "respawn takes back only the request it made itself")
		})
	}
}

// upgrader answers 101 and then echoes lines in upper case, until the client
// has closed its half, when it says how many there were.
func upgrader() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", req.Header.Get("Upgrade"))
		n := 0
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				fmt.Fprintf(conn, "%d lines\n", n)
				return
			}
			n++
			fmt.Fprint(conn, strings.ToUpper(line))
		}
	})
}

// A 101's body is an io.Writer with a CloseWrite (FACTS: request and response
// contract). Both directions work, each to its own end, and the request is in
// flight until Close, whatever a Read says.
func TestContractUpgrade(t *testing.T) {
	for _, opts := range [][]Option{nil, {WithDrainTimeout(time.Hour)}} {
		noLeaks(t)
		srv, transport := h1.serve(t, upgrader())
		rt := start(t, transport(), opts...)
		req := mustRequest(t.Context(), http.MethodGet, srv.URL, nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "shout")
		resp, err := rt.RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)

		conn, ok := resp.Body.(io.ReadWriteCloser)
		require.True(t, ok, "a %T cannot be written to", resp.Body)
		half, ok := resp.Body.(interface{ CloseWrite() error })
		require.True(t, ok, "a %T has no CloseWrite", resp.Body)
		lines := bufio.NewReader(conn)
		for _, word := range []string{"one", "two"} {
			_, err = io.WriteString(conn, word+"\n")
			require.NoError(t, err)
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			assert.Equal(t, strings.ToUpper(word)+"\n", line)
		}
		require.NoError(t, half.CloseWrite())
		line, err := lines.ReadString('\n')
		require.NoError(t, err, "closing one half must leave the other open")
		assert.Equal(t, "2 lines\n", line)
		_, err = lines.ReadByte()
		require.Equal(t, io.EOF, err)
		assert.EqualValues(t, 1, rt.Health().InFlight, "an upgraded connection is in flight until Close")
		require.NoError(t, conn.Close())
		assert.Zero(t, rt.Health().InFlight)
	}
}

// httputil.ReverseProxy, which insists on an io.ReadWriteCloser, can carry an
// upgrade over respawn.
func TestContractUpgradeThroughReverseProxy(t *testing.T) {
	noLeaks(t)
	srv, transport := h1.serve(t, upgrader())
	rt := start(t, transport())
	target, err := url.Parse(srv.URL)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Transport: rt, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	done := make(chan struct{})
	front, _ := h1.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer close(done)
		proxy.ServeHTTP(w, req)
	}))

	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: front.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	require.Equal(t, "websocket", resp.Header.Get("Upgrade"))
	for _, word := range []string{"both", "ways"} {
		_, err = io.WriteString(conn, word+"\n")
		require.NoError(t, err)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, strings.ToUpper(word)+"\n", line)
	}
	assert.EqualValues(t, 1, rt.Health().InFlight)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	line, err := r.ReadString('\n')
	require.NoError(t, err, "the half-close must reach the upstream through respawn")
	assert.Equal(t, "2 lines\n", line)
	require.NoError(t, conn.Close())
	<-done
	// ReverseProxy closes the upstream's half in a goroutine of its own.
	assert.Eventually(t, func() bool { return rt.Health().InFlight == 0 }, 5*time.Second, time.Millisecond)
}

// ownError is an error type that no package knows.
type ownError struct{ code int }

func (e *ownError) Error() string { return fmt.Sprint("own error ", e.code) }

// The error is the transport's own value, not something that wraps it: C:270
// and users make bare type assertions.
func TestContractErrorsAreUnwrapped(t *testing.T) {
	kinds := map[string]error{
		"dial":     refused(),
		"reset":    errReset,
		"unknown":  &ownError{7},
		"EOF":      io.EOF,
		"closed":   net.ErrClosed,
		"canceled": context.Canceled, // the transport's own word, the caller is still there
	}
	ways := map[string][]Option{
		"default":         {WithFactory(fails)},
		"threshold 1":     {WithThreshold(1), WithFactory(fails)},
		"never replayed":  {WithReplay(ReplayNever), WithFactory(fails)},
		"drain limit":     {WithDrainTimeout(time.Hour), WithFactory(fails)},
		"factory panics":  {WithThreshold(1), WithFactory(func(context.Context) (http.RoundTripper, error) { panic("x") })},
		"factory has nil": {WithThreshold(1), WithFactory(func(context.Context) (http.RoundTripper, error) { return nil, nil })},
	}
	for kind, want := range kinds {
		for way, opts := range ways {
			t.Run(kind+"/"+way, func(t *testing.T) {
				rt := start(t, dead(want), opts...)
				for range 5 { // before, at and after the trip
					_, err := rt.RoundTrip(mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil))
					assert.True(t, err == want, "got %#v, want the transport's own %#v", err, want)
				}
				_, err := (&http.Client{Transport: rt}).Get("http://a.test/")
				uerr, ok := err.(*url.Error)
				require.True(t, ok, "%T", err)
				assert.True(t, uerr.Err == want, "url.Error.Err must be the transport's own %#v", want)
			})
		}
	}

	// C:270 tells "server gave HTTP response to HTTPS client" by a bare type
	// assertion to tls.RecordHeaderError.
	t.Run("scheme mismatch", func(t *testing.T) {
		noLeaks(t)
		srv, transport := h1.serve(t, http.NotFoundHandler())
		rt := start(t, transport())
		_, err := (&http.Client{Transport: rt}).Get(strings.Replace(srv.URL, "http:", "https:", 1))
		assert.ErrorIs(t, err, http.ErrSchemeMismatch)
	})
}

// The trial's error, too, is handed on as it is.
func TestContractTrialErrorIsUnwrapped(t *testing.T) {
	want := &ownError{8}
	rt := start(t, dead(refused()), WithThreshold(1), WithReplay(ReplayUnsent), WithFactory(
		func(context.Context) (http.RoundTripper, error) { return dead(want), nil }))
	_, err := rt.RoundTrip(mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil))
	assert.True(t, err == error(want), "got %#v", err)
}

// hang never answers. It reads the body first: a server sees its client leave
// only after that.
func hang(_ http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	<-req.Context().Done()
}

func setCancel(req *http.Request, cancel <-chan struct{}) {
	req.Cancel = cancel //lint:ignore SA1019 http.Client.Timeout still uses it
}

// Request.Cancel is deprecated and in use.
func TestContractLegacyCancel(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name+" while sending", func(t *testing.T) {
			noLeaks(t)
			arrived := make(chan struct{}, 8)
			srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				arrived <- struct{}{}
				hang(w, req)
			}))
			rt := start(t, transport())
			for range 4 {
				var sent bodies
				req := mustRequest(t.Context(), http.MethodPost, srv.URL, nil)
				req.Body = sent.next(strings.NewReader(payload)) // one-shot, so a copy is sent
				cancel := make(chan struct{})
				setCancel(req, cancel)
				go func() { <-arrived; close(cancel) }()
				_, err := rt.RoundTrip(req)
				require.ErrorContains(t, err, "request canceled")
			}
			assert.Empty(t, rt.Health().Streaks, "giving up is no failure")
			assert.EqualValues(t, 1, rt.Health().Generation)
		})
	}
	t.Run("while waiting for a verdict", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var sent bodies
			rt := start(t, rtFunc(unsent), WithThreshold(1), WithFactory(hangs), WithRecreateTimeout(time.Hour))
			req := mustRequest(t.Context(), http.MethodPost, "http://a.test/", nil)
			req.Body = sent.next(strings.NewReader(payload))
			cancel := make(chan struct{})
			setCancel(req, cancel)
			time.AfterFunc(time.Second, func() { close(cancel) })
			began := time.Now()
			_, err := rt.RoundTrip(req)
			require.Error(t, err)
			assert.Equal(t, time.Second, time.Since(began), "the wait must end with Cancel")
			sent.assertClosedOnce(t)
		})
	})
	t.Run("while waiting out the backoff", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt := start(t, rtFunc(unsent), WithThreshold(1), WithFactory(fails), every(time.Hour), WithWaitForReady(2*time.Hour))
			req := mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil)
			cancel := make(chan struct{})
			setCancel(req, cancel)
			time.AfterFunc(time.Second, func() { close(cancel) })
			began := time.Now()
			_, err := rt.RoundTrip(req)
			require.Error(t, err)
			assert.Equal(t, time.Second, time.Since(began), "the wait must end with Cancel")
		})
	})
	t.Run("ended transport, nothing failed yet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := &sessionStub{}
			base.end(net.ErrClosed)
			rt := start(t, base, WithFactory(hangs), WithRecreateTimeout(time.Hour))
			cause := errors.New("the user closed the tab")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(cause) })
			_, err := rt.RoundTrip(mustRequest(ctx, http.MethodGet, "http://a.test/", nil))
			assert.Equal(t, cause, err, "as net/http reports a cause")

			req := mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil)
			gone := make(chan struct{})
			setCancel(req, gone)
			time.AfterFunc(time.Second, func() { close(gone) })
			_, err = rt.RoundTrip(req)
			assert.ErrorContains(t, err, "request canceled")
			assert.Zero(t, base.calls.Load(), "no request may be lost on an ended transport while a fresh one is on its way")
		})
	})
}

// http.Client.Timeout takes its legacy branch through any RoundTripper that is
// not *http.Transport (C:325): a context deadline and Request.Cancel, racing.
// The error is a timeout to the caller, and no failure to respawn.
func TestContractClientTimeout(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			noLeaks(t)
			srv, transport := proto.serve(t, http.HandlerFunc(hang))
			p := newProbe(t)
			rt := start(t, transport(), append(p.options(), WithThreshold(1), WithStallThreshold(0, 0))...)
			client := &http.Client{Transport: rt, Timeout: 5 * time.Millisecond}
			for i := range 40 {
				method, body := http.MethodGet, io.Reader(nil)
				if i%2 == 1 { // a one-shot body takes the other path
					method, body = http.MethodPost, io.MultiReader(strings.NewReader(payload))
				}
				_, err := client.Do(mustRequest(t.Context(), method, srv.URL, body))
				uerr, ok := errors.AsType[*url.Error](err)
				require.True(t, ok, "%T", err)
				require.True(t, uerr.Timeout(), "%v", err)
			}
			h := rt.Health()
			assert.EqualValues(t, 1, h.Generation)
			assert.Zero(t, h.Rejections)
			for _, s := range h.Streaks {
				assert.Zero(t, s.Failures, "a caller's timeout must not count as a failure")
				assert.False(t, s.Tripped)
			}
			assert.Zero(t, p.total("respawn.request.replays"), "a caller that gave up is not served twice")
		})
	}
}

// Without the method on the wrapper http.Client.CloseIdleConnections is a
// silent no-op.
func TestContractClientCloseIdleConnections(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			noLeaks(t)
			srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				fmt.Fprint(w, req.RemoteAddr)
			}))
			client := &http.Client{Transport: start(t, transport())}
			fetch := func() (addr string) {
				resp, err := client.Get(srv.URL)
				require.NoError(t, err)
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				return string(b)
			}
			first := fetch()
			require.Equal(t, first, fetch(), "the connection must be pooled")
			client.CloseIdleConnections()
			assert.NotEqual(t, first, fetch(), "the pooled connection must have been closed")
		})
	}
}

// net/http recognizes in-memory readers and files by type (sendfile), and a
// wrapper hides it. So the healthy path sends the caller's very request, but
// for a one-shot body, which could not be sent again.
func TestContractBodyTypesReachTheTransport(t *testing.T) {
	name := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(name, []byte(payload), 0o600))
	file, err := os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	newRequest := func(body io.Reader) func() *http.Request {
		return func() *http.Request { return mustRequest(t.Context(), http.MethodPost, "http://a.test/", body) }
	}
	cases := []struct {
		name     string
		req      func() *http.Request
		shielded bool
	}{
		{"none", newRequest(nil), false},
		{"NoBody", newRequest(http.NoBody), false},
		{"bytes.Reader", newRequest(bytes.NewReader([]byte(payload))), false},
		{"bytes.Buffer", newRequest(bytes.NewBufferString(payload)), false},
		{"strings.Reader", newRequest(strings.NewReader(payload)), false},
		{"*os.File", newRequest(file), false},
		{"NopCloser of *os.File", newRequest(io.NopCloser(file)), false},
		{"GetBody", func() *http.Request {
			req := mustRequest(t.Context(), http.MethodPost, "http://a.test/", track(nil))
			req.GetBody = func() (io.ReadCloser, error) { return nil, nil }
			return req
		}, false},
		{"one-shot", newRequest(track(strings.NewReader(payload))), true},
	}
	for _, tc := range cases {
		for _, replay := range []Replay{ReplayIdempotent, ReplayUnsent, ReplayNever} {
			t.Run(fmt.Sprintf("%s/%d", tc.name, replay), func(t *testing.T) {
				var seen *http.Request
				rt := start(t, rtFunc(func(req *http.Request) (*http.Response, error) {
					seen = req
					return &http.Response{StatusCode: 204, Body: http.NoBody, Request: req}, nil
				}), WithReplay(replay), WithFactory(fresh))
				req := tc.req()
				resp, err := rt.RoundTrip(req)
				require.NoError(t, err)
				assert.Same(t, req, resp.Request)
				if tc.shielded && replay != ReplayNever {
					assert.NotSame(t, req, seen)
					return
				}
				assert.Same(t, req, seen, "the transport must see the caller's own request")
			})
		}
	}

	// Under suspicion the request is a copy, but its body is still the caller's.
	t.Run("watched", func(t *testing.T) {
		var seen *http.Request
		rt := start(t, script(lost, func(req *http.Request) (*http.Response, error) {
			seen = req
			return &http.Response{StatusCode: 204, Body: http.NoBody, Request: req}, nil
		}), WithFactory(fresh))
		_, err := do(rt, mustRequest(t.Context(), http.MethodPost, "http://a.test/", nil))
		require.Error(t, err)
		req := mustRequest(t.Context(), http.MethodPost, "http://a.test/", file)
		_, err = do(rt, req)
		require.NoError(t, err)
		assert.NotSame(t, req, seen)
		assert.True(t, seen.Body == req.Body, "a file must stay a file: got %T", seen.Body)
	})
}

// counted is a transport that counts what it is asked for.
type counted struct {
	base            *http.Transport
	attempts, dials atomic.Int64
}

func (c *counted) RoundTrip(req *http.Request) (*http.Response, error) {
	c.attempts.Add(1)
	return c.base.RoundTrip(req)
}

func countedTransport(t *testing.T) *counted {
	c := &counted{}
	c.base = &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c.dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	t.Cleanup(c.base.CloseIdleConnections)
	return c
}

// With ReplayNever respawn cannot be told from the bare transport by anybody
// who counts attempts and dials, until it trips.
func TestContractReplayNeverIsInvisible(t *testing.T) {
	refusing := refusingAddr(t)
	type outcome struct {
		Attempts, Dials, Hits int64
		Results               []string
	}
	urls := map[string]func(srv string) string{
		"success":                    func(srv string) string { return srv },
		"refused":                    func(string) string { return "http://" + refusing },
		"server hangs up":            func(srv string) string { return srv + "/cut" },
		"cut on a reused connection": func(srv string) string { return srv + "/cut-second" },
	}
	for name, target := range urls {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(name+"/"+method, func(t *testing.T) {
				noLeaks(t)
				measure := func(wrap func(http.RoundTripper) http.RoundTripper) outcome {
					var hits atomic.Int64
					srv, _ := h1.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						n := hits.Add(1)
						if req.URL.Path == "/cut" || req.URL.Path == "/cut-second" && n == 2 {
							_, _ = io.Copy(io.Discard, req.Body)
							panic(http.ErrAbortHandler)
						}
						fmt.Fprint(w, "ok")
					}))
					c := countedTransport(t)
					rt := wrap(c)
					var o outcome
					for range 2 { // one less than trips
						var body io.Reader
						if method == http.MethodPost {
							body = io.MultiReader(strings.NewReader(payload))
						}
						code, err := do(rt, mustRequest(t.Context(), method, target(srv.URL), body))
						result := fmt.Sprint(code)
						if err != nil {
							result = strings.ReplaceAll(err.Error(), srv.Listener.Addr().String(), "server")
							if i := strings.Index(result, "->server"); i > 0 { // the ephemeral port before it
								result = result[i:]
							}
						}
						o.Results = append(o.Results, result)
					}
					o.Attempts, o.Dials, o.Hits = c.attempts.Load(), c.dials.Load(), hits.Load()
					return o
				}
				bare := measure(func(rt http.RoundTripper) http.RoundTripper { return rt })
				ours := measure(func(rt http.RoundTripper) http.RoundTripper {
					return start(t, rt, WithReplay(ReplayNever), WithFactory(fails))
				})
				assert.Equal(t, bare, ours)
				assert.EqualValues(t, 2, ours.Attempts)
			})
		}
	}
}

// refusingAddr is a loopback address where nobody listens.
func refusingAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// Over h1 a context's cause comes back as it is and hides context.Canceled
// (FACTS): the same through respawn, on both its paths.
func TestContractContextCause(t *testing.T) {
	cause := errors.New("the user closed the tab")
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			noLeaks(t)
			arrived := make(chan struct{})
			srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				arrived <- struct{}{}
				hang(w, req)
			}))
			abandon := func(rt http.RoundTripper, body io.Reader) error {
				ctx, cancel := context.WithCancelCause(t.Context())
				go func() { <-arrived; cancel(cause) }()
				_, err := do(rt, mustRequest(ctx, http.MethodPost, srv.URL, body))
				return err
			}
			bare := abandon(transport(), nil)
			require.Error(t, bare)
			rt := start(t, transport(), WithThreshold(1))
			assert.Equal(t, bare, abandon(rt, nil))
			assert.Equal(t, bare, abandon(rt, io.MultiReader(strings.NewReader(payload))))
			limited := start(t, transport(), WithDrainTimeout(time.Hour))
			assert.Equal(t, bare, abandon(limited, nil))
			assert.Empty(t, rt.Health().Streaks)
		})
	}
}

// Kubernetes code unwraps RoundTrippers down to the *http.Transport.
func TestContractWrappedRoundTripper(t *testing.T) {
	base, next := &stub{}, &stub{}
	rt := start(t, base, WithFactory(func(context.Context) (http.RoundTripper, error) { return next, nil }))
	var unwrapper interface{ WrappedRoundTripper() http.RoundTripper } = rt
	assert.Same(t, base, unwrapper.WrappedRoundTripper(), "generation 1 is base itself")
	require.NoError(t, rt.Recreate(t.Context()))
	assert.Same(t, next, unwrapper.WrappedRoundTripper())
	require.NoError(t, rt.Close())
	assert.Same(t, next, unwrapper.WrappedRoundTripper(), "the last one after Close")

	var rtr http.RoundTripper = rt
	_, cancels := rtr.(interface{ CancelRequest(*http.Request) })
	assert.False(t, cancels, "http.Client would prefer CancelRequest over contexts")
}

func TestContractRedirectsAndCookies(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			noLeaks(t)
			srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				switch req.URL.Path {
				case "/login":
					http.SetCookie(w, &http.Cookie{Name: "session", Value: "42", Path: "/"})
					http.Redirect(w, req, "/home", http.StatusTemporaryRedirect) // with its body again
				default:
					c, err := req.Cookie("session")
					if err != nil {
						http.Error(w, "no cookie", http.StatusForbidden)
						return
					}
					b, _ := io.ReadAll(req.Body)
					fmt.Fprintf(w, "%s %s %s", req.Method, c.Value, b)
				}
			}))
			jar, err := cookiejar.New(nil)
			require.NoError(t, err)
			client := &http.Client{Transport: start(t, transport()), Jar: jar}
			resp, err := client.Post(srv.URL+"/login", "text/plain", strings.NewReader(payload))
			require.NoError(t, err)
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, "POST 42 "+payload, string(got))
			assert.Equal(t, "/home", resp.Request.URL.Path)
			assert.NotNil(t, resp.Request.Response, "http.Client links a redirect's request to its cause")
		})
	}
}

// An observation is all that a caller can see of one exchange.
type observation struct {
	Status           string
	Proto            string
	Header, Trailer  http.Header
	ContentLength    int64
	TransferEncoding []string
	Uncompressed     bool
	Close            bool
	HasTLS           bool
	OwnRequest       bool // not so for bare HTTP/2 with a body: net/http's setupRewindBody
	OwnContext       bool
	NoBody           bool
	Body             string
	Err              string
	Events           []string // of the caller's own httptrace
}

// ordinary is what servers and callers do when nothing is wrong.
var ordinary = []struct {
	name string
	do   func(t *testing.T, rt http.RoundTripper, url string) observation
}{
	{"GET", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/echo", nil)
	}},
	{"empty method", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, "", url+"/echo", nil)
	}},
	{"HEAD", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodHead, url+"/gzip", nil)
	}},
	{"204", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/204", nil)
	}},
	{"500 is an answer", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/500", nil)
	}},
	{"304", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/304", nil)
	}},
	{"Connection: close", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/close", nil)
	}},
	{"gzip undone by net/http", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/gzip", nil)
	}},
	{"gzip asked for by the caller", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/gzip", func(req *http.Request) { req.Header.Set("Accept-Encoding", "gzip") })
	}},
	{"POST", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPost, url+"/echo", func(req *http.Request) {
			setBody(req, strings.NewReader(payload))
			req.ContentLength = int64(len(payload))
		})
	}},
	{"POST of unknown length", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPost, url+"/echo", func(req *http.Request) { setBody(req, strings.NewReader(payload)) })
	}},
	{"POST shorter than announced", func(t *testing.T, rt http.RoundTripper, url string) observation {
		o := observe(t, rt, http.MethodPost, url+"/echo", func(req *http.Request) {
			setBody(req, strings.NewReader(payload))
			req.ContentLength = int64(len(payload)) + 1
		})
		if o.Err != "" {
			o.Err = "one of two: net/http's reader and writer race to it over h1"
		}
		return o
	}},
	{"PUT with GetBody", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPut, url+"/echo", func(req *http.Request) {
			again := mustRequest(t.Context(), http.MethodPut, "http://a.test", strings.NewReader(payload))
			req.Body, req.GetBody, req.ContentLength = again.Body, again.GetBody, again.ContentLength
		})
	}},
	{"Expect: 100-continue", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPost, url+"/echo", func(req *http.Request) {
			setBody(req, strings.NewReader(payload))
			req.ContentLength = int64(len(payload))
			req.Header.Set("Expect", "100-continue")
		})
	}},
	{"Expect: 100-continue denied", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPost, url+"/500", func(req *http.Request) {
			setBody(req, strings.NewReader(payload))
			req.ContentLength = int64(len(payload))
			req.Header.Set("Expect", "100-continue")
		})
	}},
	{"early hints", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/103", nil)
	}},
	{"trailers both ways", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodPost, url+"/trailers", func(req *http.Request) {
			req.Trailer = http.Header{"X-Sum": nil}
			setBody(req, io.MultiReader(strings.NewReader(payload), readerFunc(func([]byte) (int, error) {
				req.Trailer.Set("X-Sum", "42") // as net/http lets callers do, until EOF
				return 0, io.EOF
			})))
		})
	}},
	{"canceled before it is sent", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/echo", func(req *http.Request) {
			ctx, cancel := context.WithCancel(req.Context())
			cancel()
			*req = *req.WithContext(ctx)
		})
	}},
	{"body cut short by the server", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/short", nil)
	}},
	{"large headers and values", func(t *testing.T, rt http.RoundTripper, url string) observation {
		return observe(t, rt, http.MethodGet, url+"/echo", func(req *http.Request) {
			req.Header["X-Many"] = []string{"1", "2", strings.Repeat("3", 8<<10)}
			req.Host = "other.test"
		})
	}},
}

// setBody sets a one-shot body that net/http does not take for an in-memory
// one: a shielded one is not either, and the headers of those are sent with
// the body and not ahead of it.
func setBody(req *http.Request, r io.Reader) { req.Body = io.NopCloser(struct{ io.Reader }{r}) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

var streamID = regexp.MustCompile(`stream ID \d+`)

func observe(t *testing.T, rt http.RoundTripper, method, url string, change func(*http.Request)) observation {
	t.Helper()
	var o observation
	var mu sync.Mutex
	event := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		o.Events = append(o.Events, fmt.Sprintf(format, args...))
	}
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got100Continue: func() { event("Got100Continue") },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			event("Got1xxResponse %d %s", code, h.Get("Link"))
			return nil
		},
	})
	req := mustRequest(ctx, method, url, nil)
	req.Method = method
	if change != nil {
		change(req)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		o.Err = err.Error()
		o.Events = nil // how far it got when it failed is a race
		return o
	}
	o.NoBody = resp.Body == http.NoBody
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		o.Err = streamID.ReplaceAllString(err.Error(), "stream ID n")
	}
	require.NoError(t, resp.Body.Close())
	resp.Header.Del("Date")
	mu.Lock()
	defer mu.Unlock()
	o.Status, o.Proto, o.Header, o.Trailer = resp.Status, resp.Proto, resp.Header, resp.Trailer
	o.ContentLength, o.TransferEncoding = resp.ContentLength, resp.TransferEncoding
	o.Uncompressed, o.Close, o.HasTLS = resp.Uncompressed, resp.Close, resp.TLS != nil
	o.OwnRequest, o.OwnContext, o.Body = resp.Request == req, resp.Request.Context() == req.Context(), string(body)
	slices.Sort(o.Events) // they come from several goroutines
	return o
}

func ordinaryServer(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/echo":
		b, _ := io.ReadAll(req.Body)
		w.Header()["X-Many"] = req.Header["X-Many"]
		w.Header().Set("X-Host", strings.Split(req.Host, ":")[0])
		fmt.Fprintf(w, "%s %s %d %v %s", req.Method, req.Header.Get("Accept-Encoding"), req.ContentLength, req.TransferEncoding, b)
	case "/gzip":
		if req.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(gzipped)
		}
	case "/204":
		w.WriteHeader(http.StatusNoContent)
	case "/304":
		w.WriteHeader(http.StatusNotModified)
	case "/500":
		http.Error(w, "sorry", http.StatusInternalServerError)
	case "/close":
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "bye")
	case "/103":
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "late")
	case "/trailers":
		b, _ := io.ReadAll(req.Body)
		w.Header().Set("Trailer", "X-Echo")
		fmt.Fprintf(w, "%s", b)
		http.NewResponseController(w).Flush()
		w.Header().Set("X-Echo", req.Trailer.Get("X-Sum"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "1")
	case "/short":
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "five.")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case "/fail":
		panic(http.ErrAbortHandler)
	}
}

// "hello" as gzip -n makes it.
var gzipped = []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07\x00\x86\xa6\x10\x36\x05\x00\x00\x00")

// TestContractOrdinary does the same with the bare transport and with respawn,
// on its healthy path and on the others, and expects the same.
func TestContractOrdinary(t *testing.T) {
	variants := []struct {
		name      string
		suspected bool // the authority is under suspicion, so attempts are watched
		opts      []Option
	}{
		{"healthy", false, nil},
		{"never replayed", false, []Option{WithReplay(ReplayNever)}},
		{"suspected", true, []Option{WithThreshold(1 << 20)}},
		{"drain limit", false, []Option{WithDrainTimeout(time.Hour)}},
	}
	for _, proto := range protocols {
		noLeaks(t)
		srv, transport := proto.serve(t, http.HandlerFunc(ordinaryServer))
		for _, v := range variants {
			rt := start(t, transport(), v.opts...)
			bare := transport()
			for _, tc := range ordinary {
				t.Run(strings.Join([]string{proto.name, v.name, tc.name}, "/"), func(t *testing.T) {
					fail := mustRequest(t.Context(), http.MethodPost, srv.URL+"/fail", nil)
					if v.suspected && proto.name == "h1" { // over h2 one stream's end says nothing
						_, err := do(rt, fail)
						require.Error(t, err)
						require.NotEmpty(t, rt.Health().Streaks)
					} else if v.suspected {
						c := rt.newCall(fail)
						rt.failed(c, &attempt{gen: rt.current.Load(), err: errReset}, evidence.Failure)
						require.NotEmpty(t, rt.Health().Streaks)
					}
					want := tc.do(t, bare, srv.URL)
					got := tc.do(t, rt, srv.URL)
					want.OwnRequest = want.OwnRequest || got.OwnRequest // better than bare is good
					assert.Equal(t, want, got)
					if want.Err == "" {
						assert.True(t, want.OwnContext)
						assert.Empty(t, rt.Health().Streaks)
					}
					assert.EqualValues(t, 1, rt.Health().Generation)
					assert.Zero(t, rt.Health().InFlight)
				})
			}
		}
	}
}

// A stream arrives flush by flush: the server sends the next chunk only when
// the client has shown that it has the one before.
func TestContractStreaming(t *testing.T) {
	for _, proto := range protocols {
		for _, opts := range [][]Option{nil, {WithDrainTimeout(time.Hour)}} {
			t.Run(fmt.Sprint(proto.name, len(opts)), func(t *testing.T) {
				noLeaks(t)
				seen := make(chan struct{})
				srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					for i := range 5 {
						fmt.Fprintf(w, "data: %d\n", i)
						http.NewResponseController(w).Flush()
						<-seen
					}
				}))
				rt := start(t, transport(), opts...)
				resp, err := rt.RoundTrip(mustRequest(t.Context(), http.MethodGet, srv.URL, nil))
				require.NoError(t, err)
				defer resp.Body.Close()
				lines := bufio.NewReader(resp.Body)
				for i := range 5 {
					line, err := lines.ReadString('\n')
					require.NoError(t, err)
					assert.Equal(t, fmt.Sprintf("data: %d\n", i), line)
					assert.EqualValues(t, 1, rt.Health().InFlight, "a stream is in flight until its end")
					seen <- struct{}{}
				}
				_, err = lines.ReadByte()
				require.Equal(t, io.EOF, err)
				assert.Zero(t, rt.Health().InFlight)
			})
		}
	}
}

// Both directions of one exchange at once: the response is read while the
// request body is still being written, which a copy that waits would break.
func TestContractFullDuplex(t *testing.T) {
	noLeaks(t)
	srv, transport := h2.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		r := bufio.NewReader(req.Body)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprint(w, strings.ToUpper(line))
			http.NewResponseController(w).Flush()
		}
	}))
	rt := start(t, transport())
	pr, pw := io.Pipe()
	resp, err := rt.RoundTrip(mustRequest(t.Context(), http.MethodPost, srv.URL, pr))
	require.NoError(t, err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for _, word := range []string{"ping", "pong"} {
		_, err := io.WriteString(pw, word+"\n")
		require.NoError(t, err)
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, strings.ToUpper(word)+"\n", line)
	}
	require.NoError(t, pw.Close())
	_, err = lines.ReadByte()
	require.Equal(t, io.EOF, err)
}
