package test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// A server says GOAWAY to an http.ClientConn that has a stream open. Until that
// ends, which may take hours, Err() is nil and whatever else is sent is refused
// by net/http itself: nothing of it went out, so even a POST that can be sent
// only once gets through, on a fresh connection. The stream is left alone.
func TestGoAwayWhileStreaming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		var bodies []string
		n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/stream":
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Minute)
				_, _ = io.WriteString(w, "end")
			case "/last":
				w.Header().Set("Connection", "close") // GOAWAY
			default:
				body, _ := io.ReadAll(req.Body)
				bodies = append(bodies, string(body))
			}
		}))
		dialer := n.HTTP2()
		dial := func(ctx context.Context) (http.RoundTripper, error) {
			return dialer.NewClientConn(ctx, "http", "a.test:80")
		}
		base, err := dial(t.Context())
		require.NoError(t, err)
		rt := start(t, base, respawn.WithFactory(dial))

		stream, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/stream", nil))
		require.NoError(t, err)
		defer stream.Body.Close()
		_, err = get(t.Context(), rt, "http://a.test/last")
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, base.(*http.ClientConn).Err(), "it says by itself that it is of no more use: this test is void")
		_, err = base.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
		require.EqualError(t, err, "http2: client conn not usable", "net/http says it in other words now")

		for _, body := range []io.Reader{
			strings.NewReader("with GetBody"), io.MultiReader(strings.NewReader("one-shot")),
		} {
			code, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", body))
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, code)
		}
		assert.Equal(t, []string{"with GetBody", "one-shot"}, bodies)
		assert.Equal(t, 1, rt.Health().Promotions)
		end, err := io.ReadAll(stream.Body)
		require.NoError(t, err)
		assert.Equal(t, "end", string(end))
	})
}

// A GOAWAY with an error says of the streams above its last that they were not processed, even
// of a connection's first, which net/http does not send again by itself. A POST goes again.
func TestAPostThatAGoAwayWithAnErrorRefusedIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		host := n.Listen("a.test:80")
		go func() {
			for c, err := host.Accept(); err == nil; c, err = host.Accept() {
				go refuseByGoAway(c)
			}
		}()
		var got atomic.Int64
		n.Serve("b.test:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got.Add(1) }))
		fresh := n.HTTP2()
		fresh.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return n.DialContext(ctx, network, "b.test:80")
		}
		rt := start(t, n.HTTP2(), respawn.WithThreshold(1), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return fresh, nil }))
		status, err := testkit.Do(rt, request(impatient(t), http.MethodPost, "http://a.test/", strings.NewReader("x")))
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status)
		assert.EqualValues(t, 1, got.Load())
		rt.CloseIdleConnections()
	})
}

// refuseByGoAway serves HTTP/2 on c, and processes nothing.
func refuseByGoAway(c net.Conn) {
	_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
	f := http2.NewFramer(c, c)
	_ = f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if _, ok := frame.(*http2.HeadersFrame); ok {
			_ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil)
		}
	}
}
