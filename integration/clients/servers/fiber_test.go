package servers

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/respawnhttp/respawn"
)

// fiber's server, fasthttp, starts goroutines that never end, so that it cannot run in
// a bubble: time is real here, and nothing waits for it.

// fiberLeaks finds what a test leaves behind, but for what fasthttp leaves.
func fiberLeaks(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, ignore,
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		)
	})
}

// serveFiber serves the front with app. It does not end with app.Shutdown: that races
// with whoever still has a request under a context of fasthttp's.
func (w *world) serveFiber(t *testing.T, app *fiber.App) {
	t.Helper()
	host := w.network.Listen("front.test:80")
	served := make(chan error, 1)
	go func() { served <- app.Listener(host, fiber.ListenConfig{DisableStartupMessage: true}) }()
	t.Cleanup(func() {
		w.visitor.CloseIdleConnections()
		assert.NoError(t, host.Close())
		<-served
	})
}

// Without the adaptor: handlers close over the client. Nothing is converted, and all
// that the middleware does beside handing it on, RoundTrip does, too.
func TestFiberHandlerClosesOverTheClient(t *testing.T) {
	fiberLeaks(t)
	w := newWorld(t, http.HandlerFunc(hammer))
	client := &http.Client{Transport: w.rt}
	app := fiber.New()
	app.Get("/item", func(c fiber.Ctx) error {
		req, err := http.NewRequestWithContext(c.Context(), http.MethodGet, upstreamURL+"/item", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return fiber.NewError(fiber.StatusBadGateway, err.Error())
		}
		return c.SendStream(resp.Body) // fiber closes it
	})
	w.serveFiber(t, app)
	status, body, err := w.get(t, "/item")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "hammer", body)
}

// What adaptor.HTTPMiddleware takes from the middleware's request is in fiber's own
// context, but not in Context(), which is the user's.
func TestFiberAdaptorPutsTheClientIntoTheFiberContext(t *testing.T) {
	fiberLeaks(t)
	w := newWorld(t, http.HandlerFunc(hammer), respawn.WithName("items"))
	prices := w.client(t, respawn.WithName("prices"))
	app := fiber.New()
	app.Use(adaptor.HTTPMiddleware(respawn.Middleware(w.rt)))
	app.Use(adaptor.HTTPMiddleware(respawn.Middleware(prices)))
	found := map[string]*http.Client{}
	app.Get("/", func(c fiber.Ctx) error {
		found["fiber.Ctx"], _ = respawn.ClientFromContext(c)
		found["RequestCtx"], _ = respawn.ClientFromContext(c.RequestCtx())
		found["Context"], _ = respawn.ClientFromContext(c.Context())
		found["items"], _ = respawn.NamedClientFromContext(c, "items")
		found["prices"], _ = respawn.NamedClientFromContext(c, "prices")
		return nil
	})
	w.serveFiber(t, app)
	_, _, err := w.get(t, "/")
	require.NoError(t, err)
	if assert.NotNil(t, found["items"]) && assert.NotNil(t, found["prices"]) {
		assert.True(t, found["items"].Transport == http.RoundTripper(w.rt))
		assert.True(t, found["prices"].Transport == http.RoundTripper(prices))
	}
	assert.Same(t, found["prices"], found["fiber.Ctx"])
	assert.Same(t, found["prices"], found["RequestCtx"])
	assert.Nil(t, found["Context"])
}

// A fiber.Ctx is the next request's once its handler has returned: a request under it,
// which net/http and respawn may keep for longer, must not see that. So requests to the
// upstream go under Context(), or a context of their own.
func TestFiberContextIsAnothersAfterItsHandler(t *testing.T) {
	fiberLeaks(t)
	w := newWorld(t, http.HandlerFunc(hammer))
	app := fiber.New()
	var kept context.Context
	app.Get("/first", func(c fiber.Ctx) error {
		c.Locals("visitor", "first")
		kept = c.RequestCtx()
		return nil
	})
	var seen any
	app.Get("/second", func(c fiber.Ctx) error {
		c.Locals("visitor", "second")
		seen = kept.Value("visitor")
		return nil
	})
	w.serveFiber(t, app)
	for _, path := range []string{"/first", "/second"} {
		_, _, err := w.get(t, path)
		require.NoError(t, err)
	}
	assert.Equal(t, "second", seen)
}

