package servers

import (
	"log"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/respawnhttp/respawn"
)

func Example_echoV4() {
	items := serveItems()
	defer items.Close()
	rt, err := respawn.New(nil, respawn.WithName("items"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()

	e := echo.New()
	e.Use(echo.WrapMiddleware(respawn.Middleware(rt)))
	e.GET("/item", func(c echo.Context) error {
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
