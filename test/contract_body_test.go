package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

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
				return testkit.Refused()
			}
			return nil
		}, status: 200, hits: 1},
		{name: "every dial fails", dial: func(int64) error { return testkit.Refused() }, err: "connection refused"},
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
					req := request(t.Context(), http.MethodPost, srv.URL, nil)
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
						// However many there are, and whatever they look like.
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

// likeANetwork draws an error that a body may have as well as a connection.
func likeANetwork(d draw) error {
	return oneOf(d, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, os.ErrDeadlineExceeded, context.DeadlineExceeded,
		testkit.Refused(), testkit.ConnReset(), testkit.DialTimeout(), error(&net.DNSError{Err: "server misbehaving", Name: "b.test"}),
		errors.New("session shut down"), errors.New("http2: client connection lost"))
}

// upload is a request with that body, and perhaps GetBody.
func upload(ctx context.Context, d draw, method string, body func() io.Reader) *http.Request {
	req := request(ctx, method, "http://a.test/", io.NopCloser(body()))
	if d.chance(0.6) {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(body()), nil }
	}
	return req
}

// Uploads whose own reader fails like a network say nothing against the transport, wherever
// in the body it fails, and are not sent again, not even where they may be.
func TestContractBodyThatFailsLikeANetworkIsTheCallers(t *testing.T) {
	overDraws(t, 60, func(t *testing.T, d draw) {
		var s seer
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			s.see(req)
			drains.ServeHTTP(w, req)
		}))
		transport := oneOf(d, n.HTTP1, n.HTTP2)
		f := testkit.Builds(func() http.RoundTripper { return transport() })
		fallback, _ := d.mayHaveFallback()
		rt := start(t, transport(), append(append(d.options(), fallback...), respawn.WithFactory(f.Make))...)
		for i := range 1 + d.IntN(10) {
			given, broken := strings.Repeat("x", oneOf(d, 0, 1+d.IntN(100), d.IntN(100<<10))), likeANetwork(d)
			req := upload(t.Context(), d, oneOf(d, http.MethodPost, http.MethodPut, http.MethodPatch), func() io.Reader {
				return io.MultiReader(strings.NewReader(given), failingReader{broken})
			})
			req.Header.Set("X-Id", fmt.Sprint(i))
			if d.chance(0.3) {
				req.Header.Set("Idempotency-Key", "1")
			}
			if d.chance(0.3) {
				req.ContentLength = int64(len(given)) + 1
			}
			_, err := testkit.Do(rt, req)
			require.Error(t, err, "%v after %d bytes", broken, len(given))
			time.Sleep(d.between(0, time.Second))
		}
		assert.Zero(t, s.twice())
		nothingBuilt(t, rt, f)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		nothingBuilt(t, rt, f)
		rt.CloseIdleConnections()
	})
}

// A withholding body gives what it has, and then keeps everybody waiting until its caller's
// time is over: net/http waits for a Read that is under way.
type withholding struct {
	io.Reader
	over <-chan struct{}
}

func (h withholding) Read(p []byte) (int, error) {
	if n, err := h.Reader.Read(p); err == nil {
		return n, nil
	}
	<-h.over
	return 0, net.ErrClosed
}

// A deadline that passes while the caller's own body gives nothing is no stall, however much
// of the body was sent by then.
func TestUploadsThatWaitForTheirOwnBodiesReplaceNothing(t *testing.T) {
	overDraws(t, 40, func(t *testing.T, d draw) {
		n := testnet.New(t)
		n.Serve("a.test:80", drains)
		transport := oneOf(d, n.HTTP1, n.HTTP2)
		f := testkit.Builds(func() http.RoundTripper { return transport() })
		fallback, _ := d.mayHaveFallback()
		rt := start(t, transport(), append(append(d.options(), fallback...), respawn.WithFactory(f.Make))...)
		var wg sync.WaitGroup
		for range 1 + d.IntN(8) {
			given := strings.Repeat("x", oneOf(d, 0, 1+d.IntN(100), d.IntN(200<<10)))
			ctx, cancel := context.WithTimeout(t.Context(), d.between(300*time.Millisecond, 20*time.Second))
			req := upload(ctx, d, oneOf(d, http.MethodPost, http.MethodPut), func() io.Reader {
				return withholding{strings.NewReader(given), ctx.Done()}
			})
			wg.Go(func() {
				defer cancel()
				_, err := testkit.Do(rt, req)
				assert.Error(t, err)
			})
			if d.chance(0.5) {
				wg.Wait()
			}
		}
		wg.Wait()
		nothingBuilt(t, rt, f)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		nothingBuilt(t, rt, f)
		rt.CloseIdleConnections()
	})
}

