package respawn

import (
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
)

// An attempt is one RoundTrip on one generation.
type attempt struct {
	evidence.Watch

	gen   *generation.Generation
	began uint64        // rt.clock when it began; 0 is before any failure now in the streak table
	req   *http.Request // as it was sent; nil for the caller's own
	err   error
	after func() // releases what the attempt holds when it has failed and was judged; nil for most

	// What this one must show, if it is a trial.
	proof  proof
	toBeat time.Duration
}

// finish must be called for a failed attempt once it has been judged: until
// then its request's context tells whether it was cut.
func (a *attempt) finish() {
	if a.after != nil {
		a.after()
	}
}

// unsent reports whether nothing of the request can have reached the server.
func (a *attempt) unsent() bool { return a.Unsent(a.err) }
