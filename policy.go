package respawn

import "github.com/respawnhttp/respawn/internal/body"

// A Replay says which requests may be sent again after an error.
type Replay int

const (
	// ReplayIdempotent sends again what never reached the server, and what is
	// idempotent as net/http defines it (net/http/request.go, isReplayable):
	// GET, HEAD, OPTIONS, TRACE, or with an Idempotency-Key or
	// X-Idempotency-Key header. The body must be to be had again: there is
	// none, or GetBody, or it was not read yet. A base that retries by itself is
	// known by the error of its last attempt alone, which may hide one that was
	// processed: put retries above respawn, or use ReplayNever.
	ReplayIdempotent Replay = iota
	// ReplayUnsent sends again only what never reached the server.
	ReplayUnsent
	// ReplayNever sends nothing again, and leaves bodies as they are. It can
	// then not tell a caller's body that fails to read, with an error like the
	// network's, from a transport that fails to send.
	ReplayNever
)

// The values of body.Replay are these: an index that is not 0 does not compile.
var _ = [1]struct{}{}[ReplayIdempotent-Replay(body.Idempotent)|ReplayUnsent-Replay(body.Unsent)|ReplayNever-Replay(body.Never)]