// An uncomparable is an error of a validator, say, which errors.Is cannot find.
type uncomparable []error

func (uncomparable) Error() string { return "the fields are not valid" }

// A rewording is a user's RoundTripper that keeps no more of an error than its text.
type rewording struct{ http.RoundTripper }

func (r rewording) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if err != nil {
		err = fmt.Errorf("upload: %v", err)
	}
	return resp, err
}

// A body's own failure is the caller's even where its error is not to be found in what the
// transport returns.
func TestContractABodyWhoseErrorIsNotFoundIsTheCallers(t *testing.T) {
	for name, c := range map[string]struct {
		wrap func(http.RoundTripper) http.RoundTripper
		err  error
	}{
		"not comparable":       {func(rt http.RoundTripper) http.RoundTripper { return rt }, uncomparable{io.ErrNoProgress}},
		"the text is all left": {func(rt http.RoundTripper) http.RoundTripper { return rewording{rt} }, io.ErrClosedPipe},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				n.Serve("a.test:80", drains)
				base := n.HTTP2()
				rt := start(t, c.wrap(base), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return c.wrap(n.HTTP2()), nil }))
				again := 0
				for range 3 {
					req := request(impatient(t), http.MethodPost, "http://a.test/", failingReader{c.err})
					req.GetBody = func() (io.ReadCloser, error) { again++; return io.NopCloser(failingReader{c.err}), nil }
					req.Header.Set("Idempotency-Key", "1")
					_, err := testkit.Do(rt, req)
					require.Error(t, err)
				}
				assert.Zero(t, again, "it was sent again")
				assert.Empty(t, rt.Health().Streaks)
				assert.Empty(t, rt.Recreations())
				base.CloseIdleConnections()
				rt.CloseIdleConnections()
			})
		})
	}
}

// A brief connection is a tunnel's that breaks a second after it was made, as smux's do.
type brief struct {
	net.Conn
	end time.Time
}

func (c *brief) Read(p []byte) (int, error) {
	_ = c.Conn.SetReadDeadline(c.end)
	n, err := c.Conn.Read(p)
	if err != nil && !time.Now().Before(c.end) {
		err = io.ErrClosedPipe
	}
	return n, err
}

// Where the connection broke net/http closes the body, whose Read then fails as well. That
// is no fault of the body's: uploads alone get a transport replaced whose connections break.
func TestConnectionsThatBreakUnderUploadsSpeakAgainstTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Serve("a.test:80", drains)
		base := n.HTTP2()
		base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := n.DialContext(ctx, network, addr)
			return &brief{c, time.Now().Add(time.Second)}, err
		}
		rt := start(t, base, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return n.HTTP2(), nil }))
		lost := 0
		for range 20 {
			r, w := io.Pipe()
			go func() {
				_, _ = w.Write([]byte("x"))
				time.Sleep(2 * time.Second)
				_ = w.Close()
			}()
			if _, err := testkit.Do(rt, request(impatient(t), http.MethodPost, "http://a.test/", r)); err != nil {
				lost++
			}
			time.Sleep(3 * time.Second)
		}
		assert.LessOrEqual(t, lost, 5)
		rt.CloseIdleConnections()
	})
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
					return nil, testkit.Refused()
				}
				dials.Add(1)
				close(dialing)
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			rt := start(t, base)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-dialing; cancel() }()
			req := request(ctx, http.MethodPost, "http://a.test/", nil)
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
	for _, opts := range map[string][]respawn.Option{"healthy": nil, "slow path": {respawn.WithDrainTimeout(time.Hour)}} {
		noBody := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 204, Body: http.NoBody, Request: req}, nil
		})
		rt := start(t, noBody, append(opts, respawn.WithFactory(fresh))...)
		resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
		require.NoError(t, err)
		assert.True(t, resp.Body == http.NoBody, "net/http and its users compare with that very value")
		assert.Zero(t, rt.Health().InFlight)
	}
}

