package layers

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
)

func Example_failsafeGo() {
	server := httptest.NewServer(clients.Hello)
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	retries := failsafehttp.NewRetryPolicyBuilder().Build()
	client := &http.Client{Transport: failsafehttp.NewRoundTripper(rt, retries)}

	resp, err := client.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s %v\n", body, err)
	// Output: hello <nil>
}

func TestFailsafeGo(t *testing.T) {
	clients.Client{
		Upstream: clients.Hello,
		Attempts: 3,
		Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
			retries := failsafehttp.NewRetryPolicyBuilder().Build()
			return clients.Get(&http.Client{Transport: failsafehttp.NewRoundTripper(rt, retries)}, url)
		},
	}.Test(t)
}
