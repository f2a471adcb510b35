package respawndebug_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawndebug"
)

// One page for all clients of the process, beside pprof and the metrics.
func Example() {
	upstream, err := respawn.New(nil, respawn.WithName("upstream"))
	if err != nil {
		log.Fatal(err)
	}
	defer upstream.Close()
	search, err := respawn.New(nil, respawn.WithName("search"))
	if err != nil {
		log.Fatal(err)
	}
	defer search.Close()

	mux := http.NewServeMux()
	mux.Handle("/debug/respawn", respawndebug.DebugHandler(upstream, search))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/debug/respawn", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}
