package respawn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fetch gets a URL from a test's own server and returns status and body.
func fetch(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

// Handlers of a real server share one client, and reach the upstream with it.
func TestMiddlewareSharesOneClient(t *testing.T) {
	noLeaks(t)
	upstream, transport := h1.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, "upstream") }))
	rt := start(t, transport())
	var mu sync.Mutex
	seen := map[*http.Client]int{}
	front, frontTransport := h1.serve(t, Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		client, ok := ClientFromContext(req.Context())
		if !assert.True(t, ok) {
			return
		}
		mu.Lock()
		seen[client]++
		mu.Unlock()
		resp, err := client.Get(upstream.URL)
		if !assert.NoError(t, err) {
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	})))
	visitor := &http.Client{Transport: frontTransport()}
	for range 5 {
		code, body := fetch(t, visitor, front.URL)
		assert.Equal(t, http.StatusOK, code)
		assert.Equal(t, "upstream", body)
	}
	require.Len(t, seen, 1, "every request must get the same client")
	for client := range seen {
		assert.True(t, client.Transport == http.RoundTripper(rt))
		assert.Zero(t, client.Timeout)
	}
}

// inContext runs the middleware once and returns the client it handed out.
func inContext(t *testing.T, mw func(http.Handler) http.Handler) (client *http.Client) {
	t.Helper()
	mw(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		client, _ = ClientFromContext(req.Context())
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	require.NotNil(t, client, "the handler must run, and get a client")
	return client
}

func TestMiddlewareWithClient(t *testing.T) {
	rt := start(t, &stub{}, WithFactory(fresh))
	given := &http.Client{Timeout: time.Minute}
	got := inContext(t, Middleware(rt, WithClient(given)))
	assert.Equal(t, time.Minute, got.Timeout)
	assert.True(t, got.Transport == http.RoundTripper(rt), "a nil Transport is set to the client's")
	assert.Nil(t, given.Transport, "the caller's own client must not be changed")

	wrapper := rtFunc(rt.RoundTrip) // as otelhttp.NewTransport(rt) is
	got = inContext(t, Middleware(rt, WithClient(&http.Client{Transport: wrapper})))
	assert.IsType(t, wrapper, got.Transport, "a Transport that wraps rt stays")
}

// The transport that has ended is replaced before the handler runs, so that
// no request is lost on it: the check that the LiteLLM fix made.
func TestMiddlewareReplacesEndedTransport(t *testing.T) {
	base, next := &sessionStub{}, &sessionStub{}
	p := newProbe(t)
	f := builds(func() http.RoundTripper { return next })
	rt := start(t, base, append(p.options(), WithFactory(f.make))...)
	var during uint64
	mw := Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		during = rt.Health().Generation
		client, _ := ClientFromContext(req.Context())
		resp, err := client.Get("http://a.test/")
		if assert.NoError(t, err) {
			resp.Body.Close()
		}
	}))
	front := httptest.NewServer(mw)
	defer front.Close()
	fetch(t, front.Client(), front.URL)
	assert.EqualValues(t, 1, during, "a transport that is well must stay")

	base.end(errors.New("session closed"))
	fetch(t, front.Client(), front.URL)
	assert.EqualValues(t, 2, during, "it must be replaced before the handler runs")
	assert.EqualValues(t, 1, base.calls.Load(), "no request may be lost on the ended transport")
	assert.EqualValues(t, 1, next.calls.Load())
	assert.EqualValues(t, 1, f.calls.Load())
	assert.Equal(t, map[string]int{"transport_ended promoted": 1}, p.outcomes())
}