// The adaptor turns the request into one of net/http's and back, which loses header
// lines, for all handlers behind it: of those with one name only the last is left.
func TestFiberAdaptorLosesRepeatedHeaders(t *testing.T) {
	fiberLeaks(t)
	w := newWorld(t, http.HandlerFunc(hammer))
	var with, without string
	app := fiber.New()
	app.Get("/without", func(c fiber.Ctx) error {
		without = strings.Join(c.GetReqHeaders()["X-Tag"], " ")
		return nil
	})
	app.Use(adaptor.HTTPMiddleware(respawn.Middleware(w.rt)))
	app.Get("/with", func(c fiber.Ctx) error {
		with = strings.Join(c.GetReqHeaders()["X-Tag"], " ")
		return nil
	})
	w.serveFiber(t, app)
	for _, path := range []string{"/without", "/with"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, frontURL+path, nil)
		require.NoError(t, err)
		req.Header["X-Tag"] = []string{"one", "two"}
		resp, err := w.visitor.Do(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
	}
	assert.Contains(t, without, "one")
	assert.NotContains(t, with, "one")
}

// fasthttp does not tell a handler that its visitor has left: its request to the
// upstream goes on. So the client wants a Timeout, or the stream a heartbeat, since only
// a write that fails shows it. What is flushed is sent, but for headers without a body.
func TestFiberNeverTellsThatAVisitorHasLeft(t *testing.T) {
	fiberLeaks(t)
	next := make(chan string, 1)
	w := newWorld(t, lines(next))
	app := fiber.New()
	left := make(chan error, 1)
	app.Get("/stream", adaptor.HTTPHandler(respawn.Middleware(w.rt)(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		fetch(rw, req)
		left <- req.Context().Err()
	}))))
	w.serveFiber(t, app)
	next <- "one"
	s := w.open(t, "/stream")
	assert.Equal(t, "one\n", s.line(), "flushed")

	s.close()
	for open := true; open; {
		select {
		case next <- "heartbeat":
		case err := <-left:
			open = false
			assert.NoError(t, err, "the context goes on when the visitor has left")
		}
	}
}

// Nor does it let a handler break its answer off: what is left of a broken one looks
// whole.
func TestFiberMakesABrokenAnswerLookWhole(t *testing.T) {
	fiberLeaks(t)
	w := newWorld(t, http.HandlerFunc(breaks))
	app := fiber.New()
	app.Get("/item", adaptor.HTTPHandler(newProxy(t, w.rt)))
	w.serveFiber(t, app)
	status, body, err := w.get(t, "/item")
	assert.NoError(t, err)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "ham", body)
}

// fiber takes a net/http handler as it is.
func TestFiberReadiness(t *testing.T) {
	fiberLeaks(t)
	w := newWorld(t, http.HandlerFunc(hammer))
	app := fiber.New()
	app.Get("/ready", respawn.HealthHandler(w.rt))
	w.serveFiber(t, app)
	status, body, err := w.get(t, "/ready")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, `"status":"pass"`)
	require.NoError(t, w.rt.Close())
	status, _, err = w.get(t, "/ready")
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, status)
}

// A middleware around the whole app does not reach its handlers: adaptor.FiberApp
// leaves the values of the request's context behind.
func TestFiberAppBehindTheMiddlewareHasNoClient(t *testing.T) {
	fiberLeaks(t)
	w := newWorld(t, http.HandlerFunc(hammer))
	app := fiber.New()
	var found, ran bool
	app.Get("/", func(c fiber.Ctx) error {
		_, found = respawn.ClientFromContext(c)
		ran = true
		return nil
	})
	w.serve(respawn.Middleware(w.rt)(adaptor.FiberApp(app)))
	_, _, err := w.get(t, "/")
	require.NoError(t, err)
	assert.True(t, ran)
	assert.False(t, found)
}
