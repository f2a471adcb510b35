package config

import (
	"context"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
)

// These values override options for one request, by its context. Looking them up costs
// more than the healthy path may, so only requests that have left it are looked up.

type (
	replayKey struct{}
	readyKey  struct{}
)

// ContextWithReplay restricts how requests under the context may be sent again: ctx and
// r must both allow it. A value that is not a Replay allows nothing.
func ContextWithReplay(ctx context.Context, r body.Replay) context.Context {
	if r < body.Idempotent || r > body.Never {
		r = body.Never
	}
	return context.WithValue(ctx, replayKey{}, stricter(ctx, r))
}

// ReplayOf says how req may be sent again: only as both the client and req's context allow.
func (c *Config) ReplayOf(req *http.Request) body.Replay { return stricter(req.Context(), c.Replay) }

// stricter returns the stricter of r and the Replay of ctx. Each Replay allows less
// than the constants before it.
func stricter(ctx context.Context, r body.Replay) body.Replay {
	own, _ := ctx.Value(replayKey{}).(body.Replay) // else the one that allows most
	return max(own, r)
}

// ContextWithWaitForReady sets how long requests under the context wait for ready; a
// negative duration means not at all.
func ContextWithWaitForReady(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, readyKey{}, max(d, 0))
}

// ReadyOf returns how long req waits for ready: the duration in its context, or else
// the client's.
func (c *Config) ReadyOf(req *http.Request) time.Duration {
	if d, ok := req.Context().Value(readyKey{}).(time.Duration); ok {
		return d
	}
	return c.WaitForReady
}
