// Package test has the tests of whole clients, grouped by rule. The tests see what
// users see; of the internals they use only the settings of internal/config.
package test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/names"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// start makes the client under test and closes it at the end.
func start(t testing.TB, base http.RoundTripper, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	t.Helper()
	rt, err := respawn.New(base, append([]respawn.Option{respawn.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rt.Close()) })
	return rt
}

// every is a policy whose intervals are all d.
func every(d time.Duration) respawn.Option {
	return respawn.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(d) })
}

// chance sets what WithMaxAge draws from, in [0, 1).
func chance(f func() float64) respawn.Option {
	return func(c *config.Config) error { c.Chance = f; return nil }
}

// observed are the options that bring a client's telemetry to p.
func observed(p *testkit.Probe) []respawn.Option {
	return []respawn.Option{
		respawn.WithTracerProvider(p.TracerProvider()), respawn.WithMeterProvider(p.MeterProvider()), respawn.WithLogger(p.Logger()),
		namesIn(new(names.Registry)), // so that nobody is told of the clients of other tests
	}
}

// namesIn is where a client's name is claimed.
func namesIn(r *names.Registry) respawn.Option {
	return func(c *config.Config) error { c.Names = r; return nil }
}

// impatient is the context of a caller whose deadline is so near that nobody
// accompanies its requests.
func impatient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// get sends a GET and returns the status, with the body read and closed.
func get(ctx context.Context, rt http.RoundTripper, url string) (int, error) {
	return testkit.Get(ctx, rt, url)
}

// request makes a request that is well formed.
func request(ctx context.Context, method, url string, body io.Reader) *http.Request {
	return testkit.Request(ctx, method, url, body)
}

// onHealthyPath reports whether a request to url takes the healthy path: nobody
// watches it, and it is not a copy. sent is the request as the transport got it.
func onHealthyPath(sent *http.Request) bool {
	return httptrace.ContextClientTrace(sent.Context()) == nil
}
