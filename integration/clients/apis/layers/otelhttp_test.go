package layers

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

func Example_otelhttp() {
	server := httptest.NewServer(clients.Hello)
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client := &http.Client{Transport: otelhttp.NewTransport(rt)}

	resp, err := client.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s %v\n", body, err)
	// Output: hello <nil>
}

var traced = clients.Client{
	Upstream: clients.Hello,
	Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
		return clients.Get(&http.Client{Transport: otelhttp.NewTransport(rt)}, url)
	},
}

func TestOtelhttpAbove(t *testing.T) { traced.Test(t) }

// Below respawn, otelhttp hides the transport: what respawn retires keeps its idle
// connections, unless the factory's product hands CloseIdleConnections on.
func TestOtelhttpBelowHidesTheTransport(t *testing.T) {
	for _, hidden := range []bool{true, false} {
		t.Run(fmt.Sprint("hidden:", hidden), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := clients.NewWorld(t, traced)
				rt, err := respawn.New(nil, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
					transport := w.Transport()
					product := otelhttp.NewTransport(transport)
					if hidden {
						return product, nil
					}
					return &shown{product, transport}, nil
				}), respawn.WithLogger(slog.New(slog.DiscardHandler)))
				require.NoError(t, err)
				defer rt.Close()
				calls := clients.Get(&http.Client{Transport: rt}, w.URL)
				require.NoError(t, calls.Call(t.Context()))
				require.NoError(t, rt.Recreate(t.Context()))
				require.NoError(t, calls.Call(t.Context()))
				synctest.Wait()
				if hidden {
					assert.Equal(t, 2, w.Host.Connections(), "the trap is gone")
				} else {
					assert.Equal(t, 1, w.Host.Connections())
				}
			})
		})
	}
}

// shown is a traced transport that can be retired.
type shown struct {
	*otelhttp.Transport
	beneath *http.Transport
}

func (s *shown) CloseIdleConnections() { s.beneath.CloseIdleConnections() }