// net/http recognizes in-memory readers by type, and a wrapper hides it. So they reach the
// transport as they are, and with ReplayNever, or where nothing has to be watched, in the
// caller's very request. Other bodies are looked at while they are sent: they fail, keep
// everybody waiting, or cannot be had twice. A file still has the descriptor that a connection
// asks it for (sendfile).
func TestContractBodyTypesReachTheTransport(t *testing.T) {
	name := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(name, []byte(payload), 0o600))
	file, err := os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	ctx := impatient(t)
	withBody := func(method string, body io.Reader) func() *http.Request {
		return func() *http.Request { return request(ctx, method, "http://a.test/", body) }
	}
	cases := []struct {
		name string
		req  func() *http.Request
		as   string // what the transport gets of the caller's: its own request, its own body, its descriptor, or neither
	}{
		{"GET", withBody(http.MethodGet, nil), "request"},
		{"GET of a file", withBody(http.MethodGet, file), "descriptor"},
		{"GET of strings.Reader", withBody(http.MethodGet, strings.NewReader(payload)), "request"},
		{"POST without a body", withBody(http.MethodPost, nil), "body"},
		{"NoBody", withBody(http.MethodPost, http.NoBody), "body"},
		{"bytes.Reader", withBody(http.MethodPost, bytes.NewReader([]byte(payload))), "body"},
		{"bytes.Buffer", withBody(http.MethodPost, bytes.NewBufferString(payload)), "body"},
		{"strings.Reader", withBody(http.MethodPost, strings.NewReader(payload)), "body"},
		{"*os.File", withBody(http.MethodPost, file), "descriptor"},
		{"*os.File with GetBody", func() *http.Request {
			req := request(ctx, http.MethodPost, "http://a.test/", file)
			req.GetBody = func() (io.ReadCloser, error) { return nil, nil }
			return req
		}, "descriptor"},
		{"NopCloser of *os.File", withBody(http.MethodPost, io.NopCloser(file)), "neither"},
		{"GetBody", func() *http.Request {
			req := request(t.Context(), http.MethodPost, "http://a.test/", track(nil))
			req.GetBody = func() (io.ReadCloser, error) { return nil, nil }
			return req
		}, "neither"},
		{"one-shot", withBody(http.MethodPost, track(strings.NewReader(payload))), "neither"},
		{"GET of a one-shot", withBody(http.MethodGet, track(strings.NewReader(payload))), "neither"},
	}
	for _, tc := range cases {
		for _, replay := range []respawn.Replay{respawn.ReplayIdempotent, respawn.ReplayUnsent, respawn.ReplayNever} {
			t.Run(fmt.Sprintf("%s/%d", tc.name, replay), func(t *testing.T) {
				var seen *http.Request
				rt := start(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					seen = req
					return &http.Response{StatusCode: 204, Body: http.NoBody, Request: req}, nil
				}), respawn.WithReplay(replay), respawn.WithFactory(fresh))
				req := tc.req()
				resp, err := rt.RoundTrip(req)
				require.NoError(t, err)
				assert.Same(t, req, resp.Request)
				as := tc.as
				switch {
				case replay == respawn.ReplayNever:
					as = "request"
				case replay == respawn.ReplayUnsent && as == "request":
					as = "body" // what is once only is watched
				}
				assert.Equal(t, as == "request", seen == req, "the caller's own request")
				assert.Equal(t, as == "request", onHealthyPath(seen))
				assert.Equal(t, as == "request" || as == "body", seen.Body == req.Body, "got a %T", seen.Body)
				if as == "descriptor" {
					assert.Implements(t, (*syscall.Conn)(nil), seen.Body)
				}
			})
		}
	}

	t.Run("under suspicion", func(t *testing.T) {
		var seen *http.Request
		rt := start(t, script(lost, func(req *http.Request) (*http.Response, error) {
			seen = req
			return &http.Response{StatusCode: 204, Body: http.NoBody, Request: req}, nil
		}), respawn.WithFactory(fresh))
		_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", nil))
		require.Error(t, err)
		req := request(t.Context(), http.MethodGet, "http://a.test/", file)
		_, err = testkit.Do(rt, req)
		require.NoError(t, err)
		assert.False(t, onHealthyPath(seen))
		assert.Implements(t, (*syscall.Conn)(nil), seen.Body, "a file must stay a file")
	})
}

