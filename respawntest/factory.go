package respawntest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/build"
)

// TestFactory fails t, with a message that says what to do, for each way in which factory
// breaks the contract of [respawn.Factory], such that the first outage would find out:
//
//   - it returns base, or the same transport again, or one that wraps either or shares its
//     connections; [http.DefaultTransport]; a [respawn.RecoveringRoundTripper]; nil; a
//     transport that has ended; a transport and an error
//   - it fails, panics, ends its goroutine, cannot be called again, or does not return
//     soon after its context has ended
//   - its transport dies with the context that the factory was given
//   - its transport cannot be closed, or its Close panics, hangs, breaks what is in
//     service, or leaves connections or goroutines behind
//   - its transport has lost what base has: HTTP/2, HTTP/2 pings, the method Err
//
// Base is what [respawn.New] is given with the factory, and can be nil. It is asked, and
// stays open: it is the caller's to close.
//
// The transports are asked for the urls, each of which all of them must be able to GET;
// any status will do. Without one it is that of a server on the loopback, over HTTP/1. Pass
// what the client will talk to, or a stand-in of [Network.ServeTLS] that the factory's
// transports can reach: an https URL shows whether HTTP/2 is spoken.
//
// A factory that has nothing to wait for where it is tested cannot be seen to ignore its
// context. If it dials, call it with a deadline, too, and the far end in a black hole: see
// [Host.BlackHole].
//
// TestFactory calls the factory three times, the first time under a context that has
// ended. It takes half a second; 5 s more if the factory looks at its context's deadline,
// for that to pass; and up to a minute if something hangs. In a synctest bubble it takes no
// time. The loopback is no place for a bubble: there pass a URL of a [Network].
func TestFactory(t testing.TB, base http.RoundTripper, factory respawn.Factory, urls ...string) {
	t.Helper()
	if factory == nil {
		t.Fatal("respawntest: the factory is nil")
	}
	if base != nil && build.IsNil(base) {
		t.Fatalf("respawntest: base is a nil %T: pass a transport, or a plain nil for none", base)
	}
	if len(urls) == 0 {
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer s.Close()
		urls = []string{s.URL}
	}
	for _, trap := range findTraps(base, factory, urls) {
		t.Errorf("respawntest: %v", trap)
	}
}
