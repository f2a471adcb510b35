package elastic

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v9"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The machine's own cluster stays out.
func TestMain(m *testing.M) {
	_ = os.Unsetenv("ELASTICSEARCH_URL")
	goleak.VerifyTestMain(m)
}

func Example_elastic() {
	server := httptest.NewServer(http.HandlerFunc(search)) // in place of Elasticsearch
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client, err := elasticsearch.New(
		elasticsearch.WithAddresses(server.URL),
		elasticsearch.WithTransportOptions(elastictransport.WithTransport(rt)),
	)
	if err != nil {
		log.Fatal(err)
	}

	found, err := client.Search(client.Search.WithContext(context.Background()), client.Search.WithIndex("books"))
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

// options are those of Example_elastic.
func options(rt http.RoundTripper, url string, more ...elasticsearch.Option) []elasticsearch.Option {
	return append(more, elasticsearch.WithAddresses(url), elasticsearch.WithTransportOptions(elastictransport.WithTransport(rt)))
}

func TestElastic(t *testing.T) {
	t.Run("New", elastic(func(rt http.RoundTripper, url string) (*elasticsearch.Client, error) {
		return elasticsearch.New(options(rt, url)...)
	}).Test)
	t.Run("NewClient", elastic(func(rt http.RoundTripper, url string) (*elasticsearch.Client, error) {
		//lint:ignore SA1019 It is what v8 has, and most programs.
		return elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{url}, Transport: rt})
	}).Test)
}

// elastic puts the clients that construct makes through the incidents.
func elastic(construct func(http.RoundTripper, string) (*elasticsearch.Client, error)) clients.Client {
	return clients.Client{
		Upstream: http.HandlerFunc(search),
		Plain:    true, // Elasticsearch speaks HTTP/1.1
		Attempts: 4,
		Adopt: func(t testing.TB, rt http.RoundTripper, url string) clients.Calls {
			client, err := construct(rt, url)
			require.NoError(t, err)
			ask := func(ctx context.Context, index string, piece func(string)) error {
				found, err := client.Search(client.Search.WithContext(ctx), client.Search.WithIndex(index))
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
				Close:  func() { _ = client.Close(context.Background()) },
			}
		},
	}
}

// The typed client sends what it asks as the other does. A search is a POST, so that one
// which broke after it was sent is left to the library's retries.
func TestElasticTyped(t *testing.T) {
	clients.Client{
		Upstream: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method != http.MethodPost {
				http.Error(w, "POST expected", http.StatusMethodNotAllowed)
				return
			}
			w.Header().Set("X-Elastic-Product", "Elasticsearch")
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"took":1,"timed_out":false,"hits":{"hits":[]}}`)
		}),
		Plain:    true,
		Attempts: 4,
		Adopt: func(t testing.TB, rt http.RoundTripper, url string) clients.Calls {
			client, err := elasticsearch.NewTyped(options(rt, url)...)
			require.NoError(t, err)
			return clients.Calls{
				Call: func(ctx context.Context) error {
					found, err := client.Search().Index("books").Do(ctx)
					if err == nil && found.Took != 1 {
						err = fmt.Errorf("answered %v", found)
					}
					return err
				},
				Close: func() { _ = client.Close(context.Background()) },
			}
		},
	}.Test(t)
}
