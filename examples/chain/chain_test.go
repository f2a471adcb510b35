package chain

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"golang.org/x/oauth2"
)

// A dead dialer costs the caller nothing, whatever is chained around; the token
// arrives, a 503 is retried, and the CLIENT span knows of the replays.
func TestChain(t *testing.T) { synctest.Test(t, testChain) }

func testChain(t *testing.T) {
	network := respawntest.NewNetwork(t)
	var asked atomic.Int64
	network.Serve("llm.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, req.Header.Get("Authorization"))
	}))

	spans := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	tunnel := network.NewTunnel()
	require.NoError(t, tunnel.Close()) // every dial fails from now on
	var dials atomic.Int64
	dead := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return tunnel.DialContext(ctx, network, addr)
	}}
	rt, err := respawn.New(dead, respawn.WithTracerProvider(provider), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
		return &http.Transport{DialContext: network.NewTunnel().DialContext}, nil
	}))
	require.NoError(t, err)
	defer func() { require.NoError(t, rt.Shutdown(t.Context()), "what is in flight first") }()
	client := NewClient(rt, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "t"}), otelhttp.WithTracerProvider(provider))

	resp, err := client.Get("http://llm.test/")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "Bearer t", string(body))
	assert.EqualValues(t, 2, asked.Load(), "the 503 was retried")
	assert.EqualValues(t, 4, dials.Load(), "the threshold and the control, not multiplied by the retries")
	assert.EqualValues(t, 2, rt.Health().Generation)

	require.NoError(t, resp.Body.Close())
	var resent []int64
	var clients int
	for _, s := range spans.Ended() {
		if s.Name() == "HTTP GET" {
			clients++
		}
		for _, a := range s.Attributes() {
			if a.Key == "http.request.resend_count" {
				resent = append(resent, a.Value.AsInt64())
			}
		}
	}
	assert.Equal(t, 1, clients, "one CLIENT span for the caller's request")
	assert.Equal(t, []int64{4}, resent, "two failures more, the control and the trial")
}
