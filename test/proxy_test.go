package test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// A proxy that refuses CONNECT says so in an error that has no type: only GetConn shows that a
// POST was not sent. It names the proxy, not the upstream. So whose hook it is must be known
// otherwise: from the pool, which a wrapper shows.
func TestAPostThatAProxyRefusesToConnectIsNotLost(t *testing.T) {
	bothBare(t, func(t *testing.T, wrap func(*http.Transport) http.RoundTripper) {
		n := testnet.New(t)
		n.ServeTLS("a.test:443", http.HandlerFunc(serveKinds))
		n.Serve("proxy.test:3128", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
		}))
		base := n.HTTP1()
		base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test:3128"})
		rt := start(t, wrap(base), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return wrap(n.HTTP1()) }).Make))
		for i := range 10 {
			_, err := testkit.Do(rt, request(impatient(t), http.MethodPost, "https://a.test/", strings.NewReader("x")))
			assert.NoError(t, err, "POST %d", i)
			time.Sleep(time.Second)
		}
		assert.EqualValues(t, 2, rt.Health().Generation)
		rt.CloseIdleConnections()
	})
}
