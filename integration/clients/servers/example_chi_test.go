package servers

import (
	"fmt"
	"log"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/respawnhttp/respawn"
)

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
