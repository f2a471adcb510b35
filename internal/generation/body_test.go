package generation

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/testkit"
)

var errBroken = errors.New("broken")

// A stream is a body with a stream behind it, which ends in err.
type stream struct {
	io.Reader
	err    error
	closed atomic.Int32
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err == io.EOF && s.err != nil {
		err = s.err
	}
	return n, err
}

func (s *stream) Close() error { s.closed.Add(1); return nil }

func streaming(err error) *stream { return &stream{Reader: strings.NewReader("data"), err: err} }

// emptyOfHTTP2 has the shape of the body that net/http gives an HTTP/2 response that
// ends with its headers.
type emptyOfHTTP2 struct{}

func (emptyOfHTTP2) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyOfHTTP2) Close() error             { return nil }

// A track hooks the body of a response to a request of that method.
type track func(g *Generation, method string, resp *http.Response) *http.Response

// tracks are both: the healthy path's, and of the attempts off it.
var tracks = map[string]track{
	"healthy path": func(g *Generation, method string, resp *http.Response) *http.Response {
		req := request(method)
		return g.Enter(req).Track(req, resp)
	},
	"off it": func(g *Generation, method string, resp *http.Response) *http.Response {
		req := request(method)
		return g.Enter(req).Bind(&holder{}).Track(req, resp)
	},
}

func request(method string) *http.Request {
	req, err := http.NewRequest(method, "http://a.test/", nil)
	if err != nil {
		panic(err)
	}
	return req
}

// A holder notes what its bond tells it.
type holder struct{ ended, untied, gone atomic.Bool }

func (h *holder) End()        { h.ended.Store(true) }
func (h *holder) Untie() bool { h.untied.Store(true); return true }
func (h *holder) Gone() bool  { return h.gone.Load() }

// A response without a body is out at once, and its body is the transport's own, unless an
// attempt with a context has to hear of its end.
func TestWhatHasNoBodyIsOutAtOnce(t *testing.T) {
	length := func(resp *http.Response, n int64) *http.Response { resp.ContentLength = n; return resp }
	for name, tt := range map[string]struct {
		method string
		resp   *http.Response
		out    bool
	}{
		"HEAD":                        {"HEAD", length(&http.Response{StatusCode: 200, Body: streaming(nil)}, 4), true},
		"204":                         {"GET", &http.Response{StatusCode: 204, Body: streaming(nil)}, true},
		"304":                         {"GET", &http.Response{StatusCode: 304, Body: streaming(nil)}, true},
		"http.NoBody":                 {"GET", &http.Response{StatusCode: 200, Body: http.NoBody}, true},
		"the empty body of HTTP/2":    {"GET", &http.Response{StatusCode: 200, Body: emptyOfHTTP2{}}, true},
		"it, and a length":            {"GET", length(&http.Response{StatusCode: 200, Body: emptyOfHTTP2{}}, 4), true},
		"no body at all":              {"GET", &http.Response{StatusCode: 200}, true},
		"no length, as HTTP/3 has it": {"GET", length(&http.Response{StatusCode: 200, Body: streaming(nil)}, 0), false},
		"a body":                      {"GET", length(&http.Response{StatusCode: 200, Body: streaming(nil)}, 4), false},
		"an error's body":             {"GET", &http.Response{StatusCode: 404, Body: streaming(nil)}, false},
		"a body of OPTIONS":           {"OPTIONS", &http.Response{StatusCode: 200, Body: streaming(nil)}, false},
		"a partial body":              {"GET", &http.Response{StatusCode: 206, Body: streaming(nil)}, false},
	} {
		for path, track := range tracks {
			t.Run(name+"/"+path, func(t *testing.T) {
				g := New(nil, 0)
				resp := *tt.resp
				got := track(g, tt.method, &resp)
				require.Same(t, &resp, got)
				if tt.out {
					assert.Zero(t, g.InFlight())
					if path == "healthy path" || isEmpty(tt.resp) {
						assert.True(t, tt.resp.Body == got.Body, "the very value")
					}
					return
				}
				assert.EqualValues(t, 1, g.InFlight())
				require.NoError(t, got.Body.Close())
				assert.Zero(t, g.InFlight())
			})
		}
	}
}

// What goes on for a request that has all it gets, its own body say, is not cut. Where there may
// be a stream behind the body, that heeds the caller until it is read to its end or closed.
func TestWhatHasNoBodyIsUntiedAndNotEnded(t *testing.T) {
	for name, ends := range map[string]func(io.ReadCloser){
		"nothing": nil,
		"read":    func(b io.ReadCloser) { _, _ = io.ReadAll(b) },
		"closed":  func(b io.ReadCloser) { _ = b.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			g, h, req := New(nil, 0), &holder{}, request("POST")
			resp := &http.Response{StatusCode: 204, Body: http.NoBody}
			if ends != nil {
				resp.Body = streaming(nil)
			}
			g.Enter(req).Bind(h).Track(req, resp)
			assert.Zero(t, g.InFlight())
			if ends != nil {
				assert.False(t, h.untied.Load(), "the caller may give it up")
				ends(resp.Body)
			}
			assert.True(t, h.untied.Load())
			assert.False(t, h.ended.Load())
		})
	}
}

