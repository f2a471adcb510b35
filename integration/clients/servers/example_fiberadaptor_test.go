package servers

import (
	"log"
	"net/http"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"

	"github.com/respawnhttp/respawn"
)

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
