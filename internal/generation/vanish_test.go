package generation

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A vanishing body does not return from Read.
type vanishing struct{ how func() }

func (v vanishing) Read([]byte) (int, error) {
	v.how()
	return 0, nil
}

func (v vanishing) Close() error { return nil }

// Whoever reads a body whose Read panics, or ends the goroutine, need not come to close it: the
// request is out, on whichever path it was, and holds nothing of its caller's context.
func TestABodyWhoseReadDoesNotReturnIsOut(t *testing.T) {
	for name, how := range map[string]func(){"panics": func() { panic("the body's") }, "calls Goexit": runtime.Goexit} {
		for path, track := range map[string]func(*Generation, *http.Request, *http.Response) (*http.Response, func() bool){
			"counted": func(g *Generation, req *http.Request, resp *http.Response) (*http.Response, func() bool) {
				return g.Enter(req).Track(req, resp), func() bool { return true }
			},
			"held": func(g *Generation, req *http.Request, resp *http.Response) (*http.Response, func() bool) {
				ctx, cancel := context.WithCancelCause(req.Context())
				return new(Held).Track(g.Enter(req), req, resp, cancel), func() bool { return ctx.Err() != nil }
			},
			"bound": func(g *Generation, req *http.Request, resp *http.Response) (*http.Response, func() bool) {
				h := &holder{}
				return g.EnterBy(1).Bind(h).Track(req, resp), h.ended.Load
			},
		} {
			for _, limit := range []time.Duration{0, time.Minute} {
				t.Run(path+" "+name+" "+limit.String(), func(t *testing.T) {
					g := New(nil, limit)
					resp, letGo := track(g, request("GET"), &http.Response{StatusCode: 200, Body: vanishing{how}})
					assert.EqualValues(t, 1, g.InFlight())
					returned, done := false, make(chan any)
					go func() {
						defer func() { done <- recover() }()
						_, _ = io.ReadAll(resp.Body)
						returned = true
					}()
					if v := <-done; name == "panics" {
						assert.Equal(t, "the body's", v, "the reader has the panic")
					}
					assert.False(t, returned)
					assert.Zero(t, g.InFlight())
					assert.True(t, letGo(), "its context")
					assert.NoError(t, resp.Body.Close())
					assert.Zero(t, g.InFlight(), "it was out already")
				})
			}
		}
	}
}
