// Package test has the tests of whole clients, grouped by rule. The tests see what
// users see; of the internals they use only the settings of internal/config.
package test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
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

// A draw is one of the many ways in which a case can happen: its numbers and its order
// are drawn, since its kind is what counts. The same seed draws the same again.
type draw struct{ *rand.Rand }

// overDraws runs f over n draws, each in virtual time, and in a subtest that names its
// seed.
func overDraws(t *testing.T, n int, f func(t *testing.T, d draw)) {
	t.Helper()
	if testing.Short() || testkit.Race {
		n = min(n, 8)
	}
	for seed := range uint64(n) {
		t.Run(fmt.Sprint("draw ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, draw{rand.New(rand.NewPCG(seed, 12))}) })
		})
	}
}

func (d draw) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.Int64N(int64(most-least)+1))
}

func (d draw) chance(p float64) bool { return d.Float64() < p }

func oneOf[T any](d draw, all ...T) T { return all[d.IntN(len(all))] }

// options are what a client's owner may have set, none of it more forbearing with stalls
// than what is set by default.
func (d draw) options() []respawn.Option {
	patience := d.Float64()
	return []respawn.Option{
		respawn.WithThreshold(1 + d.IntN(4)),
		respawn.WithStallThreshold(1+d.IntN(3), d.between(time.Millisecond, time.Second)),
		chance(func() float64 { return patience }),
	}
}

// mayHaveFallback has one now and then.
func (d draw) mayHaveFallback() (opts []respawn.Option, has bool) {
	if has = d.chance(0.3); has {
		opts = append(opts, respawn.WithFallback(&testkit.Stub{}))
	}
	return opts, has
}

// nothingBuilt checks that nobody holds anything against a client's first transport.
func nothingBuilt(t *testing.T, rt *respawn.RecoveringRoundTripper, f *testkit.Factory) {
	t.Helper()
	assert.Zero(t, f.Calls.Load(), "a candidate was built")
	h := rt.Health()
	assert.EqualValues(t, 1, h.Generation)
	assert.Zero(t, h.Failures)
	assert.Nil(t, h.LastFailure)
	assert.Empty(t, h.Streaks)
}
