package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
)

// newHTTP2World is an upstream that speaks HTTP/2 over TLS, on a network that can
// break. configure may be nil. No factory is needed: respawn's own clone has an
// HTTP/2 pool of its own.
func newHTTP2World(r *report, configure func(*testing.T, *http.Transport)) *world {
	s := newServer(r)
	n := respawntest.NewNetwork(r.t)
	way := n.ServeTLS("api.test:443", s.Handler)
	r.connectionsTo(way)
	return &world{
		r: r, server: s, url: "https://api.test/", way: way, cloned: true,
		build: buildHTTP2(r.t, n, n.RootCAs(), configure),
	}
}

// buildHTTP2 builds transports on n that trust roots and speak HTTP/2, by configure
// if that is given.
func buildHTTP2(t *testing.T, n *respawntest.Network, roots *x509.CertPool, configure func(*testing.T, *http.Transport)) respawn.Factory {
	return factory(func(context.Context) (*http.Transport, error) {
		transport := &http.Transport{DialContext: n.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}}
		if configure == nil {
			transport.ForceAttemptHTTP2 = true
		} else {
			configure(t, transport)
		}
		return transport, nil
	})
}

// An HTTP/2 connection becomes a black hole, as when a NAT forgets it. The
// transport keeps it in its pool and puts every request on it, although a new
// connection would be fine.
//
// TCP would give the connection up by itself, but only after a quarter of an hour.
func TestHTTP2BlackHole(t *testing.T) {
	variants := map[string]func(*testing.T, *http.Transport){
		"net/http": nil,
		// (*http.Transport).Clone alone would share this transport's HTTP/2 pool.
		"x/net's ConfigureTransports": func(t *testing.T, tr *http.Transport) {
			//lint:ignore SA1019 many still use it, client-go among them
			_, err := http2.ConfigureTransports(tr)
			require.NoError(t, err)
		},
	}
	for _, name := range sorted(variants) {
		t.Run(name, func(t *testing.T) {
			r := begin(t, "HTTP/2 connection black-holed, "+name)
			w := newHTTP2World(r, variants[name])
			w.blackHole(w.dark)
		})
	}
}

// blackHole lets respawn meet a fault that is a black hole, and asserts that it swaps once.
func (w *world) blackHole(f fault) {
	r := w.r
	r.t.Helper()
	const deadline = 250 * time.Millisecond
	rt := w.undergo(ordeal{
		fault: f, deadline: deadline, window: 3 * time.Second,
		// Long enough for the backoff to allow a second swap, were there a
		// reason for one.
		linger: 2 * time.Second,
	})
	require.Equal(r.t, 1, r.Promoted, "one black hole, one swap")
	require.Equal(r.t, 2, r.Built)
	require.Equal(r.t, respawn.StateHealthy, rt.Health().State)
	r.withinStallRule(workers, deadline)
}

// The server hangs, but its HTTP/2 stack answers PINGs, so that the transport's
// own health check never finds out.
func TestHTTP2AnswersOnlyPings(t *testing.T) {
	r := begin(t, "HTTP/2 connection black-holed, PINGs still answered")
	w, f := newFrozenWorld(r, func(_ *testing.T, tr *http.Transport) {
		tr.ForceAttemptHTTP2 = true
		// A busy machine may need long for an answer.
		tr.HTTP2 = &http.HTTP2Config{SendPingTimeout: 200 * time.Millisecond, PingTimeout: 10 * time.Second}
	})
	var before int64
	w.blackHole(func(t *testing.T, inService http.RoundTripper) {
		before = f.pings.Load() // at the second call, respawn's: the bare transport's PINGs
		f.freeze(t, inService)
	})
	require.NotZero(t, before, "the bare transport has asked for no PING")
	require.Greater(t, f.pings.Load(), before, "the transport in service has asked for no PING")
}
