package respawn_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// sink answers with what it is given and allocates nothing.
type sink struct {
	resp http.Response
	body io.ReadCloser
}

func (s *sink) RoundTrip(*http.Request) (*http.Response, error) {
	s.resp.Body = s.body
	return &s.resp, nil
}

// emptyBody has a field, as a body with a stream behind it has: without one there is
// nothing to wait for.
type emptyBody struct{ _ byte }

func (*emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (*emptyBody) Close() error             { return nil }

// well returns a client over base, which never needs another transport.
func well(t testing.TB, base http.RoundTripper, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	t.Helper()
	opts = append(opts, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} }).Make))
	rt, err := respawn.New(base, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rt.Close()) })
	return rt
}

func exchange(rt http.RoundTripper, req *http.Request, buf []byte) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		panic(err)
	}
	for err == nil {
		_, err = resp.Body.Read(buf)
	}
	resp.Body.Close()
}

// near is the context of a caller whose deadline is near: its request is not
// accompanied. The stubs do not look at it, so that it may as well have passed.
func near(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

// No cost when well: allocation counts are exact, so they are gates.
func TestHealthyPathAllocations(t *testing.T) {
	buf := make([]byte, 512)
	for _, tt := range []struct {
		name, method  string
		ctx           context.Context
		body          io.ReadCloser
		allocs, bytes int64
	}{
		{"http.NoBody", http.MethodGet, near(t), http.NoBody, 0, 0},
		{"a body", http.MethodGet, near(t), &emptyBody{}, 1, 32},
		// A context of two, and the request and all else in one.
		{"a patient caller", http.MethodGet, t.Context(), http.NoBody, 3, 800},
		{"a patient caller and a body", http.MethodGet, t.Context(), &emptyBody{}, 3, 800},
		// Its watch, of which the place in the list is a part.
		{"POST", http.MethodPost, near(t), http.NoBody, 3, 608},
		{"POST of a patient caller", http.MethodPost, t.Context(), http.NoBody, 3, 928},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := testkit.Request(tt.ctx, tt.method, "http://a.test/", nil)
			rt := well(t, &sink{body: tt.body})
			assert.EqualValues(t, tt.allocs, testing.AllocsPerRun(1000, func() { exchange(rt, req, buf) }))
			if testkit.Race {
				return // the detector's own allocations count in bytes
			}
			r := testing.Benchmark(func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					exchange(rt, req, buf)
				}
			})
			assert.LessOrEqual(t, r.AllocedBytesPerOp(), tt.bytes)
		})
	}
}

// suspecting returns a client over base which suspects a host that nobody asks any
// more.
func suspecting(t testing.TB, base http.RoundTripper) *respawn.RecoveringRoundTripper {
	t.Helper()
	rt := well(t, testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		if req.Host == "bad.test" {
			return nil, syscall.ECONNREFUSED
		}
		return base.RoundTrip(req)
	}))
	_, err := rt.RoundTrip(testkit.Request(t.Context(), http.MethodPost, "http://bad.test/", strings.NewReader("once")))
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Len(t, rt.Health().Streaks, 1)
	return rt
}

// One suspect costs the requests to others no allocation.
func TestASuspectCostsOthersNoAllocation(t *testing.T) {
	buf := make([]byte, 512)
	req := testkit.Request(near(t), http.MethodGet, "http://a.test/", nil)
	for name, make := range map[string]func(testing.TB, http.RoundTripper) *respawn.RecoveringRoundTripper{
		"well": func(t testing.TB, base http.RoundTripper) *respawn.RecoveringRoundTripper { return well(t, base) }, "one suspect": suspecting,
	} {
		rt := make(t, &sink{body: http.NoBody})
		assert.Zero(t, testing.AllocsPerRun(1000, func() { exchange(rt, req, buf) }), name)
	}
}

// once are the requests that may be sent only once, by body, and what they cost. Each is
// watched from its first attempt, since else nobody could tell afterwards whether it was
// sent; what of a body can fail or wait is looked at, too.
var once = []struct {
	name    string
	body    func() io.ReadCloser
	getBody bool
	allocs  int
}{
	{"no body", func() io.ReadCloser { return nil }, false, 3},
	{"in memory", func() io.ReadCloser { return io.NopCloser(strings.NewReader("once")) }, true, 3},
	{"a reader", func() io.ReadCloser { return &emptyBody{} }, false, 4},
	{"a reader, GetBody", func() io.ReadCloser { return &emptyBody{} }, true, 4},
}

