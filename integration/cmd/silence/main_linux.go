// Command silence measures what it costs when a connection goes dark, on a real kernel,
// for the client of the README's first snippet: bare, and with respawn. It rewrites the
// README's rows about that, between two comments that mark them. `make silence` runs
// it; it needs root.
package main

import (
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/internal/dark"
	"github.com/respawnhttp/respawn/integration/internal/figures"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("silence: ")
	readme := flag.String("readme", "../README.md", "the file that has the rows")
	flag.Parse()
	if missing := dark.Missing(); missing != "" {
		log.Fatal(missing)
	}
	if err := figures.Rewrite(*readme, "silence", table); err != nil {
		log.Fatal(err)
	}
}

func table() (string, error) {
	var rows [2][2]string // by method, and without and with respawn
	var failed error
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, method := range []string{http.MethodGet, http.MethodPost} {
		for j, wrap := range []func(http.RoundTripper) http.RoundTripper{nil, withRespawn} {
			wg.Go(func() {
				load := dark.Load{Method: method, Period: 100 * time.Millisecond, Deadline: 30 * time.Second, Limit: 90 * time.Second, Wrap: wrap}
				r, err := load.Run()
				log.Printf("%s, with respawn: %v: %+v", method, wrap != nil, r)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = err
				}
				rows[i][j] = say(r)
			})
		}
	}
	wg.Wait()
	return fmt.Sprintf("| 10 requests/s, `Timeout: 30 * time.Second` | net/http alone | respawn |\n| --- | --- | --- |\n| GET | %s | **%s** |\n| POST | %s | **%s** |\n",
		rows[0][0], rows[0][1], rows[1][0], rows[1][1]), failed
}

func withRespawn(base http.RoundTripper) http.RoundTripper {
	rt, err := respawn.New(base, respawn.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		log.Fatal(err)
	}
	return rt
}

// say is a cell of the table.
func say(r dark.Result) string {
	twice := ""
	if r.Twice > 0 {
		twice = fmt.Sprintf(", %d sent twice", r.Twice)
	}
	if r.First == 0 {
		return fmt.Sprintf("all %d lost%s", r.Lost, twice)
	}
	return fmt.Sprintf("%d lost, first answer after %.1f s%s", r.Lost, r.First.Seconds(), twice)
}
