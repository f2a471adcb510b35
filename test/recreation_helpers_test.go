package test

import (
	"net/http"
	"testing/synctest"
	"time"

	"github.com/respawnhttp/respawn/internal/testkit"
)

// stubs is a factory of transports that answer at once.
func stubs() *testkit.Factory {
	return testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
}

// sweepsPass lets the sweeps of retired generations run, so that a leak would show
// as a goroutine that the bubble waits for.
func sweepsPass() {
	time.Sleep(10 * time.Second)
	synctest.Wait()
}
