package kubernetes

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/respawnhttp/respawn/integration/clients"
)

// clientGo is a client of client-go's with a transport as client-go makes one itself.
func clientGo(construct constructor) clients.Client {
	return clients.Client{
		Upstream: apiserver,
		Base: func(wire *clients.Wire) (*http.Transport, error) {
			tlsConfig, err := rest.TLSConfigFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{ServerName: "api.test"}})
			if err != nil {
				return nil, err
			}
			t := utilnet.SetTransportDefaults(&http.Transport{TLSClientConfig: tlsConfig, MaxIdleConnsPerHost: 25})
			wire.Prepare(t)
			return t, nil
		},
		Adopt: func(t testing.TB, rt http.RoundTripper, url string) clients.Calls {
			calls, err := construct(&rest.Config{Host: url}, &http.Client{Transport: rt})
			require.NoError(t, err)
			return calls
		},
	}
}

// The pings of client-go are off, so that without respawn the black hole lasts.
func TestClientGo(t *testing.T) {
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "0")
	t.Run("typed", clientGo(typed).Test)
	t.Run("dynamic", clientGo(untyped).Test)
}

// client-go's pings find a dead connection after 45 s. Respawn saves most of the calls that
// are lost until then.
func TestClientGoWithItsPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := clients.NewWorld(t, clientGo(typed))
		lost := func(rt http.RoundTripper) (n int) {
			calls := w.Adopt(rt)
			require.NoError(t, calls.Call(t.Context()))
			w.Host.BlackHoleConnections()
			for range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				if calls.Call(ctx) != nil {
					n++
				}
				cancel()
			}
			return n
		}
		assert.InDelta(t, 45/2, lost(w.Transport()), 1, "lost without respawn")
		w.Host.Reset()
		rt := w.Respawn()
		assert.LessOrEqual(t, lost(rt), 3, "lost with respawn")
		w.End(rt)
	})
}
