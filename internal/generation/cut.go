package generation

import (
	"context"
	"errors"
	"net/http"
)

var ErrDrained = errors.New("respawn: cut off, the transport was retired and its WithDrainTimeout has passed")

// Severable derives the request that WithDrainTimeout can cut. The returned
// function must be called when the request is over; without that option it is
// nil, and the request req.
func (g *Generation) Severable(req *http.Request) (*http.Request, func()) {
	if g.cut == nil {
		return req, nil
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	stop := context.AfterFunc(g.cut, func() { cancel(ErrDrained) })
	return req.WithContext(ctx), func() {
		stop()
		cancel(context.Canceled)
	}
}
