package servers

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/labstack/echo/v5"

	"github.com/respawnhttp/respawn"
)

const requestTimeout = 30 * time.Second

// serveItems is the upstream of the examples.
func serveItems() *httptest.Server { return httptest.NewServer(http.HandlerFunc(hammer)) }

// item is what the handlers of the examples do with the shared client.
func item(ctx context.Context, client *http.Client, upstream string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, upstream+"/item", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// visit prints what a visitor sees of handler.
func visit(handler http.Handler, paths ...string) {
	front := httptest.NewServer(handler)
	defer front.Close()
	for _, path := range paths {
		resp, err := front.Client().Get(front.URL + path)
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			log.Fatal(err)
		}
		if resp.Header.Get("Content-Type") == "application/health+json" {
			body = body[:len(`{"status":"pass"`)]
		}
		fmt.Printf("%s: %d %s\n", path, resp.StatusCode, body)
	}
}

// chi takes the middleware and the health handler as they are.
func Example_chi() {
	items := serveItems()
	defer items.Close()
	rt, err := respawn.New(nil, respawn.WithName("items"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()

	r := chi.NewRouter()
	r.Use(respawn.Middleware(rt))
	r.Get("/item", func(w http.ResponseWriter, req *http.Request) {
		client, _ := respawn.ClientFromContext(req.Context())
		item, err := item(req.Context(), client, items.URL)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, item)
	})
	r.Handle("/health/readiness", respawn.HealthHandler(rt))

	visit(r, "/item", "/health/readiness")
	// Output:
	// /item: 200 hammer
	// /health/readiness: 200 {"status":"pass"
}

// gin has no adapter for a net/http middleware: it takes five lines. The client is in
// the request's context.
func Example_gin() {
	items := serveItems()
	defer items.Close()
	rt, err := respawn.New(nil, respawn.WithName("items"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()

	shared := respawn.Middleware(rt)
	engine := gin.New()
	engine.Use(func(c *gin.Context) {
		shared(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			c.Request = req
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
	})
	engine.GET("/item", func(c *gin.Context) {
		ctx := c.Request.Context() // not c
		client, _ := respawn.ClientFromContext(ctx)
		item, err := item(ctx, client, items.URL)
		if err != nil {
			c.String(http.StatusBadGateway, err.Error())
			return
		}
		c.String(http.StatusOK, item)
	})
	engine.GET("/health/readiness", gin.WrapH(respawn.HealthHandler(rt)))

	visit(engine, "/item", "/health/readiness")
	// Output:
	// /item: 200 hammer
	// /health/readiness: 200 {"status":"pass"
}

func Example_echo() {
	items := serveItems()
	defer items.Close()
	rt, err := respawn.New(nil, respawn.WithName("items"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()

	e := echo.New()
	e.Use(echo.WrapMiddleware(respawn.Middleware(rt)))
	e.GET("/item", func(c *echo.Context) error {
		ctx := c.Request().Context()
		client, _ := respawn.ClientFromContext(ctx)
		item, err := item(ctx, client, items.URL)
		if err != nil {
			return echo.NewHTTPError(http.StatusBadGateway, err.Error())
		}
		return c.String(http.StatusOK, item)
	})
	e.GET("/health/readiness", echo.WrapHandler(respawn.HealthHandler(rt)))

	visit(e, "/item", "/health/readiness")
	// Output:
	// /item: 200 hammer
	// /health/readiness: 200 {"status":"pass"
}

// fiber is not built on net/http, so its handlers close over the client, and nothing
// has to be converted. A fiber handler is not told that its visitor has left: the
// client wants a Timeout.
func Example_fiber() {
	items := serveItems()
	defer items.Close()
	rt, err := respawn.New(nil, respawn.WithName("items"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()

	client := &http.Client{Transport: rt, Timeout: requestTimeout}
	app := fiber.New()
	app.Get("/item", func(c fiber.Ctx) error {
		item, err := item(c.Context(), client, items.URL) // not c, which fiber uses again
		if err != nil {
			return fiber.NewError(fiber.StatusBadGateway, err.Error())
		}
		return c.SendString(item)
	})
	app.Get("/health/readiness", respawn.HealthHandler(rt))

	visit(adaptor.FiberApp(app), "/item", "/health/readiness")
	// Output:
	// /item: 200 hammer
	// /health/readiness: 200 {"status":"pass"
}

// With fiber's adaptor the middleware works, too. What that costs is in
// docs/clients.md.
func Example_fiberAdaptor() {
	items := serveItems()
	defer items.Close()
	rt, err := respawn.New(nil, respawn.WithName("items"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()

	app := fiber.New()
	app.Use(adaptor.HTTPMiddleware(respawn.Middleware(rt, respawn.WithClient(&http.Client{Timeout: requestTimeout}))))
	app.Get("/item", func(c fiber.Ctx) error {
		client, _ := respawn.ClientFromContext(c) // not c.Context(), which does not have it
		item, err := item(c.Context(), client, items.URL)
		if err != nil {
			return fiber.NewError(fiber.StatusBadGateway, err.Error())
		}
		return c.SendString(item)
	})

	visit(adaptor.FiberApp(app), "/item")
	// Output: /item: 200 hammer
}

// A reverse proxy takes the transport itself. A client above it would follow the
// redirects that are the visitor's.
func Example_reverseProxy() {
	items := serveItems()
	defer items.Close()
	upstream, err := url.Parse(items.URL)
	if err != nil {
		log.Fatal(err)
	}
	rt, err := respawn.New(nil, respawn.WithName("items"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()

	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		Transport: rt,
	}
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.Handle("GET /health/readiness", respawn.HealthHandler(rt))

	visit(mux, "/item", "/health/readiness")
	// Output:
	// /item: 200 hammer
	// /health/readiness: 200 {"status":"pass"
}
