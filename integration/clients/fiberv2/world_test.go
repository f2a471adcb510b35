package fiberv2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
)

const upstreamURL = "https://items.internal"

// A world is an app between a visitor and an upstream, which it asks through rt, on a
// network in memory. Time is real, since fasthttp starts goroutines that never end, and
// nothing waits for it.
type world struct {
	network  *respawntest.Network
	upstream *respawntest.Host // HTTP/2
	tunnel   *respawntest.Tunnel
	rt       *respawn.RecoveringRoundTripper
	visitor  *http.Client
}

func newWorld(t *testing.T, upstream http.HandlerFunc, opts ...respawn.Option) *world {
	t.Helper()
	leavesNothing(t)
	network := respawntest.NewNetwork(t)
	w := &world{network: network, upstream: network.ServeTLS("items.internal:443", upstream)}
	// Each transport has a tunnel of its own.
	build := func(context.Context) (http.RoundTripper, error) {
		transport := respawn.NewTransport()
		w.tunnel = network.NewTunnel()
		transport.DialContext = w.tunnel.DialContext
		transport.TLSClientConfig = &tls.Config{RootCAs: network.RootCAs()}
		return transport, nil
	}
	base, err := build(t.Context())
	require.NoError(t, err)
	opts = append([]respawn.Option{respawn.WithFactory(build), respawn.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	w.rt, err = respawn.New(base, opts...)
	require.NoError(t, err)
	visitor := &http.Transport{DialContext: network.DialContext}
	w.visitor = &http.Client{Transport: visitor}
	t.Cleanup(func() {
		visitor.CloseIdleConnections()
		assert.NoError(t, w.rt.Shutdown(context.Background()))
	})
	return w
}

// leavesNothing fails the test if it leaves goroutines behind, apart from those that
// fasthttp never ends.
func leavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		opts := []goleak.Option{before,
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		}
		// goleak alone gives goroutines half a second to end.
		for deadline := time.Now().Add(20 * time.Second); goleak.Find(opts...) != nil && time.Now().Before(deadline); {
		}
		goleak.VerifyNone(t, opts...)
	})
}

// serve serves the app as front.test.
func (w *world) serve(t *testing.T, app *fiber.App) {
	t.Helper()
	front := w.network.Listen("front.test:80")
	served := make(chan error, 1)
	go func() { served <- app.Listener(front) }()
	t.Cleanup(func() {
		w.visitor.CloseIdleConnections()
		assert.NoError(t, front.Close())
		<-served
	})
}

// get is what the visitor gets for path.
func (w *world) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	resp, err := w.visitor.Get("http://front.test" + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

// getsTheItem has three visitors come, one after the other.
func (w *world) getsTheItem(t *testing.T) {
	t.Helper()
	for range 3 {
		status, body := w.get(t, "/item")
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, "hammer", body)
	}
}

var errSession = errors.New("session shutdown")

func hammer(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hammer") }

// newApp has an app whose handler closes over the client, as in Example_fiberV2.
func newApp(rt http.RoundTripper) *fiber.App {
	client := &http.Client{Transport: rt}
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/item", func(c *fiber.Ctx) error {
		req, err := http.NewRequestWithContext(c.UserContext(), http.MethodGet, upstreamURL+"/item", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return fiber.NewError(fiber.StatusBadGateway, err.Error())
		}
		return c.SendStream(resp.Body)
	})
	return app
}