// The same with a real http.ClientConn of Go 1.26, whose server hangs up.
func TestMiddlewareReplacesClosedClientConn(t *testing.T) {
	noLeaks(t)
	var hits atomic.Int64
	upstream, transport := h1.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		hits.Add(1)
		fmt.Fprint(w, req.RemoteAddr)
	}))
	dialer := transport()
	dialed := atomic.Int64{}
	dial := func(ctx context.Context) (http.RoundTripper, error) {
		dialed.Add(1)
		return dialer.NewClientConn(ctx, "http", upstream.Listener.Addr().String())
	}
	base, err := dial(t.Context())
	require.NoError(t, err)
	conn := base.(*http.ClientConn)
	ended := make(chan struct{})
	var once sync.Once
	conn.SetStateHook(func(c *http.ClientConn) {
		if c.Err() != nil {
			once.Do(func() { close(ended) })
		}
	})
	rt := start(t, base, WithFactory(dial))
	front := httptest.NewServer(Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		client, _ := ClientFromContext(req.Context())
		resp, err := client.Post(upstream.URL, "text/plain", io.MultiReader(strings.NewReader(payload))) // what could not be replayed
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	})))
	defer front.Close()

	code, first := fetch(t, front.Client(), front.URL)
	require.Equal(t, http.StatusOK, code, first)
	upstream.CloseClientConnections()
	<-ended
	require.Error(t, conn.Err(), "a closed http.ClientConn says so: the fact that this rule stands on")
	code, second := fetch(t, front.Client(), front.URL)
	require.Equal(t, http.StatusOK, code, second)
	assert.NotEqual(t, first, second, "it must be another connection")
	assert.EqualValues(t, 2, dialed.Load())
	assert.EqualValues(t, 2, hits.Load())
	assert.EqualValues(t, 2, rt.Health().Generation)
}

// A factory that fails degrades to a working handler and one warning.
func TestMiddlewareWithFailingFactory(t *testing.T) {
	base := &sessionStub{}
	base.end(net.ErrClosed)
	p := newProbe(t)
	f := &factory{build: func(int64, context.Context) (http.RoundTripper, error) { return nil, errFactory }}
	rt := start(t, base, append(p.options(), WithFactory(f.make), every(time.Hour))...)
	var served atomic.Int64
	front := httptest.NewServer(Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		served.Add(1)
		client, ok := ClientFromContext(req.Context())
		if !assert.True(t, ok, "a degraded handler still gets its client") {
			return
		}
		_, err := client.Get("http://a.test/")
		assert.ErrorIs(t, err, net.ErrClosed, "the transport's own error")
		fmt.Fprint(w, "degraded")
	})))
	defer front.Close()

	for range 10 {
		code, body := fetch(t, front.Client(), front.URL)
		assert.Equal(t, http.StatusOK, code)
		assert.Equal(t, "degraded", body)
	}
	assert.EqualValues(t, 10, served.Load())
	assert.EqualValues(t, 1, f.calls.Load(), "the factory must be left alone for the backoff's time")
	if warnings := p.warnings(); assert.Len(t, warnings, 1, "one warning, not one per request") {
		assert.Contains(t, warnings[0].Message, "rejected")
		assert.Equal(t, "*errors.errorString", warnings[0].attrs["error.type"])
	}
}

// The handler does not wait longer than its request lives, nor longer than
// WithRecreateTimeout.
func TestMiddlewareWaitIsBounded(t *testing.T) {
	for _, tc := range []struct {
		name          string
		client, limit time.Duration
		want          time.Duration
	}{
		{"the visitor gives up", time.Second, time.Minute, time.Second},
		{"the factory's limit", time.Minute, 3 * time.Second, 3 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &sessionStub{}
				base.end(net.ErrClosed)
				rt := start(t, base, WithFactory(hangs), WithRecreateTimeout(tc.limit))
				ctx, cancel := context.WithTimeout(t.Context(), tc.client)
				defer cancel()
				began, ran := time.Now(), false
				Middleware(rt)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					ran = true
					assert.Equal(t, tc.want, time.Since(began))
				})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
				assert.True(t, ran, "the handler must run all the same")
			})
		})
	}
}

