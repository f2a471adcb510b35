package servers

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	echov4 "github.com/labstack/echo/v4"
	echov4middleware "github.com/labstack/echo/v4/middleware"
	"github.com/labstack/echo/v5"
	echomiddleware "github.com/labstack/echo/v5/middleware"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

type middleware = func(http.Handler) http.Handler

// A framework makes a server of middlewares and routes in the way of one router: with
// its recovery from panics, its form of a middleware, and its ResponseWriter and request
// for the handlers.
type framework func(mws []middleware, routes map[string]http.HandlerFunc) http.Handler

var frameworks = map[string]framework{
	"net/http": func(mws []middleware, routes map[string]http.HandlerFunc) http.Handler {
		mux := http.NewServeMux()
		for path, handler := range routes {
			mux.HandleFunc("GET "+path, handler)
		}
		var handler http.Handler = mux
		for i := len(mws) - 1; i >= 0; i-- {
			handler = mws[i](handler)
		}
		return handler
	},
	"chi": func(mws []middleware, routes map[string]http.HandlerFunc) http.Handler {
		r := chi.NewRouter()
		r.Use(chimiddleware.Recoverer)
		r.Use(mws...)
		for path, handler := range routes {
			r.Get(path, handler)
		}
		return r
	},
	"gin": func(mws []middleware, routes map[string]http.HandlerFunc) http.Handler {
		engine := gin.New() // without gin.Recovery: see TestGinRecoveryMakesABrokenAnswerLookWhole
		for _, mw := range mws {
			engine.Use(ginMiddleware(mw))
		}
		for path, handler := range routes {
			engine.GET(path, func(c *gin.Context) { handler(c.Writer, c.Request) })
		}
		return engine
	},
	"echo v4": func(mws []middleware, routes map[string]http.HandlerFunc) http.Handler {
		e := echov4.New()
		e.Logger.SetOutput(io.Discard)
		e.Use(echov4middleware.Recover())
		for _, mw := range mws {
			e.Use(echov4.WrapMiddleware(mw))
		}
		for path, handler := range routes {
			e.GET(path, func(c echov4.Context) error {
				handler(c.Response(), c.Request())
				return nil
			})
		}
		return e
	},
	"echo v5": func(mws []middleware, routes map[string]http.HandlerFunc) http.Handler {
		e := echo.NewWithConfig(echo.Config{Logger: slog.New(slog.DiscardHandler)})
		e.Use(echomiddleware.Recover())
		for _, mw := range mws {
			e.Use(echo.WrapMiddleware(mw))
		}
		for path, handler := range routes {
			e.GET(path, func(c *echo.Context) error {
				handler(c.Response(), c.Request())
				return nil
			})
		}
		return e
	},
}

func init() { gin.SetMode(gin.ReleaseMode) }

// inEachFramework runs test in a bubble for each framework.
func inEachFramework(t *testing.T, test func(t *testing.T, f framework)) {
	for name, f := range frameworks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, f) })
		})
	}
}

func TestHandlersShareOneClient(t *testing.T) {
	inEachFramework(t, func(t *testing.T, f framework) {
		w := newWorld(t, http.HandlerFunc(hammer))
		seen := map[*http.Client]bool{}
		w.serve(f([]middleware{respawn.Middleware(w.rt)}, map[string]http.HandlerFunc{"/item": func(rw http.ResponseWriter, req *http.Request) {
			client, _ := respawn.ClientFromContext(req.Context())
			seen[client] = true
			fetch(rw, req)
		}}))
		for range 3 {
			status, body, err := w.get(t, "/item")
			require.NoError(t, err)
			assert.Equal(t, http.StatusOK, status)
			assert.Equal(t, "hammer", body)
		}
		require.Len(t, seen, 1)
		for client := range seen {
			assert.True(t, client.Transport == http.RoundTripper(w.rt))
		}
	})
}