func TestABodyIsOutAtItsEndAtAnyErrorAndAtClose(t *testing.T) {
	for name, tt := range map[string]struct {
		err error
		use func(t *testing.T, b io.ReadCloser)
	}{
		"its end": {nil, func(t *testing.T, b io.ReadCloser) {
			_, err := io.ReadAll(b)
			assert.NoError(t, err)
		}},
		"an error": {errBroken, func(t *testing.T, b io.ReadCloser) {
			_, err := io.ReadAll(b)
			assert.Same(t, errBroken, err, "as it is")
		}},
		"Close": {nil, func(t *testing.T, b io.ReadCloser) { assert.NoError(t, b.Close()) }},
	} {
		for path, track := range tracks {
			t.Run(name+"/"+path, func(t *testing.T) {
				g, body := New(nil, 0), streaming(tt.err)
				resp := track(g, "GET", &http.Response{StatusCode: 200, Body: body})
				_, err := io.ReadFull(resp.Body, make([]byte, 2))
				require.NoError(t, err)
				require.EqualValues(t, 1, g.InFlight())
				tt.use(t, resp.Body)
				assert.Zero(t, g.InFlight())
				require.NoError(t, resp.Body.Close())
				assert.Zero(t, g.InFlight(), "once")
				assert.NotZero(t, body.closed.Load(), "Close is the transport's to hear of")
			})
		}
	}
}

// A connection is a body with both halves.
type connection struct {
	*stream
	written strings.Builder
}

func (c *connection) Write(p []byte) (int, error) { return c.written.Write(p) }

type halfCloser struct {
	*connection
	half int
}

func (h *halfCloser) CloseWrite() error { h.half++; return nil }

func TestAnUpgradedConnectionIsInFlightUntilClose(t *testing.T) {
	for path, track := range tracks {
		for name, body := range map[string]io.ReadCloser{
			"both halves":      &connection{stream: streaming(nil)},
			"one can be ended": &halfCloser{connection: &connection{stream: streaming(errBroken)}},
			"it is read only":  streaming(errBroken),
		} {
			t.Run(name+"/"+path, func(t *testing.T) {
				g := New(nil, 0)
				resp := track(g, "GET", &http.Response{StatusCode: 101, Body: body})
				_, _ = io.ReadAll(resp.Body)
				assert.EqualValues(t, 1, g.InFlight(), "whatever a Read says")
				if _, ok := body.(io.Writer); ok {
					_, err := io.WriteString(resp.Body.(io.Writer), "x")
					require.NoError(t, err)
				}
				if h, ok := body.(*halfCloser); ok {
					require.NoError(t, resp.Body.(interface{ CloseWrite() error }).CloseWrite())
					assert.Equal(t, 1, h.half)
				}
				assert.EqualValues(t, 1, g.InFlight())
				require.NoError(t, resp.Body.Close())
				require.NoError(t, resp.Body.Close())
				assert.Zero(t, g.InFlight())
			})
		}
	}
}

// A body that can write is in flight until its end, as every other is, unless the answer says
// that it is a connection: 101, or the success of a CONNECT.
func TestABodyThatCanWriteIsOutAtItsEndUnlessItIsAConnection(t *testing.T) {
	for path, track := range tracks {
		for name, tt := range map[string]struct {
			method   string
			status   int
			inFlight int64
		}{
			"an answer":         {"GET", 200, 0},
			"a refused upgrade": {"GET", 426, 0},
			"a refused CONNECT": {"CONNECT", 502, 0},
			"a tunnel":          {"CONNECT", 200, 1},
			"an upgrade":        {"GET", 101, 1},
		} {
			t.Run(name+"/"+path, func(t *testing.T) {
				g := New(nil, 0)
				body := &halfCloser{connection: &connection{stream: streaming(nil)}}
				resp := track(g, tt.method, &http.Response{StatusCode: tt.status, Body: body})
				_, err := io.WriteString(resp.Body.(io.Writer), "x")
				require.NoError(t, err)
				require.NoError(t, resp.Body.(interface{ CloseWrite() error }).CloseWrite())
				assert.Equal(t, "x", body.written.String())
				assert.EqualValues(t, 1, g.InFlight())
				_, _ = io.ReadAll(resp.Body)
				assert.EqualValues(t, tt.inFlight, g.InFlight())
				require.NoError(t, resp.Body.Close())
				assert.Zero(t, g.InFlight())
			})
		}
	}
}

// Whatever becomes of a RoundTrip, what it has counted in is counted out.
func TestARoundTripThatDoesNotReturnIsOut(t *testing.T) {
	for name, end := range faults {
		t.Run(name, func(t *testing.T) {
			g := New(testkit.RoundTripperFunc(func(*http.Request) (*http.Response, error) { end(); return nil, nil }), 0)
			done := make(chan any)
			go func() {
				defer func() { done <- recover() }()
				req := request("GET")
				_, _ = g.RoundTrip(req, g.Enter(req))
			}()
			<-done
			assert.Zero(t, g.InFlight())
		})
	}
}

// A body whose Close panics is out.
func TestABodyWhoseCloseDoesNotReturnIsOut(t *testing.T) {
	for path, track := range tracks {
		for name, end := range faults {
			t.Run(name+"/"+path, func(t *testing.T) {
				g, done := New(nil, 0), make(chan any)
				resp := track(g, "GET", &http.Response{StatusCode: 200, Body: closeFunc{streaming(nil), end}})
				go func() {
					defer func() { done <- recover() }()
					_ = resp.Body.Close()
				}()
				<-done
				assert.Zero(t, g.InFlight())
			})
		}
	}
}

type closeFunc struct {
	io.Reader
	end func()
}

func (c closeFunc) Close() error { c.end(); return nil }
