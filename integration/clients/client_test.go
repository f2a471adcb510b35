package clients

import (
	"net/http"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A library that adds nothing to net/http.
var netHTTP = Client{
	Upstream: Hello,
	Adopt: func(_ testing.TB, rt http.RoundTripper, url string) Calls {
		return Get(&http.Client{Transport: rt}, url)
	},
}

func TestNetHTTP(t *testing.T) {
	t.Run("h2", netHTTP.Test)
	plain := netHTTP
	plain.Plain = true
	t.Run("h1", plain.Test)
}