func TestHandlersFindEachClientByItsName(t *testing.T) {
	inEachFramework(t, func(t *testing.T, f framework) {
		w := newWorld(t, http.HandlerFunc(hammer), respawn.WithName("items"))
		prices := w.client(t, respawn.WithName("prices"))
		var items, price, innermost, nobody *http.Client
		w.serve(f([]middleware{respawn.Middleware(w.rt), respawn.Middleware(prices)}, map[string]http.HandlerFunc{"/": func(_ http.ResponseWriter, req *http.Request) {
			items, _ = respawn.NamedClientFromContext(req.Context(), "items")
			price, _ = respawn.NamedClientFromContext(req.Context(), "prices")
			innermost, _ = respawn.ClientFromContext(req.Context())
			nobody, _ = respawn.NamedClientFromContext(req.Context(), "orders")
		}}))
		_, _, err := w.get(t, "/")
		require.NoError(t, err)
		if assert.NotNil(t, items) && assert.NotNil(t, price) {
			assert.True(t, items.Transport == http.RoundTripper(w.rt))
			assert.True(t, price.Transport == http.RoundTripper(prices))
			assert.Same(t, price, innermost)
		}
		assert.Nil(t, nobody)
	})
}

func TestReadinessFailsOnceTheClientIsClosed(t *testing.T) {
	inEachFramework(t, func(t *testing.T, f framework) {
		w := newWorld(t, http.HandlerFunc(hammer))
		w.serve(f([]middleware{respawn.Middleware(w.rt)}, map[string]http.HandlerFunc{"/ready": respawn.HealthHandler(w.rt).ServeHTTP}))
		status, body, err := w.get(t, "/ready")
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, body, `"status":"pass"`)
		require.NoError(t, w.rt.Close())
		status, body, err = w.get(t, "/ready")
		require.NoError(t, err)
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.Contains(t, body, `"status":"fail"`)
	})
}

// Each line reaches the visitor before the next one exists, and no swap cuts the
// stream.
func TestStreamIsFlushedAndOutlivesRecreate(t *testing.T) {
	inEachFramework(t, func(t *testing.T, f framework) {
		next := make(chan string)
		w := newWorld(t, lines(next))
		w.serve(f([]middleware{respawn.Middleware(w.rt)}, map[string]http.HandlerFunc{"/stream": fetch}))
		s := w.open(t, "/stream")
		next <- "one"
		assert.Equal(t, "one\n", s.line())

		require.NoError(t, w.rt.Recreate(t.Context()))
		assert.EqualValues(t, 2, w.rt.Health().Generation)
		assert.Equal(t, 1, w.rt.Health().Draining)
		next <- "two"
		assert.Equal(t, "two\n", s.line())

		close(next)
		_, err := s.lines.ReadByte()
		assert.EqualError(t, err, "EOF")
		settle()
		assert.Zero(t, w.rt.Health().Draining)
		assert.Zero(t, w.upstream.Connections(), "the retired transport is closed")
	})
}

// A visitor who leaves takes the request to the upstream along, and that is no failure
// of the transport.
func TestVisitorThatHangsUpIsNoFailure(t *testing.T) {
	inEachFramework(t, func(t *testing.T, f framework) {
		var gone atomic.Int64
		w := newWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			<-req.Context().Done()
			gone.Add(1)
		}))
		w.serve(f([]middleware{respawn.Middleware(w.rt)}, map[string]http.HandlerFunc{"/item": fetch}))
		visitor := w.newVisitor(t)
		visitor.Timeout = 500 * time.Millisecond
		for range 5 {
			_, err := visitor.Get(frontURL + "/item")
			require.Error(t, err)
		}
		settle()
		h := w.rt.Health()
		assert.EqualValues(t, 5, gone.Load())
		assert.Zero(t, h.InFlight)
		assert.Zero(t, h.Failures)
		assert.Empty(t, h.Streaks)
		assert.EqualValues(t, 1, h.Generation)
	})
}

