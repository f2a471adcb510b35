package test

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

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// visitorGets gets a URL from a test's own server and returns status and body.
func visitorGets(t *testing.T, client *http.Client, url string) (int, string) {
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
	upstream, transport := h1.serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "upstream") }))
	rt := start(t, transport())
	var mu sync.Mutex
	seen := map[*http.Client]int{}
	front, frontTransport := h1.serve(t, respawn.Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		client, ok := respawn.ClientFromContext(req.Context())
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
		code, body := visitorGets(t, visitor, front.URL)
		assert.Equal(t, http.StatusOK, code)
		assert.Equal(t, "upstream", body)
	}
	require.Len(t, seen, 1, "every request must get the same client")
	for client := range seen {
		assert.True(t, client.Transport == http.RoundTripper(rt))
		assert.Zero(t, client.Timeout)
	}
}

// handedOut runs the middleware once and returns the client it handed out.
func handedOut(t *testing.T, mw func(http.Handler) http.Handler) (client *http.Client) {
	t.Helper()
	mw(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		client, _ = respawn.ClientFromContext(req.Context())
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	require.NotNil(t, client, "the handler must run, and get a client")
	return client
}

func TestMiddlewareWithClient(t *testing.T) {
	rt := start(t, &testkit.Stub{}, respawn.WithFactory(fresh))
	given := &http.Client{Timeout: time.Minute}
	got := handedOut(t, respawn.Middleware(rt, respawn.WithClient(given)))
	assert.Equal(t, time.Minute, got.Timeout)
	assert.True(t, got.Transport == http.RoundTripper(rt), "a nil Transport is set to the client's")
	assert.Nil(t, given.Transport, "the caller's own client must not be changed")

	wrapper := testkit.RoundTripperFunc(rt.RoundTrip) // as otelhttp.NewTransport(rt) is
	got = handedOut(t, respawn.Middleware(rt, respawn.WithClient(&http.Client{Transport: wrapper})))
	assert.IsType(t, wrapper, got.Transport, "a Transport that wraps rt stays")
}

// A client whose requests would go around respawn is refused, as far as that can be
// seen; what wraps rt is not, whether or not it says so.
func TestMiddlewareRefusesAClientThatGoesAroundRespawn(t *testing.T) {
	rt := start(t, &testkit.Stub{}, respawn.WithFactory(fresh))
	other := start(t, &http.Transport{})
	for name, transport := range map[string]http.RoundTripper{
		"net/http's default":           http.DefaultTransport,
		"a transport of its own":       &http.Transport{},
		"a connection":                 &http.ClientConn{},
		"the same in wrappers":         &wrapped{&wrapped{&http.Transport{}}},
		"a nil pointer":                (*http.Transport)(nil),
		"a client that was never made": (*respawn.RecoveringRoundTripper)(nil),
		"another client":               other,
		"another client in a wrapper":  &wrapped{other},
		"another client over the same": start(t, testkit.RoundTripperFunc(rt.RoundTrip), respawn.WithFactory(fresh)),
	} {
		t.Run(name, func(t *testing.T) {
			assert.PanicsWithValue(t, fmt.Sprintf("respawn: WithClient: the client's Transport, a %T, does not go through rt: wrap rt with it, or leave it nil", transport),
				func() { respawn.Middleware(rt, respawn.WithClient(&http.Client{Transport: transport})) })
		})
	}
	for _, transport := range []http.RoundTripper{nil, rt, &wrapped{rt}, &wrapped{&wrapped{rt}}, testkit.RoundTripperFunc(rt.RoundTrip)} {
		assert.NotPanics(t, func() { respawn.Middleware(rt, respawn.WithClient(&http.Client{Transport: transport})) }, "%T", transport)
	}
}

// serveOnce is one inbound request through handler.
func serveOnce(t *testing.T, handler http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	return w
}

// The replacement of a transport that has ended begins before the handler runs, and
// the handler does not wait for it: its requests do, and none is lost. It is the
// check that the LiteLLM fix made.
func TestMiddlewareStartsTheReplacementOfAnEndedTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, next := &testkit.SessionStub{}, &testkit.SessionStub{}
		p := testkit.NewProbe(t)
		f := testkit.Builds(func() http.RoundTripper { time.Sleep(time.Second); return next })
		rt := start(t, base, append(observed(p), respawn.WithFactory(f.Make))...)
		var entered, done time.Duration
		handler := respawn.Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			begin := time.Now()
			time.Sleep(300 * time.Millisecond) // what a handler does before it asks
			client, _ := respawn.ClientFromContext(req.Context())
			resp, err := client.Get("http://a.test/")
			if assert.NoError(t, err) {
				_ = resp.Body.Close()
			}
			done = time.Since(begin)
		}))
		serveOnce(t, handler)
		assert.Zero(t, f.Calls.Load(), "a transport that is well must stay")
		assert.Equal(t, 300*time.Millisecond, done)

		base.End(errors.New("session closed"))
		begin := time.Now()
		serveOnce(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			respawn.Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				entered = time.Since(begin)
				handler.ServeHTTP(w, req)
			})).ServeHTTP(w, req)
		}))
		assert.Zero(t, entered, "the handler must not wait")
		assert.Equal(t, time.Second, done, "the build began before the handler did, and its request waited for the rest")
		assert.EqualValues(t, 1, base.Calls.Load(), "no request may be lost on the ended transport")
		assert.EqualValues(t, 1, next.Calls.Load())
		assert.EqualValues(t, 1, f.Calls.Load())
		synctest.Wait()
		assert.Equal(t, map[string]int{"transport_ended promoted": 1}, p.Outcomes())
	})
}

