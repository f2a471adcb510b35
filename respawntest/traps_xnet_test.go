//go:build !go1.27

package respawntest

import (
	"net/http"

	"golang.org/x/net/http2"

	"github.com/respawnhttp/respawn"
)

// From Go 1.27 on x/net leaves HTTP/2 to net/http, and a Clone has a pool of its own.
func init() {
	badFactories = append(badFactories, badFactory{"clones after x/net's ConfigureTransports", func(w *world) respawn.Factory {
		base := w.http1()
		//lint:ignore SA1019 many still use it, client-go among them
		if _, err := http2.ConfigureTransports(base); err != nil {
			panic(err)
		}
		w.base = base
		return returns(func() http.RoundTripper { return base.Clone() })
	}, "uses a connection of base"})
}
