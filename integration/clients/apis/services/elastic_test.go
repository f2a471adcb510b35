package services

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v8/esapi"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	"github.com/stretchr/testify/require"
)

// The clients of go-elasticsearch send everything through an elastictransport.Client, and
// give it the Transport of elasticsearch.Config. They are not here, since their package
// takes minutes to compile.
func Example_elastic() {
	server := httptest.NewServer(http.HandlerFunc(search)) // in place of Elasticsearch
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	address, err := url.Parse(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	client, err := elastictransport.NewClient(
		elastictransport.WithURLs(address),
		elastictransport.WithTransport(rt),
	)
	if err != nil {
		log.Fatal(err)
	}

	found, err := esapi.SearchRequest{Index: []string{"books"}}.Do(context.Background(), client)
	if err != nil {
		log.Fatal(err)
	}
	defer found.Body.Close()
	body, err := io.ReadAll(found.Body)
	fmt.Printf("%s %v\n", body, err)
	// Output: {"hits":{}} <nil>
}

// search finds nothing, and in the index named long slowly so.
func search(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	w.Header().Set("Content-Type", "application/json")
	if req.URL.Path == "/long/_search" {
		clients.Pieces(w, `{"hits"`, `:{}`, `}`)
		return
	}
	fmt.Fprint(w, `{"hits":{}}`)
}

func TestElastic(t *testing.T) {
	clients.Client{
		Upstream: http.HandlerFunc(search),
		Plain:    true, // Elasticsearch speaks HTTP/1.1
		Attempts: 4,
		Adopt: func(t testing.TB, rt http.RoundTripper, base string) clients.Calls {
			address, err := url.Parse(base)
			require.NoError(t, err)
			client, err := elastictransport.NewClient(elastictransport.WithURLs(address), elastictransport.WithTransport(rt))
			require.NoError(t, err)
			ask := func(ctx context.Context, index string, piece func(string)) error {
				found, err := esapi.SearchRequest{Index: []string{index}}.Do(ctx, client)
				if err != nil {
					return err
				}
				defer found.Body.Close()
				return clients.ReadPieces(found.Body, piece)
			}
			return clients.Calls{
				Call: func(ctx context.Context) error {
					var answer string
					err := ask(ctx, "books", func(piece string) { answer += piece })
					if err == nil && answer != `{"hits":{}}` {
						err = fmt.Errorf("answered %s", answer)
					}
					return err
				},
				Stream: func(ctx context.Context, piece func(string)) error { return ask(ctx, "long", piece) },
			}
		},
	}.Test(t)
}
