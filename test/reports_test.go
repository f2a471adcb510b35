package test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// What others have reported of net/http and of clients around it, each for its kind: none
// of it speaks against a transport.

// A stream holds the one connection that there may be, and whoever waits for it runs
// into a deadline: that is the caller's own limit.
func TestWhoWaitsForAPlaceInItsOwnPoolIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		host := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/stream" {
				_ = http.NewResponseController(w).Flush()
				<-req.Context().Done()
			}
		}))
		base := n.HTTP1()
		base.MaxConnsPerHost = 1
		rt := start(t, base, respawn.WithStallThreshold(1, 0)) // a single stall would do
		stream, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/stream", nil))
		require.NoError(t, err)
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodGet, http.MethodGet, http.MethodPost, http.MethodGet} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := testkit.Do(rt, request(ctx, method, "http://a.test/", nil))
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		assert.EqualValues(t, 1, rt.Health().Generation)
		assert.Equal(t, 1, host.Dials(), "one connection is the limit")
		require.NoError(t, stream.Body.Close())
	})
}

// An upstream that hangs up within its answer, or after a 1xx, has answered nobody: a
// fresh transport on which it does the same is none that works.
func TestAnAnswerThatBreaksOffProvesNothing(t *testing.T) {
	for name, said := range map[string]string{
		"nothing":            "",
		"100":                "HTTP/1.1 100 Continue\r\n\r\n",
		"103":                "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
		"half a status line": "HTTP/1.1 20",
		"half a header":      "HTTP/1.1 200 OK\r\nContent-Le",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				l := n.Listen("a.test:80")
				var came atomic.Int64
				go func() {
					for {
						conn, err := l.Accept()
						if err != nil {
							return
						}
						came.Add(1)
						go func() {
							defer conn.Close()
							_, _ = conn.Read(make([]byte, 4096))
							_, _ = io.WriteString(conn, said)
						}()
					}
				}()
				rt := start(t, n.HTTP1(), every(time.Second))
				for range 100 {
					_, err := get(t.Context(), rt, "http://a.test/")
					require.Error(t, err)
					time.Sleep(200 * time.Millisecond)
				}
				assert.EqualValues(t, 1, rt.Health().Generation)
				if !strings.HasPrefix(name, "half") { // which net/http calls malformed: the answer's fault
					assert.Positive(t, rt.Health().Rejections, "candidates were tried, and refused")
				}
				require.NoError(t, l.Close())
			})
		})
	}
}
