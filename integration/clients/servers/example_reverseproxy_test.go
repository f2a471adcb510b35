package servers

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/respawnhttp/respawn"
)

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
