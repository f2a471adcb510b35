package fiberv2

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

func TestHandlerClosesOverTheClient(t *testing.T) {
	w := newWorld(t, hammer)
	w.serve(t, newApp(w.rt))
	w.getsTheItem(t)
	assert.EqualValues(t, 1, w.rt.Health().Generation)
}

// spell answers with a line for each value of next, at once.
func spell(next <-chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for line := range next {
			fmt.Fprintln(w, line)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// What SendStream reads reaches the visitor as it comes, and no swap cuts it.
func TestStreamIsFlushedAndOutlivesRecreate(t *testing.T) {
	next := make(chan string, 1)
	w := newWorld(t, spell(next), respawn.WithRecreateTimeout(time.Second)) // which Recreate takes
	w.serve(t, newApp(w.rt))
	next <- "one"
	resp, err := w.visitor.Get("http://front.test/item")
	require.NoError(t, err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for i, word := range []string{"one", "two"} {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, word+"\n", line)
		if i == 0 {
			require.NoError(t, w.rt.Recreate(t.Context()))
			next <- "two"
		}
	}
	assert.Equal(t, 1, w.rt.Health().Draining)
	close(next)
	_, err = lines.ReadByte()
	assert.EqualError(t, err, "EOF")
}

func TestDeadTunnelCostsNoVisitor(t *testing.T) {
	w := newWorld(t, hammer)
	w.serve(t, newApp(w.rt))
	w.getsTheItem(t)
	dead := w.tunnel
	dead.End(errSession)
	_, err := dead.DialContext(t.Context(), "tcp", "items.internal:443")
	require.ErrorIs(t, err, errSession, "the fault is not real")
	w.getsTheItem(t)
	assert.EqualValues(t, 2, w.rt.Health().Generation)
}

// Patience ends no wait, so that a slow machine loses no visitor, either.
func TestBlackHoleCostsNoVisitor(t *testing.T) {
	w := newWorld(t, hammer, respawn.WithPatience(20*time.Millisecond), respawn.WithStallThreshold(1, time.Millisecond))
	w.serve(t, newApp(w.rt))
	w.getsTheItem(t)
	w.upstream.BlackHoleConnections()
	w.getsTheItem(t)
	assert.GreaterOrEqual(t, w.rt.Health().Generation, uint64(2))
}

func TestHandlersFailOnceTheClientIsClosed(t *testing.T) {
	w := newWorld(t, hammer)
	app := newApp(w.rt)
	app.Get("/ready", adaptor.HTTPHandler(respawn.HealthHandler(w.rt)))
	w.serve(t, app)
	w.getsTheItem(t)
	status, body := w.get(t, "/ready")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, `"status":"pass"`)

	require.NoError(t, w.rt.Shutdown(t.Context()))
	status, body = w.get(t, "/item")
	assert.Equal(t, http.StatusBadGateway, status)
	assert.Contains(t, body, respawn.ErrClosed.Error())
	status, _ = w.get(t, "/ready")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Zero(t, w.rt.Health().InFlight)
}

// With the adaptor the middleware works, too: the client is in c.Context(), but not in
// c.UserContext().
func TestAdaptorPutsTheClientIntoTheRequestCtx(t *testing.T) {
	w := newWorld(t, hammer)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(adaptor.HTTPMiddleware(respawn.Middleware(w.rt)))
	var client *http.Client
	var inUserContext bool
	app.Get("/", func(c *fiber.Ctx) error {
		client, _ = respawn.ClientFromContext(c.Context())
		_, inUserContext = respawn.ClientFromContext(c.UserContext())
		return nil
	})
	w.serve(t, app)
	w.get(t, "/")
	if assert.NotNil(t, client) {
		assert.True(t, client.Transport == http.RoundTripper(w.rt))
	}
	assert.False(t, inUserContext)
}

// fiber uses the context of c.Context() for the next request once the handler has
// returned. net/http and respawn may keep a request's context for longer than that.
func TestRequestCtxIsAnothersAfterItsHandler(t *testing.T) {
	w := newWorld(t, hammer)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	var kept context.Context
	var seen any
	app.Get("/first", func(c *fiber.Ctx) error {
		c.Locals("visitor", "first")
		kept = c.Context()
		return nil
	})
	app.Get("/second", func(c *fiber.Ctx) error {
		c.Locals("visitor", "second")
		seen = kept.Value("visitor")
		return nil
	})
	w.serve(t, app)
	w.get(t, "/first")
	w.get(t, "/second")
	assert.Equal(t, "second", seen)
}

// A net/http handler behind the adaptor cannot stream: Flush does nothing, and fasthttp
// sends the answer when it is whole, so that it knows its length.
func TestAdaptorHoldsAStreamBack(t *testing.T) {
	w := newWorld(t, hammer)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/stream", adaptor.HTTPHandler(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(rw, "one")
		assert.NoError(t, http.NewResponseController(rw).Flush())
		fmt.Fprintln(rw, "two")
	})))
	w.serve(t, app)
	resp, err := w.visitor.Get("http://front.test/stream")
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.EqualValues(t, len("one\ntwo\n"), resp.ContentLength, "the trap is gone: it was sent in pieces")
}
