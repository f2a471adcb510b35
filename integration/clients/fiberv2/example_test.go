package fiberv2

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"

	"github.com/respawnhttp/respawn"
)

// fiber is not built on net/http, so its handlers close over the client. A fiber handler
// is not told that its visitor has left: the client wants a Timeout.
func Example_fiberV2() {
	items := httptest.NewServer(http.HandlerFunc(hammer))
	defer items.Close()
	rt, err := respawn.New(nil, respawn.WithName("items"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()

	client := &http.Client{Transport: rt, Timeout: 30 * time.Second}
	app := fiber.New()
	app.Get("/item", func(c *fiber.Ctx) error {
		ctx := c.UserContext() // not c.Context(), which fiber uses again
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, items.URL+"/item", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return fiber.NewError(fiber.StatusBadGateway, err.Error())
		}
		return c.SendStream(resp.Body) // fiber closes it
	})
	app.Get("/health/readiness", adaptor.HTTPHandler(respawn.HealthHandler(rt)))

	for _, path := range []string{"/item", "/health/readiness"} {
		resp, err := app.Test(httptest.NewRequest(http.MethodGet, path, nil))
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		fmt.Printf("%s: %d %.15s %v\n", path, resp.StatusCode, body, err)
	}
	// Output:
	// /item: 200 hammer <nil>
	// /health/readiness: 200 {"status":"pass <nil>
}