// It is begun by the middleware alone, too: for a visitor whose handler asks nobody.
func TestMiddlewareReplacesForTheNextVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		rt := start(t, base, respawn.WithFactory(fresh))
		base.End(net.ErrClosed)
		serveOnce(t, respawn.Middleware(rt)(http.NotFoundHandler()))
		synctest.Wait()
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
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
	rt := start(t, base, respawn.WithFactory(dial))
	front := httptest.NewServer(respawn.Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		client, _ := respawn.ClientFromContext(req.Context())
		resp, err := client.Post(upstream.URL, "text/plain", io.MultiReader(strings.NewReader(payload))) // what could not be replayed
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	})))
	defer front.Close()

	code, first := visitorGets(t, front.Client(), front.URL)
	require.Equal(t, http.StatusOK, code, first)
	upstream.CloseClientConnections()
	<-ended
	require.Error(t, conn.Err(), "a closed http.ClientConn says so: the fact that this rule stands on")
	code, second := visitorGets(t, front.Client(), front.URL)
	require.Equal(t, http.StatusOK, code, second)
	assert.NotEqual(t, first, second, "it must be another connection")
	assert.EqualValues(t, 2, dialed.Load())
	assert.EqualValues(t, 2, hits.Load())
	assert.EqualValues(t, 2, rt.Health().Generation)
}

// A factory that fails degrades to a working handler and one warning.
func TestMiddlewareWithFailingFactory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		base.End(net.ErrClosed)
		p := testkit.NewProbe(t)
		f := testkit.Fails(errFactory)
		rt := start(t, base, append(observed(p), respawn.WithFactory(f.Make), every(time.Hour))...)
		var served atomic.Int64
		handler := respawn.Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			served.Add(1)
			client, ok := respawn.ClientFromContext(req.Context())
			if !assert.True(t, ok, "a degraded handler still gets its client") {
				return
			}
			_, err := client.Get("http://a.test/")
			assert.ErrorIs(t, err, net.ErrClosed, "the transport's own error")
			fmt.Fprint(w, "degraded")
		}))
		for range 10 {
			w := serveOnce(t, handler)
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Equal(t, "degraded", w.Body.String())
		}
		synctest.Wait()
		assert.EqualValues(t, 10, served.Load())
		assert.EqualValues(t, 1, f.Calls.Load(), "the factory must be left alone for the backoff's time")
		if warnings := p.Warnings(); assert.Len(t, warnings, 1, "one warning, not one per request") {
			assert.Contains(t, warnings[0].Message, "rejected")
			assert.Equal(t, "factory_error", warnings[0].Attrs["error.type"])
		}
	})
}

// README's arrangement: the health page behind the middleware answers at once,
// whatever a factory does about a transport that has ended.
func TestHealthPageBehindMiddlewareNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		base.End(net.ErrClosed)
		rt := start(t, base, respawn.WithFactory(hangs))
		begin := time.Now()
		for range 3 {
			w := serveOnce(t, respawn.Middleware(rt)(respawn.HealthHandler(rt)))
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Equal(t, "warn", healthPage(t, w).Status)
		}
		assert.Zero(t, time.Since(begin))
		assert.True(t, rt.Health().Recreating)
	})
}

