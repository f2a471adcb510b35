package respawntest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/build"
)

// TestFactory looks for violations of the contract of [respawn.Factory] that otherwise
// only an outage would show. For each, it fails t with a message that says what to do:
//
//   - it returns base or the same transport again, or a transport that wraps one of these or
//     shares its connections; it returns [http.DefaultTransport], a
//     [respawn.RecoveringRoundTripper], nil, a transport that has ended, or a transport
//     together with an error
//   - it fails, panics, ends its goroutine, cannot be called again, takes longer than 5 s, or
//     does not return within 5 s of the end of its context
//   - its transport dies with the context that the factory was given, or answers only once
//   - its transport cannot be closed, or its Close panics, hangs, breaks what is in
//     service, or leaves connections or goroutines behind
//   - its transport has lost what base has: HTTP/2, HTTP/2 pings, the method Err
//
// Base is the base that [respawn.New] is given together with the factory; it can be
// nil. TestFactory sends requests through base but does not close it.
//
// Every transport must be able to GET each of the urls; any status will do. Without
// urls, TestFactory uses a server of its own on the loopback, over HTTP/1. Pass what
// the client will talk to, or a stand-in of [Network.ServeTLS] that the factory's
// transports can reach: only an https URL shows whether they use HTTP/2.
//
// If the factory has nothing to wait for in the test, TestFactory cannot find out
// whether it ignores its context. If the factory dials, also call it with a deadline
// and with the far end in a black hole: see [Host.BlackHole].
//
// TestFactory calls the factory three times, the first time under a context that has
// ended. It takes half a second. If the factory looks at its context's deadline, it
// takes 5 s more, for that deadline to pass; if something hangs, up to a minute. In a
// synctest bubble it takes no time. The loopback does not work in a bubble: pass the
// URL of a host on a [Network] there.
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
