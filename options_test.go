package respawn

import (
	"context"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
)

// A senseless value is an error from New that names the option and the value,
// so that whoever reads it in a log knows which line to change.
func TestSenselessOptions(t *testing.T) {
	for _, tc := range []struct {
		name string
		opt  Option
		want string
	}{
		{"nil factory", WithFactory(nil), "WithFactory(nil)"},
		{"empty name", WithName(""), `WithName("")`},
		{"threshold 0", WithThreshold(0), "WithThreshold(0)"},
		{"threshold -1", WithThreshold(-1), "WithThreshold(-1)"},
		{"threshold of all", WithThreshold(math.MinInt), "WithThreshold(-9223372036854775808)"},
		{"negative stalls", WithStallThreshold(-1, time.Second), "WithStallThreshold(-1, 1s)"},
		{"negative stall span", WithStallThreshold(3, -time.Second), "WithStallThreshold(3, -1s)"},
		{"negative span of a rule that is off", WithStallThreshold(0, -1), "WithStallThreshold(0, -1ns)"},
		{"nil backoff", WithBackOff(nil), "WithBackOff(nil)"},
		{"backoff of nil", WithBackOff(func() backoff.BackOff { return nil }), "WithBackOff(nil)"},
		{"recreate timeout 0", WithRecreateTimeout(0), "WithRecreateTimeout(0s)"},
		{"negative recreate timeout", WithRecreateTimeout(-time.Minute), "WithRecreateTimeout(-1m0s)"},
		{"nil classifier", WithClassifier(nil), "WithClassifier(nil)"},
		{"replay -1", WithReplay(-1), "WithReplay(-1)"},
		{"replay 3", WithReplay(ReplayNever + 1), "WithReplay(3)"},
		{"nil fallback", WithFallback(nil), "WithFallback(nil)"},
		{"typed nil fallback", WithFallback((*http.Transport)(nil)), "WithFallback(nil)"},
		{"nil func as fallback", WithFallback(rtFunc(nil)), "WithFallback(nil)"},
		{"negative wait", WithWaitForReady(-1), "WithWaitForReady(-1ns)"},
		{"negative age", WithMaxAge(-time.Hour), "WithMaxAge(-1h0m0s)"},
		{"negative drain limit", WithDrainTimeout(-time.Second), "WithDrainTimeout(-1s)"},
		{"nil tracer provider", WithTracerProvider(nil), "WithTracerProvider(nil)"},
		{"nil meter provider", WithMeterProvider(nil), "WithMeterProvider(nil)"},
		{"nil logger", WithLogger(nil), "WithLogger(nil)"},
		{"nil option", nil, "option 2 is nil"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rt, err := New(&http.Transport{}, WithName("x"), tc.opt)
			require.Error(t, err)
			assert.Nil(t, rt)
			assert.ErrorContains(t, err, tc.want)
			assert.ErrorContains(t, err, "respawn: New: ")
		})
	}
}

// All that is wrong is told at once, and a later good value does not hide an
// earlier senseless one.
func TestSenselessOptionsTogether(t *testing.T) {
	_, err := New(&http.Transport{}, WithThreshold(0), nil, WithMaxAge(-1), WithThreshold(2))
	require.Error(t, err)
	for _, part := range []string{"WithThreshold(0)", "option 2 is nil", "WithMaxAge(-1ns)"} {
		assert.ErrorContains(t, err, part)
	}
}

func TestSenselessBase(t *testing.T) {
	transport, session := &http.Transport{}, &sessionStub{}
	for _, tc := range []struct {
		name string
		base http.RoundTripper
		opts []Option
		want string
	}{
		{"typed nil", (*http.Transport)(nil), nil, "base is a nil *http.Transport"},
		{"typed nil with a factory", (*http.Transport)(nil), []Option{WithFactory(fresh)}, "base is a nil *http.Transport"},
		{"nil func", rtFunc(nil), []Option{WithFactory(fresh)}, "base is a nil respawn.rtFunc"},
		{"cannot be built again", session, nil, "a *respawn.sessionStub cannot be built again"},
		{"cannot be built again: a func", rtFunc(answer), nil, "say how with WithFactory"},
		{"fallback is base", transport, []Option{WithFallback(transport)}, "WithFallback: the fallback is base itself"},
		{"fallback is base, with a factory", session, []Option{WithFallback(session), WithFactory(fresh)}, "WithFallback: the fallback is base itself"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rt, err := New(tc.base, tc.opts...)
			require.ErrorContains(t, err, tc.want)
			assert.Nil(t, rt)
		})
	}
}

// Every option's zero that has a meaning, and its smallest sensible value.
func TestSensibleOptions(t *testing.T) {
	for name, opt := range map[string]Option{
		"WithThreshold":       WithThreshold(1),
		"WithStallThreshold":  WithStallThreshold(0, 0),
		"WithRecreateTimeout": WithRecreateTimeout(1),
		"WithReplay":          WithReplay(ReplayNever),
		"WithWaitForReady":    WithWaitForReady(0),
		"WithMaxAge":          WithMaxAge(0),
		"WithDrainTimeout":    WithDrainTimeout(0),
		"WithFallback":        WithFallback(&http.Transport{}),
		"WithMeterProvider":   WithMeterProvider(metricnoop.NewMeterProvider()),
		"WithTracerProvider":  WithTracerProvider(otel.GetTracerProvider()),
	} {
		rt, err := New(&http.Transport{}, opt)
		if assert.NoError(t, err, name) {
			assert.NoError(t, rt.Close())
		}
	}
}

// A nil base is the pool of the session whose outage started this package, and
// pings for callers with long deadlines.
func TestNilBase(t *testing.T) {
	rt := start(t, nil)
	base, ok := rt.WrappedRoundTripper().(*http.Transport)
	require.True(t, ok)
	check := func(tr *http.Transport) {
		t.Helper()
		assert.Equal(t, 300, tr.MaxIdleConns)
		assert.Equal(t, 50, tr.MaxIdleConnsPerHost)
		assert.Equal(t, 120*time.Second, tr.IdleConnTimeout)
		assert.Zero(t, tr.MaxConnsPerHost, "a limit would be a queue")
		require.NotNil(t, tr.HTTP2)
		assert.Equal(t, 10*time.Second, tr.HTTP2.SendPingTimeout)
		assert.Equal(t, 5*time.Second, tr.HTTP2.PingTimeout)
		assert.True(t, tr.ForceAttemptHTTP2)
		assert.NotNil(t, tr.Proxy)
		assert.NotNil(t, tr.DialContext)
		assert.Equal(t, 10*time.Second, tr.TLSHandshakeTimeout)
		assert.Equal(t, time.Second, tr.ExpectContinueTimeout)
	}
	check(base)
	assert.NotSame(t, http.DefaultTransport, base, "the pool of the whole process is not ours")

	require.NoError(t, rt.Recreate(t.Context()))
	next, ok := rt.WrappedRoundTripper().(*http.Transport)
	require.True(t, ok)
	assert.NotSame(t, base, next)
	check(next) // generation after generation
}

// Generation 1 is base itself, and New calls neither it nor the factory.
func TestNewTouchesNothing(t *testing.T) {
	base := &stub{}
	f := &factory{build: func(int64, context.Context) (http.RoundTripper, error) { return &stub{}, nil }}
	rt := start(t, base, WithFactory(f.make))
	assert.Same(t, base, rt.WrappedRoundTripper())
	assert.EqualValues(t, 1, rt.Health().Generation)
	assert.Zero(t, base.calls.Load()+base.idle.Load()+base.shut.Load()+f.calls.Load())
}