// A file goes out as it does bare: by sendfile, which takes what has a descriptor (net/sendfile.go), and
// beneath its declared length.
func TestAFileIsSentAsNetHTTPSendsIt(t *testing.T) {
	name := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(name, []byte(payload), 0o600))
	srv, transport := h1.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got, err := io.ReadAll(req.Body)
		assert.NoError(t, err)
		assert.Equal(t, payload, string(got))
		assert.EqualValues(t, len(payload), req.ContentLength)
		assert.Empty(t, req.TransferEncoding)
	}))
	tr := transport()
	var from []bool // what the connection is asked to read from, and whether it has a descriptor
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return readerFrom{conn, func(r io.Reader) {
			if l, ok := r.(*io.LimitedReader); ok {
				_, descriptor := l.R.(syscall.Conn)
				from = append(from, descriptor)
			}
		}}, err
	}
	send := func(rt http.RoundTripper, hide func(*os.File) io.ReadCloser) {
		file, err := os.Open(name)
		require.NoError(t, err)
		defer file.Close()
		req := request(t.Context(), http.MethodPost, srv.URL, hide(file))
		req.ContentLength = int64(len(payload))
		_, err = testkit.Do(rt, req)
		require.NoError(t, err)
	}
	rt := start(t, tr)
	for _, hide := range []func(*os.File) io.ReadCloser{
		func(f *os.File) io.ReadCloser { return f },
		func(f *os.File) io.ReadCloser { return io.NopCloser(f) },
	} {
		from = nil
		send(tr, hide)
		send(rt, hide)
		require.Len(t, from, 2)
		assert.Equal(t, from[0], from[1])
	}
	from = nil
	send(rt, func(f *os.File) io.ReadCloser { return f })
	assert.Equal(t, []bool{true}, from)
}

// readerFrom is a connection that tells what it is asked to read from.
type readerFrom struct {
	net.Conn
	tell func(io.Reader)
}

func (c readerFrom) ReadFrom(r io.Reader) (int64, error) {
	c.tell(r)
	return io.Copy(c.Conn, r)
}

// A POST over HTTP/2 whose body has given nothing yet, and whose stream or connection the server ends at
// once, ends at once: its body is closed while it is read, as without respawn.
func TestContractABodyThatIsBeingReadIsClosed(t *testing.T) {
	for _, ends := range []string{"stream", "connection", "answered"} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, GetBody: %v", ends, again), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := testnet.New(t)
					var host *testnet.Host
					host = n.ServeTLS("a.test:443", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						switch {
						case req.Method == http.MethodGet:
						case ends == "stream":
							panic(http.ErrAbortHandler)
						case ends == "connection":
							for _, l := range host.Links() {
								l.Reset()
							}
						default:
							w.WriteHeader(http.StatusRequestEntityTooLarge)
						}
					}))
					rt := start(t, n.HTTP2())
					_, err := get(t.Context(), rt, "https://a.test/")
					require.NoError(t, err)

					source, feeds := io.Pipe()
					sent := &pipeBody{PipeReader: source}
					req := request(t.Context(), http.MethodPost, "https://a.test/", nil)
					req.Body = sent
					if again {
						req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("it cannot be had again") }
					}
					begin := time.Now()
					resp, err := rt.RoundTrip(req)
					assert.Equal(t, ends != "answered", err != nil, "%v", err)
					assert.Zero(t, time.Since(begin))
					if resp != nil {
						require.NoError(t, resp.Body.Close())
					}
					synctest.Wait()
					assert.Zero(t, time.Since(begin))
					assert.EqualValues(t, 1, sent.closes.Load())
					require.NoError(t, feeds.Close())
					rt.CloseIdleConnections()
				})
			})
		}
	}
}

// A pipeBody knows how often it was closed.
type pipeBody struct {
	*io.PipeReader
	closes atomic.Int64
}

func (b *pipeBody) Close() error {
	b.closes.Add(1)
	return b.PipeReader.Close()
}