// A storm of visitors who meet an ended transport makes one fresh one.
func TestMiddlewareStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &sessionStub{}
		base.end(net.ErrClosed)
		f := &factory{build: func(int64, context.Context) (http.RoundTripper, error) {
			time.Sleep(10 * time.Millisecond)
			return &stub{}, nil
		}}
		rt := start(t, base, WithFactory(f.make))
		handler := Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			client, _ := ClientFromContext(req.Context())
			resp, err := client.Get("http://a.test/")
			if assert.NoError(t, err) {
				resp.Body.Close()
			}
		}))
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, f.calls.Load())
		assert.Zero(t, base.calls.Load())
		time.Sleep(10 * time.Second) // the sweeps
	})
}

// A closed client does not take the handlers with it.
func TestMiddlewareAfterClose(t *testing.T) {
	rt := start(t, &sessionStub{}, WithFactory(fresh))
	require.NoError(t, rt.Close())
	client := inContext(t, Middleware(rt))
	_, err := client.Get("http://a.test/")
	assert.ErrorIs(t, err, ErrClosed)
}

// ownWriter is a ResponseWriter with methods that no wrapper knows of.
type ownWriter struct{ *httptest.ResponseRecorder }

func (ownWriter) Own() string { return "own" }

func TestMiddlewareHandsOnTheVeryResponseWriter(t *testing.T) {
	rt := start(t, &stub{}, WithFactory(fresh))
	w := &ownWriter{httptest.NewRecorder()}
	Middleware(rt)(http.HandlerFunc(func(got http.ResponseWriter, _ *http.Request) {
		assert.True(t, got == http.ResponseWriter(w), "got a %T", got)
	})).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
}

// What a ResponseWriter can do beyond writing works behind the middleware, on
// a real server.
func TestMiddlewareKeepsResponseWriterAbilities(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			noLeaks(t)
			rt := start(t, &stub{}, WithFactory(fresh))
			flushed := make(chan struct{})
			front, transport := proto.serve(t, Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				rc := http.NewResponseController(w)
				switch req.URL.Path {
				case "/flusher":
					fmt.Fprint(w, "1")
					w.(http.Flusher).Flush()
					<-flushed // nothing more until the visitor has it
					fmt.Fprint(w, "2")
				case "/controller":
					assert.NoError(t, rc.SetReadDeadline(time.Now().Add(time.Minute)))
					assert.NoError(t, rc.SetWriteDeadline(time.Now().Add(time.Minute)))
					assert.NoError(t, rc.Flush())
				case "/hijack":
					conn, _, err := w.(http.Hijacker).Hijack()
					if assert.NoError(t, err) {
						fmt.Fprint(conn, "HTTP/1.1 299 Hijacked\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
						conn.Close()
					}
				case "/type":
					fmt.Fprintf(w, "%T", w)
				}
			})))
			visitor := &http.Client{Transport: transport()}

			resp, err := visitor.Get(front.URL + "/flusher")
			require.NoError(t, err)
			r := bufio.NewReader(resp.Body)
			b, err := r.ReadByte()
			require.NoError(t, err)
			assert.Equal(t, byte('1'), b)
			flushed <- struct{}{}
			b, err = r.ReadByte()
			require.NoError(t, err)
			assert.Equal(t, byte('2'), b)
			require.NoError(t, resp.Body.Close())

			code, _ := fetch(t, visitor, front.URL+"/controller")
			assert.Equal(t, http.StatusOK, code)
			_, kind := fetch(t, visitor, front.URL+"/type")
			assert.True(t, strings.HasPrefix(kind, "*http."), "the server's own type, not %s", kind)
			if proto.name == "h1" { // HTTP/2 cannot be hijacked
				code, _ = fetch(t, visitor, front.URL+"/hijack")
				assert.Equal(t, 299, code)
			}
		})
	}
}

func TestClientFromContextWithoutMiddleware(t *testing.T) {
	client, ok := ClientFromContext(t.Context())
	assert.Nil(t, client)
	assert.False(t, ok)
}

func TestMiddlewarePanicsOnNil(t *testing.T) {
	assert.PanicsWithValue(t, "respawn: Middleware: nil RecoveringRoundTripper: pass what New returned",
		func() { Middleware(nil) })
	assert.PanicsWithValue(t, "respawn: WithClient: nil client: leave the option out for the default",
		func() { WithClient(nil) })
}
