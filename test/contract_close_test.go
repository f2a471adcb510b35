package test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A closingBody is closed by a function.
type closingBody struct {
	io.Reader
	close func()
}

func (b closingBody) Close() error {
	b.close()
	return nil
}

// A body that is still unread when the answer comes is closed by respawn, since the
// transport may close what it does not read before a second attempt. Whatever that Close
// does, the answer is the caller's, and the count is right.
func TestACloseOfTheRequestsBodyWithholdsNoAnswer(t *testing.T) {
	early := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		testkit.CloseBody(req)
		return &http.Response{StatusCode: http.StatusUnauthorized, Body: io.NopCloser(strings.NewReader("no")), Request: req}, nil
	})
	for name, closes := range map[string]func(*testing.T){
		"blocks": func(t *testing.T) { <-t.Context().Done() },
		"panics": func(*testing.T) { panic("closed") },
		"exits":  func(*testing.T) { runtime.Goexit() },
	} {
		for path, tc := range map[string]struct {
			ctx  func(testing.TB) context.Context
			opts []respawn.Option
		}{
			"watched":     {ctx: impatient},
			"accompanied": {ctx: func(t testing.TB) context.Context { return t.Context() }},
			"as a call":   {ctx: impatient, opts: []respawn.Option{respawn.WithDrainTimeout(time.Minute)}},
		} {
			t.Run(name+"/"+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rt := start(t, early, append(tc.opts, respawn.WithFactory(fresh))...)
					req := request(tc.ctx(t), http.MethodPost, "http://a.test/", nil)
					req.Body = closingBody{strings.NewReader("x"), func() { closes(t) }}
					status, err := testkit.Do(rt, req)
					require.NoError(t, err)
					assert.Equal(t, http.StatusUnauthorized, status)
					assert.Zero(t, rt.Health().InFlight)
				})
			})
		}
	}
}

// The body of an inbound request reads on when it is closed, and its client may send
// nothing until it has its answer.
func TestAnInboundBodyIsPassedOnUnderExpectContinue(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			upstream, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusUnauthorized)
			}))
			rt := start(t, transport())
			door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
				out := request(in.Context(), in.Method, upstream.URL, in.Body)
				out.Header, out.ContentLength = in.Header.Clone(), in.ContentLength
				resp, err := rt.RoundTrip(out)
				if assert.NoError(t, err) {
					resp.Body.Close()
					w.WriteHeader(resp.StatusCode)
				}
			}))
			defer door.Close()
			c, err := net.Dial("tcp", door.Listener.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
			_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
			require.NoError(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			require.NoError(t, err)
			resp.Body.Close()
			assert.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		})
	}
}
