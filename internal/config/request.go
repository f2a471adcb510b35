package config

import (
	"context"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
)

// What one request's context has to say about the options. Looking there costs more
// than the healthy path has, so that only those ask who have left it.

type (
	replayKey struct{}
	readyKey  struct{}
)

// ContextWithReplay says how requests under it may be sent again: as ctx and r both
// allow. What is no Replay allows nothing.
func ContextWithReplay(ctx context.Context, r body.Replay) context.Context {
	if r < body.Idempotent || r > body.Never {
		r = body.Never
	}
	return context.WithValue(ctx, replayKey{}, stricter(ctx, r))
}

// ReplayOf is how req may be sent again: as the client and req's context both allow.
func (c *Config) ReplayOf(req *http.Request) body.Replay { return stricter(req.Context(), c.Replay) }

// stricter is the stricter one of r and what ctx has; each Replay allows less than
// those before it.
func stricter(ctx context.Context, r body.Replay) body.Replay {
	own, _ := ctx.Value(replayKey{}).(body.Replay) // else the one that allows most
	return max(own, r)
}

// ContextWithWaitForReady says for how long requests under it wait for ready; what
// is negative is not at all.
func ContextWithWaitForReady(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, readyKey{}, max(d, 0))
}

// ReadyOf is for how long req waits for ready: as its context says, or else as the
// client does.
func (c *Config) ReadyOf(req *http.Request) time.Duration {
	if d, ok := req.Context().Value(readyKey{}).(time.Duration); ok {
		return d
	}
	return c.WaitForReady
}
