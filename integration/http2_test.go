package integration

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/respawnhttp/respawn"
)

// An HTTP/2 connection becomes a black hole, as when a NAT forgets it. The
// transport keeps it in its pool and puts every request on it, although a new
// connection would be fine. No factory is needed: respawn's own clone has a
// pool of its own, even where x/net's ConfigureTransports gave the base one
// that (*http.Transport).Clone would share.
func TestHTTP2BlackHole(t *testing.T) {
	transports := map[string]func(*testing.T, *http.Transport){
		"net/http": func(_ *testing.T, t *http.Transport) { t.ForceAttemptHTTP2 = true },
		"x/net": func(t *testing.T, tr *http.Transport) {
			//lint:ignore SA1019 many still use it, client-go among them
			_, err := http2.ConfigureTransports(tr)
			require.NoError(t, err)
		},
	}
	for name, configure := range transports {
		t.Run(name, func(t *testing.T) {
			r := begin(t)
			s := newServer(r)
			ca := newAuthority(t)
			way := newProxy(t, s.serveTLS(t, ca.server()))
			url := "https://" + way.addr() + "/"
			build := func() *http.Transport {
				tr := &http.Transport{TLSClientConfig: ca.client()}
				configure(t, tr)
				return tr
			}
			const deadline = 250 * time.Millisecond

			bare := build()
			require.NoError(t, get(bare, url, patience))
			way.goDark()
			r.keepsFailing(bare, url, 3*time.Second, deadline)
			way.sever() // nothing else would part the transport from it
			bare.CloseIdleConnections()

			rt := start(t, build())
			l := gets(t, rt, url, 4, deadline)
			l.awaitSuccesses(50, time.Now())
			way.goDark()
			curable := time.Now()
			l.awaitSuccesses(200, curable)
			// Long enough for the backoff to allow a second swap, were there a
			// reason for one.
			l.awaitSuccesses(1, time.Now().Add(2*time.Second))

			r.take(l, curable, rt)
			require.Equal(t, 1, r.promoted, "one black hole, one swap")
			require.Equal(t, 2, r.built)
			require.Equal(t, respawn.StateHealthy, rt.Health().State)
			r.withinStallRule(4, deadline)
		})
	}
}
