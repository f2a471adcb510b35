package layers

import (
	"context"
	"net/http"
	"testing"

	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/respawnhttp/respawn"
	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Who gives New a layer in place of the transport beneath it is told where respawn goes.
func TestNewSaysThatItGoesBeneath(t *testing.T) {
	for name, layer := range map[string]http.RoundTripper{
		"go-retryablehttp": &retryablehttp.RoundTripper{},
		"failsafe-go":      failsafehttp.NewRoundTripper(nil, failsafehttp.NewRetryPolicyBuilder().Build()),
		"otelhttp":         otelhttp.NewTransport(nil),
		"oauth2":           &oauth2.Transport{},
		"oauth2's Client":  oauth2.NewClient(context.Background(), oauth2.StaticTokenSource(&oauth2.Token{})).Transport,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := respawn.New(layer)
			assert.ErrorContains(t, err, "cannot be built again: put respawn beneath it")
		})
	}
}