func post(ctx context.Context, body io.ReadCloser, getBody bool) *http.Request {
	req := testkit.Request(ctx, http.MethodPost, "http://a.test/", nil)
	req.Body = body
	if getBody {
		req.GetBody = func() (io.ReadCloser, error) { return body, nil }
	}
	return req
}

// traced is a context whose caller looks at its attempts itself.
func traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {}})
}

// composed is what net/http takes to compose hooks that a caller has of its own with
// those that watch, which differs from one release of Go to the next.
func composed(t *testing.T) int {
	cost := func(ctx context.Context) float64 {
		return testing.AllocsPerRun(1000, func() { traced(ctx) })
	}
	return int(cost(traced(t.Context())) - cost(t.Context()))
}

func TestOnceOnlyAllocations(t *testing.T) {
	for _, tt := range once {
		for name, ctx := range map[string]context.Context{"": t.Context(), ", traced by its caller": traced(t.Context())} {
			t.Run(tt.name+name, func(t *testing.T) {
				most := tt.allocs
				if name != "" {
					most += 2 + composed(t) // two of them are ours
				}
				rt := well(t, &sink{body: http.NoBody})
				req := post(ctx, tt.body(), tt.getBody)
				assert.EqualValues(t, most, testing.AllocsPerRun(1000, func() { exchange(rt, req, nil) }))
			})
		}
	}
}

func BenchmarkOnceOnly(b *testing.B) {
	for _, tt := range once {
		bare := &sink{body: http.NoBody}
		for _, t := range []struct {
			name string
			rt   http.RoundTripper
			ctx  context.Context
		}{
			{"bare", bare, b.Context()}, {"respawn", well(b, bare), b.Context()},
			{"traced/bare", bare, traced(b.Context())}, {"traced/respawn", well(b, bare), traced(b.Context())},
		} {
			b.Run(strings.ReplaceAll(tt.name, " ", "-")+"/"+t.name, func(b *testing.B) {
				req := post(t.ctx, tt.body(), tt.getBody)
				b.ReportAllocs()
				for b.Loop() {
					exchange(t.rt, req, nil)
				}
			})
		}
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	buf := make([]byte, 512)
	for _, body := range []struct {
		name string
		body io.ReadCloser
	}{{"NoBody", http.NoBody}, {"Body", &emptyBody{}}} {
		bare := &sink{body: body.body}
		rt, suspects := well(b, &sink{body: body.body}), suspecting(b, &sink{body: body.body})
		for _, t := range []struct {
			name string
			rt   http.RoundTripper
		}{{"bare", bare}, {"respawn", rt}, {"suspecting-another-host", suspects}} {
			b.Run(body.name+"/"+t.name, func(b *testing.B) {
				req := testkit.Request(near(b), http.MethodGet, "http://a.test/", nil)
				b.ReportAllocs()
				for b.Loop() {
					exchange(t.rt, req, buf)
				}
			})
		}
	}
	parallel := testkit.RoundTripperFunc(func(*http.Request) (*http.Response, error) { return noBody, nil })
	rt := well(b, parallel)
	for _, t := range []struct {
		name string
		rt   http.RoundTripper
	}{{"bare", parallel}, {"respawn", rt}} {
		b.Run("NoBody/parallel/"+t.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				req := testkit.Request(near(b), http.MethodGet, "http://a.test/", nil)
				for pb.Next() {
					if _, err := t.rt.RoundTrip(req); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// What a caller with time to spare pays, beside one whose deadline is near.
func BenchmarkPatience(b *testing.B) {
	buf := make([]byte, 512)
	far, cancel := context.WithTimeout(b.Context(), 100*time.Hour)
	defer cancel()
	bare := &sink{body: http.NoBody}
	rt, off := well(b, &sink{body: http.NoBody}), well(b, &sink{body: http.NoBody}, respawn.WithPatience(0))
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, t := range []struct {
			name string
			rt   http.RoundTripper
			ctx  context.Context
		}{
			{"bare", bare, far}, {"off", off, far}, {"near-deadline", rt, near(b)}, {"far-deadline", rt, far}, {"no-deadline", rt, context.Background()},
		} {
			b.Run(method+"/"+t.name, func(b *testing.B) {
				req := testkit.Request(t.ctx, method, "http://a.test/", nil)
				b.ReportAllocs()
				for b.Loop() {
					exchange(t.rt, req, buf)
				}
			})
		}
	}
}

var noBody = &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}
