package layers

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func Example_goRetryablehttp() {
	server := httptest.NewServer(clients.Hello)
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client := retryablehttp.NewClient()
	client.HTTPClient.Transport = rt
	client.Logger = nil

	resp, err := client.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s %v\n", body, err)
	// Output: hello <nil>
}

// Above respawn, go-retryablehttp retries answers; what it makes of a dead transport is
// five attempts.
var retryable = clients.Client{
	Upstream:   clients.Hello,
	Attempts:   5,
	ClosesIdle: true,
	Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
		client := retryablehttp.NewClient()
		client.HTTPClient.Transport = rt
		client.Logger = nil
		return clients.Get(client.StandardClient(), url)
	},
}

func TestGoRetryablehttp(t *testing.T) { retryable.Test(t) }

// When go-retryablehttp gives up on one host, it closes the idle connections of all, unless
// what it is given cannot.
func TestGoRetryablehttpWithoutCloseIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := clients.NewWorld(t, retryable)
		other := w.Network.Serve("other.test:80", clients.Hello)
		rt := w.Respawn()
		require.NoError(t, clients.Get(&http.Client{Transport: rt}, "http://other.test").Call(t.Context()))

		w.Host.Refuse()
		withheld := struct{ http.RoundTripper }{rt}
		require.Error(t, w.Adopt(withheld).Call(t.Context()))
		synctest.Wait()
		assert.Equal(t, 1, other.Connections())
		w.End(rt)
	})
}
