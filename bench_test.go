package respawn

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
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

type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }

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

// No cost when well: allocation counts are exact, so they are gates.
func TestHealthyPathAllocations(t *testing.T) {
	buf := make([]byte, 512)
	req := mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil)
	for _, tt := range []struct {
		name          string
		body          io.ReadCloser
		allocs, bytes int64
	}{
		{"http.NoBody", http.NoBody, 0, 0},
		{"a body", emptyBody{}, 1, 32},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rt := start(t, &sink{body: tt.body}, WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
			assert.EqualValues(t, tt.allocs, testing.AllocsPerRun(1000, func() { exchange(rt, req, buf) }))
			if raceEnabled {
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

func BenchmarkRoundTrip(b *testing.B) {
	buf := make([]byte, 512)
	for _, body := range []struct {
		name string
		body io.ReadCloser
	}{{"NoBody", http.NoBody}, {"Body", emptyBody{}}} {
		bare := &sink{body: body.body}
		rt := start(b, &sink{body: body.body}, WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
		for _, t := range []struct {
			name string
			rt   http.RoundTripper
		}{{"bare", bare}, {"respawn", rt}} {
			b.Run(body.name+"/"+t.name, func(b *testing.B) {
				req := mustRequest(b.Context(), http.MethodGet, "http://a.test/", nil)
				b.ReportAllocs()
				for b.Loop() {
					exchange(t.rt, req, buf)
				}
			})
		}
	}
	parallel := rtFunc(func(*http.Request) (*http.Response, error) { return noBody, nil })
	rt := start(b, parallel, WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
	for _, t := range []struct {
		name string
		rt   http.RoundTripper
	}{{"bare", parallel}, {"respawn", rt}} {
		b.Run("NoBody/parallel/"+t.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				req := mustRequest(b.Context(), http.MethodGet, "http://a.test/", nil)
				for pb.Next() {
					if _, err := t.rt.RoundTrip(req); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

var noBody = &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}
