package integration

import (
	"testing"

	"github.com/respawnhttp/respawn/respawntest"
)

// The factories that build more than an http.Transport keep the contract of respawn.Factory, and
// respawntest.TestFactory complains of nothing that real transports do. All but SSH's use sockets.
func TestFactoriesKeepTheContract(t *testing.T) {
	worlds := map[string]func(*report) *world{
		"HTTP/3":          func(r *report) *world { w, _ := newHTTP3World(r, patience); return w },
		"SSH":             func(r *report) *world { w, _ := newSSHWorld(r); return w },
		"yamux":           func(r *report) *world { w, _ := newYamuxWorld(r); return w },
		"http.ClientConn": func(r *report) *world { return newClientConnWorld(r, protocols["h2"]) },
	}
	for _, name := range sorted(worlds) {
		t.Run(name, func(t *testing.T) {
			w := worlds[name](begin(t, "factory: "+name))
			base := w.first(t)
			respawntest.TestFactory(t, base, w.build, w.url)
			w.discard(base)
		})
	}
}
