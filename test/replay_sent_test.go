package test

import (
	"context"
	"errors"
	"fmt"
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

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// What may have been sent, over net/http's own transports.

// An upload that is another server's answer fails with that connection's errors, also with
// those that say of a request that it was not sent. A part of it is on the wire.
func TestAnUploadWhoseSourceFailsOnTheWayIsSentOnce(t *testing.T) {
	overDraws(t, 60, func(t *testing.T, d draw) {
		var s seer
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			s.see(req)
			drains.ServeHTTP(w, req)
		}))
		transport := oneOf(d, n.HTTP1, n.HTTP2)
		opts := append(d.options(), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return transport() }).Make))
		if d.chance(0.5) { // with one that blames the transport for everything
			opts = append(opts, respawn.WithClassifier(func(*http.Request, error) respawn.Verdict { return respawn.Failure }))
		}
		if d.chance(0.3) {
			opts = append(opts, respawn.WithWaitForReady(d.between(time.Second, 5*time.Second)))
		}
		rt := start(t, transport(), opts...)
		for i := range 1 + d.IntN(6) {
			given := strings.Repeat("x", 1+d.IntN(128<<10))
			broken := oneOf(d, likeANetwork(d), testkit.Refused(), errors.New("http2: client conn not usable"),
				errors.New("http2: Transport received Server's graceful shutdown GOAWAY"))
			req := upload(t.Context(), d, oneOf(d, http.MethodPost, http.MethodPut, http.MethodPatch), func() io.Reader {
				return io.MultiReader(strings.NewReader(given), failingReader{broken})
			})
			req.Header.Set("X-Id", fmt.Sprint(i))
			_, err := testkit.Do(rt, req)
			require.Error(t, err)
			time.Sleep(d.between(0, time.Second))
		}
		assert.Zero(t, s.twice())
		rt.CloseIdleConnections()
	})
}

// net/http sends again by itself what it sent on a connection of the pool that had ended, and
// dials for that. If the dial fails, its error speaks of the second connection alone.
func TestWhatNetHTTPHasSentOnceIsNotUnsent(t *testing.T) {
	overDraws(t, 40, func(t *testing.T, d draw) {
		var s seer
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if s.see(req); req.URL.Path == "/lost" {
				c, _, _ := w.(http.Hijacker).Hijack()
				c.Close()
			}
		}))
		var left atomic.Int64 // dials that succeed
		left.Store(1)
		broken := oneOf(d, testkit.Refused(), nameless(d), testkit.DialTimeout(), error(&net.DNSError{Err: "server misbehaving", Name: "a.test"}))
		base := n.HTTP1()
		base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if left.Add(-1) < 0 {
				return nil, broken
			}
			return n.DialContext(ctx, network, addr)
		}
		fallback, _ := d.mayHaveFallback()
		rt := start(t, base, append(append(d.options(), fallback...), respawn.WithReplay(respawn.ReplayUnsent),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return n.HTTP1() }).Make))...)
		for range 1 + d.IntN(5) { // the connection is warm
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
		}
		req := request(t.Context(), oneOf(d, http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost), "http://a.test/lost", nil)
		if req.Method == http.MethodPost { // which net/http sends again, too
			req.Header.Set("Idempotency-Key", "1")
			if d.chance(0.5) {
				req.Body, req.GetBody = withGetBody(t)
			}
		}
		req.Header.Set("X-Id", "lost")
		_, err := testkit.Do(rt, req)
		require.Error(t, err)
		assert.Equal(t, 1, s.seen["lost"])
		rt.CloseIdleConnections()
	})
}

