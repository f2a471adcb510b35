package servers

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/respawnhttp/respawn"
)

// fiber's server, fasthttp, starts goroutines that never end, so that it cannot run in
// a bubble: time is real here, and nothing waits for it.

// fiberLeaks fails the test if it leaves goroutines behind, apart from those that
// fasthttp never ends.
func fiberLeaks(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		opts := []goleak.Option{ignore,
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		}
		// goleak alone gives goroutines half a second to end.
		for deadline := time.Now().Add(20 * time.Second); goleak.Find(opts...) != nil && time.Now().Before(deadline); {
		}
		goleak.VerifyNone(t, opts...)
	})
}

// serveFiber serves the front with app. It does not use app.Shutdown, which writes a field
// that fasthttp's contexts read: that is a data race with every request to the upstream
// under such a context.
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

// withClient is a fiber app as in Example_fiber, whose answer is what the upstream sends.
func withClient(client *http.Client) *fiber.App {
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
	return app
}

// Without the adaptor, handlers close over the client, and no request is converted. The
// middleware is not missed: RoundTrip also replaces a transport that has ended.
func TestFiberHandlerClosesOverTheClient(t *testing.T) {
	fiberLeaks(t)
	w := newWorld(t, http.HandlerFunc(hammer))
	w.serveFiber(t, withClient(&http.Client{Transport: w.rt}))
	status, body, err := w.get(t, "/item")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "hammer", body)
}

// What SendStream reads reaches the visitor as it comes, and no swap cuts it.
func TestFiberStreamIsFlushedAndOutlivesRecreate(t *testing.T) {
	fiberLeaks(t)
	next := make(chan string, 1)
	w := newWorld(t, lines(next), respawn.WithRecreateTimeout(time.Second)) // which Recreate takes
	w.serveFiber(t, withClient(&http.Client{Transport: w.rt}))
	next <- "one"
	s := w.open(t, "/item")
	assert.Equal(t, "one\n", s.line())
	require.NoError(t, w.rt.Recreate(t.Context()))
	assert.Equal(t, 1, w.rt.Health().Draining)
	next <- "two"
	assert.Equal(t, "two\n", s.line())
	close(next)
	_, err := s.lines.ReadByte()
	assert.EqualError(t, err, "EOF")
}

func TestFiberDeadTunnelCostsNoVisitor(t *testing.T) {
	fiberLeaks(t)
	w := newWorld(t, http.HandlerFunc(hammer))
	all := w.tunnel(t)
	w.serveFiber(t, withClient(&http.Client{Transport: w.rt}))
	w.surviveADeadTunnel(t, all)
}

// Time is real: a short patience takes the place of a bubble. It ends no wait, so that a
// slow machine loses no visitor, either.
func TestFiberBlackHoleCostsNoVisitor(t *testing.T) {
	fiberLeaks(t)
	w := newWorld(t, http.HandlerFunc(hammer), respawn.WithPatience(20*time.Millisecond), respawn.WithStallThreshold(1, time.Millisecond))
	w.serveFiber(t, withClient(&http.Client{Transport: w.rt}))
	_, _, err := w.get(t, "/item")
	require.NoError(t, err)
	w.upstream.BlackHoleConnections()
	for range 3 {
		status, body, err := w.get(t, "/item")
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, "hammer", body)
	}
	assert.GreaterOrEqual(t, w.rt.Health().Generation, uint64(2))
}

func TestFiberHandlersFailOnceTheClientIsClosed(t *testing.T) {
	fiberLeaks(t)
	w := newWorld(t, http.HandlerFunc(hammer))
	w.serveFiber(t, withClient(&http.Client{Transport: w.rt}))
	w.failOnceClosed(t)
}

// adaptor.HTTPMiddleware copies the client into the fiber.Ctx itself, but not into its
// Context(), which belongs to the user.
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

// fiber uses a fiber.Ctx for the next request once its handler has returned. net/http and
// respawn may keep a request's context for longer than that, so a request to the upstream
// needs c.Context(), or a context of its own.
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

// The adaptor converts the request to net/http and back, which loses header lines for all
// handlers behind it: of several lines with one name only the last is left.
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

// fasthttp does not tell a handler that its visitor has left, so the request to the
// upstream goes on until a write to the visitor fails: the client needs a Timeout, or the
// stream a heartbeat. Flush sends what there is, but headers only with the first byte of
// the body. fasthttp resets the request's context for the next visitor as soon as that write
// has failed, though the handler still runs: the request to the upstream needs a context of
// its own, or canceling it reads the context that fasthttp writes.
func TestFiberNeverTellsThatAVisitorHasLeft(t *testing.T) {
	fiberLeaks(t)
	next := make(chan string, 1)
	w := newWorld(t, lines(next), respawn.WithRecreateTimeout(time.Second)) // which Recreate takes
	app := fiber.New()
	left := make(chan error, 1)
	item := respawn.Middleware(w.rt)(http.HandlerFunc(fetch))
	app.Get("/stream", adaptor.HTTPHandler(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		item.ServeHTTP(rw, req.WithContext(t.Context()))
		left <- req.Context().Err()
	})))
	w.serveFiber(t, app)
	next <- "one"
	s := w.open(t, "/stream")
	assert.Equal(t, "one\n", s.line(), "flushed")
	require.NoError(t, w.rt.Recreate(t.Context()))
	next <- "two"
	assert.Equal(t, "two\n", s.line(), "no swap cuts it")

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

// A handler behind fiber's adaptor cannot break its answer off, so a broken answer looks
// whole to the visitor.
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

// A middleware around the whole app does not reach the app's handlers: adaptor.FiberApp
// drops the values of the request's context.
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