// A storm of visitors who meet an ended transport makes one fresh one.
func TestMiddlewareStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		base.End(net.ErrClosed)
		f := testkit.Builds(func() http.RoundTripper { time.Sleep(10 * time.Millisecond); return &testkit.Stub{} })
		rt := start(t, base, respawn.WithFactory(f.Make))
		handler := respawn.Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			client, _ := respawn.ClientFromContext(req.Context())
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
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.Zero(t, base.Calls.Load())
		time.Sleep(10 * time.Second) // the sweeps
	})
}

// A closed client does not take the handlers with it.
func TestMiddlewareAfterClose(t *testing.T) {
	rt := start(t, &testkit.SessionStub{}, respawn.WithFactory(fresh))
	require.NoError(t, rt.Close())
	client := handedOut(t, respawn.Middleware(rt))
	_, err := client.Get("http://a.test/")
	assert.ErrorIs(t, err, respawn.ErrClosed)
}

// ownWriter is a ResponseWriter with methods that no wrapper knows of.
type ownWriter struct{ *httptest.ResponseRecorder }

func (ownWriter) Own() string { return "own" }

func TestMiddlewareHandsOnTheVeryResponseWriter(t *testing.T) {
	rt := start(t, &testkit.Stub{}, respawn.WithFactory(fresh))
	w := &ownWriter{httptest.NewRecorder()}
	respawn.Middleware(rt)(http.HandlerFunc(func(got http.ResponseWriter, _ *http.Request) {
		assert.True(t, got == http.ResponseWriter(w), "got a %T", got)
	})).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
}

// serversKey is where a request's context has the server's own ResponseWriter.
type serversKey struct{}

// What a ResponseWriter can do beyond writing works behind the middleware, on
// a real server.
func TestMiddlewareKeepsResponseWriterAbilities(t *testing.T) {
	for _, proto := range protocols {
		t.Run(proto.name, func(t *testing.T) {
			noLeaks(t)
			rt := start(t, &testkit.Stub{}, respawn.WithFactory(fresh))
			flushed := make(chan struct{})
			behind := respawn.Middleware(rt)(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
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
				case "/same":
					fmt.Fprint(w, w == req.Context().Value(serversKey{}))
				}
			}))
			front, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				behind.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), serversKey{}, w)))
			}))
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

			code, _ := visitorGets(t, visitor, front.URL+"/controller")
			assert.Equal(t, http.StatusOK, code)
			_, same := visitorGets(t, visitor, front.URL+"/same")
			assert.Equal(t, "true", same, "the server's own, whatever its type is")
			if proto.name == "h1" { // HTTP/2 cannot be hijacked
				code, _ = visitorGets(t, visitor, front.URL+"/hijack")
				assert.Equal(t, 299, code)
			}
		})
	}
}

func TestClientFromContextWithoutMiddleware(t *testing.T) {
	client, ok := respawn.ClientFromContext(t.Context())
	assert.Nil(t, client)
	assert.False(t, ok)
}

func TestMiddlewarePanicsOnNil(t *testing.T) {
	assert.PanicsWithValue(t, "respawn: Middleware: nil RecoveringRoundTripper: pass what New returned",
		func() { respawn.Middleware(nil) })
	assert.PanicsWithValue(t, "respawn: WithClient: nil client: leave the option out for the default",
		func() { respawn.WithClient(nil) })
}

// Behind several middlewares each client is there by its name, and the innermost is
// the one that a handler gets without.
func TestSeveralMiddlewaresEachByName(t *testing.T) {
	llm := start(t, &testkit.Stub{}, respawn.WithFactory(fresh), respawn.WithName("llm"))
	search := start(t, &testkit.Stub{}, respawn.WithFactory(fresh), respawn.WithName("search"))
	other := &http.Client{Timeout: time.Minute}
	var ctx context.Context
	handler := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { ctx = req.Context() })
	serveOnce(t, respawn.Middleware(llm, respawn.WithClient(other))(respawn.Middleware(search)(handler)))

	inner, ok := respawn.ClientFromContext(ctx)
	require.True(t, ok)
	assert.Same(t, search, inner.Transport)
	byName, ok := respawn.NamedClientFromContext(ctx, "search")
	require.True(t, ok)
	assert.Same(t, inner, byName)
	outer, ok := respawn.NamedClientFromContext(ctx, "llm")
	require.True(t, ok)
	assert.Same(t, llm, outer.Transport)
	assert.Equal(t, time.Minute, outer.Timeout)
	for _, ctx := range []context.Context{ctx, t.Context()} {
		client, ok := respawn.NamedClientFromContext(ctx, "nobody")
		assert.False(t, ok)
		assert.Nil(t, client)
	}
}
