package servers

import (
	"log"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/respawnhttp/respawn"
)

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
