package servers

import (
	"log"
	"net/http"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"

	"github.com/respawnhttp/respawn"
)

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