// The visitors of a server whose only connection to the upstream is dead wait for the
// fresh transport, and are answered.
func TestBlackHoleCostsNoVisitor(t *testing.T) {
	inEachFramework(t, func(t *testing.T, f framework) {
		w := newWorld(t, http.HandlerFunc(hammer))
		w.serve(f([]middleware{respawn.Middleware(w.rt)}, map[string]http.HandlerFunc{"/item": fetch}))
		w.surviveABlackHole(t)
	})
}

// surviveABlackHole has 20 visitors come in 2 s, after the connection to the upstream has
// gone silent.
func (w *world) surviveABlackHole(t *testing.T) {
	t.Helper()
	_, _, err := w.get(t, "/item")
	require.NoError(t, err)
	w.upstream.BlackHoleConnections()
	begin := time.Now()
	results := make(chan int)
	for i := range 20 {
		go func() {
			time.Sleep(time.Duration(i) * 100 * time.Millisecond)
			resp, err := w.visitor.Get(frontURL + "/item")
			if err != nil {
				results <- 0
				return
			}
			_ = resp.Body.Close()
			results <- resp.StatusCode
		}()
	}
	for range 20 {
		assert.Equal(t, http.StatusOK, <-results)
	}
	assert.Less(t, time.Since(begin), 10*time.Second)
	assert.EqualValues(t, 2, w.rt.Health().Generation)
}

// A tunnel that is dead for good, under the dialer, costs no visitor and few dials.
func TestDeadTunnelCostsNoVisitor(t *testing.T) {
	inEachFramework(t, func(t *testing.T, f framework) {
		w := newWorld(t, http.HandlerFunc(hammer))
		all := w.tunnel(t)
		w.serve(f([]middleware{respawn.Middleware(w.rt)}, map[string]http.HandlerFunc{"/item": fetch}))
		w.surviveADeadTunnel(t, all)
	})
}

// A handler whose client has been closed gets respawn's error, and no connection is left.
func TestHandlersFailOnceTheClientIsClosed(t *testing.T) {
	inEachFramework(t, func(t *testing.T, f framework) {
		w := newWorld(t, http.HandlerFunc(hammer))
		w.serve(f([]middleware{respawn.Middleware(w.rt)}, map[string]http.HandlerFunc{"/item": fetch}))
		w.failOnceClosed(t)
		settle()
		assert.Zero(t, w.upstream.Connections())
	})
}

// What is left of a broken answer must not look whole. Recoverer and Recover let
// http.ErrAbortHandler pass, as net/http wants it.
func TestBrokenAnswerIsBrokenForTheVisitor(t *testing.T) {
	inEachFramework(t, func(t *testing.T, f framework) {
		w := newWorld(t, http.HandlerFunc(breaks))
		w.serve(f([]middleware{respawn.Middleware(w.rt)}, map[string]http.HandlerFunc{"/item": fetch}))
		status, body, err := w.get(t, "/item")
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, "ham", body)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		settle()
		assert.Zero(t, w.rt.Health().InFlight)
	})
}

// A goroutine that goes on after the answer can keep the client, but not the request's
// context, which has ended by then.
func TestClientOutlivesTheRequestThatItsContextDoesNot(t *testing.T) {
	inEachFramework(t, func(t *testing.T, f framework) {
		w := newWorld(t, http.HandlerFunc(hammer))
		var request context.Context
		w.serve(f([]middleware{respawn.Middleware(w.rt)}, map[string]http.HandlerFunc{"/item": func(_ http.ResponseWriter, req *http.Request) {
			request = req.Context()
		}}))
		_, _, err := w.get(t, "/item")
		require.NoError(t, err)
		settle()

		_, err = ask(request)
		assert.ErrorIs(t, err, context.Canceled)
		assert.Zero(t, w.rt.Health().Failures)
		body, err := ask(context.WithoutCancel(request))
		assert.NoError(t, err)
		assert.Equal(t, "hammer", body)
	})
}
