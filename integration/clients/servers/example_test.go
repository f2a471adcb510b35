package servers

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"
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
