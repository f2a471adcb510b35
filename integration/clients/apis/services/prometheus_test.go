package services

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func Example_prometheus() {
	server := httptest.NewServer(http.HandlerFunc(promQL)) // in place of Prometheus
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client, err := api.NewClient(api.Config{Address: server.URL, RoundTripper: rt})
	if err != nil {
		log.Fatal(err)
	}

	value, _, _, err := prometheus.NewAPI(client).Query(context.Background(), "up", time.Unix(1, 0))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(value)
	// Output: up => 1 @[1]
}

// promQL answers every query alike.
func promQL(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1,"1"]}]}}`)
}

var queried = clients.Client{
	Upstream: http.HandlerFunc(promQL),
	Adopt: func(t testing.TB, rt http.RoundTripper, url string) clients.Calls {
		client, err := api.NewClient(api.Config{Address: url, RoundTripper: rt})
		require.NoError(t, err)
		return clients.Calls{
			Call: func(ctx context.Context) error {
				value, _, _, err := prometheus.NewAPI(client).Query(ctx, "up", time.Unix(1, 0))
				if err == nil && value.String() != "up => 1 @[1]" {
					err = fmt.Errorf("answered %v", value)
				}
				return err
			},
		}
	},
}

func TestPrometheus(t *testing.T) { queried.Test(t) }

// A query is a POST that says it may be sent again, so that respawn does, even if it was
// on a connection that broke.
func TestPrometheusQueriesAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		client := queried
		client.Upstream = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			assert.Equal(t, http.MethodPost, req.Method)
			if asked.Add(1) == 1 {
				panic(http.ErrAbortHandler)
			}
			promQL(w, req)
		})
		w := clients.NewWorld(t, client)
		require.Error(t, w.Adopt(w.Transport()).Call(t.Context()), "without respawn")
		asked.Store(0)
		rt := w.Respawn()
		require.NoError(t, w.Adopt(rt).Call(t.Context()))
		assert.EqualValues(t, 2, asked.Load())
		w.Host.Reset()
		w.End(rt)
	})
}