// A dialer may ask others under the context of a dial that nobody needs any more: the request
// that it was for has got a connection that was free sooner. The dialer's own request, which
// goes on, does not hide that.
func TestAPostThatGotAConnectionBesideItsDialIsSentOnce(t *testing.T) {
	overDraws(t, 60, func(t *testing.T, d draw) {
		var s seer
		n := testnet.New(t)
		asked := d.between(50*time.Millisecond, 600*time.Millisecond)
		token := n.Serve("token.test:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(asked) }))
		if d.chance(0.7) { // it has no connection yet, when the other one is free
			token.Slow(asked / 4)
		}
		n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			s.see(req)
			switch req.URL.Path {
			case "/busy":
				time.Sleep(asked / 2)
			case "/lost":
				_, _ = io.Copy(io.Discard, req.Body)
				c, _, _ := w.(http.Hijacker).Hijack()
				c.Close()
			}
		}))
		dial := asking(d, n, n.DialContext)
		transport := func() http.RoundTripper {
			tr := n.HTTP1()
			tr.DialContext = dial
			return tr
		}
		fallback, diverts := d.mayHaveFallback()
		rt := start(t, transport(), append(append(d.options(), fallback...), respawn.WithFactory(testkit.Builds(transport).Make))...)
		for i := range 1 + d.IntN(4) {
			_, err := get(t.Context(), rt, "http://a.test/busy") // it leaves its connection to the pool
			require.NoError(t, err)
			done := make(chan error)
			go func() {
				_, err := get(t.Context(), rt, "http://a.test/busy")
				done <- err
			}()
			time.Sleep(d.between(time.Millisecond, asked/2-time.Millisecond)) // the POST has to dial
			var body io.Reader
			switch d.IntN(3) {
			case 0:
				body = strings.NewReader(payload)
			case 1:
				body = io.MultiReader(strings.NewReader(payload))
			}
			req := request(t.Context(), http.MethodPost, "http://a.test/lost", body)
			req.Header.Set("X-Id", fmt.Sprint(i))
			_, err = testkit.Do(rt, req)
			require.True(t, err != nil || diverts)
			require.NoError(t, <-done)
			assert.True(t, s.seen[fmt.Sprint(i)] == 1 || err == nil, "POST %d", i)
			assert.LessOrEqual(t, s.seen[fmt.Sprint(i)], 1, "POST %d", i)
			time.Sleep(d.between(0, time.Minute))
		}
		rt.CloseIdleConnections()
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

// A shy body gives nothing for a number of Reads, which is no end.
type shy struct {
	io.Reader
	reads int
}

func (s *shy) Read(p []byte) (int, error) {
	if s.reads--; s.reads >= 0 {
		return 0, nil
	}
	return s.Reader.Read(p)
}

// A body of which somebody tried to read, and got nothing, can be had again, as one that is
// empty can.
func TestABodyThatGaveNothingGoesAgain(t *testing.T) {
	overDraws(t, 60, func(t *testing.T, d draw) {
		content := strings.Repeat("x", oneOf(d, 0, 1+d.IntN(10000)))
		reads, broken := d.IntN(4), 1+d.IntN(2) // each of the first attempts reads so often
		method, err := http.MethodPost, oneOf(d, testkit.Refused(), testkit.DialTimeout())
		if content == "" { // it may be sent again whatever became of it
			method, err = oneOf(d, http.MethodGet, http.MethodHead, http.MethodOptions), oneOf(d, testkit.ConnReset(), io.EOF, testkit.Refused())
		}
		var got []string
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if broken--; broken < 0 {
				sent, err := io.ReadAll(req.Body)
				require.NoError(t, err)
				got = append(got, string(sent))
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, req.Body.Close()
			}
			for range reads {
				k, _ := req.Body.Read(make([]byte, 4))
				require.Zero(t, k)
			}
			testkit.CloseBody(req)
			return nil, err
		})
		fallback, _ := d.mayHaveFallback()
		rt := start(t, base, append(append(d.options(), fallback...), respawn.WithThreshold(3+d.IntN(2)), respawn.WithFactory(fails))...)
		body := &shy{strings.NewReader(content), reads * broken}
		if content == "" {
			body.reads = d.IntN(2)
		}
		sent := track(body)
		_, err = testkit.Do(rt, request(t.Context(), method, "http://a.test/", sent))
		require.NoError(t, err)
		assert.Equal(t, []string{content}, got)
		synctest.Wait()
		assert.EqualValues(t, 1, sent.closes.Load())
	})
}
