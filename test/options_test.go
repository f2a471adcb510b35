package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A senseless value is an error from New that names the option and the value,
// so that whoever reads it in a log knows which line to change.
func TestSenselessOptions(t *testing.T) {
	for _, tc := range []struct {
		name string
		opt  respawn.Option
		want string
	}{
		{"nil factory", respawn.WithFactory(nil), "WithFactory(nil)"},
		{"empty name", respawn.WithName(""), `WithName("")`},
		{"threshold 0", respawn.WithThreshold(0), "WithThreshold(0)"},
		{"threshold -1", respawn.WithThreshold(-1), "WithThreshold(-1)"},
		{"threshold of all", respawn.WithThreshold(math.MinInt), "WithThreshold(-9223372036854775808)"},
		{"negative stalls", respawn.WithStallThreshold(-1, time.Second), "WithStallThreshold(-1, 1s)"},
		{"negative stall span", respawn.WithStallThreshold(3, -time.Second), "WithStallThreshold(3, -1s)"},
		{"negative span of a rule that is off", respawn.WithStallThreshold(0, -1), "WithStallThreshold(0, -1ns)"},
		{"nil backoff", respawn.WithBackOff(nil), "WithBackOff(nil)"},
		{"backoff of nil", respawn.WithBackOff(func() backoff.BackOff { return nil }), "WithBackOff(nil)"},
		{"backoff of a typed nil", respawn.WithBackOff(func() backoff.BackOff { return (*backoff.ExponentialBackOff)(nil) }), "WithBackOff(nil)"},
		{"recreate timeout 0", respawn.WithRecreateTimeout(0), "WithRecreateTimeout(0s)"},
		{"negative recreate timeout", respawn.WithRecreateTimeout(-time.Minute), "WithRecreateTimeout(-1m0s)"},
		{"nil classifier", respawn.WithClassifier(nil), "WithClassifier(nil)"},
		{"replay -1", respawn.WithReplay(-1), "WithReplay(-1)"},
		{"replay 3", respawn.WithReplay(respawn.ReplayNever + 1), "WithReplay(3)"},
		{"nil fallback", respawn.WithFallback(nil), "WithFallback(nil)"},
		{"typed nil fallback", respawn.WithFallback((*http.Transport)(nil)), "WithFallback(nil)"},
		{"nil func as fallback", respawn.WithFallback(testkit.RoundTripperFunc(nil)), "WithFallback(nil)"},
		{"negative wait", respawn.WithWaitForReady(-1), "WithWaitForReady(-1ns)"},
		{"negative age", respawn.WithMaxAge(-time.Hour), "WithMaxAge(-1h0m0s)"},
		{"negative drain limit", respawn.WithDrainTimeout(-time.Second), "WithDrainTimeout(-1s)"},
		{"nil tracer provider", respawn.WithTracerProvider(nil), "WithTracerProvider(nil)"},
		{"typed nil tracer provider", respawn.WithTracerProvider((*sdktrace.TracerProvider)(nil)), "WithTracerProvider(nil)"},
		{"nil meter provider", respawn.WithMeterProvider(nil), "WithMeterProvider(nil)"},
		{"typed nil meter provider", respawn.WithMeterProvider((*sdkmetric.MeterProvider)(nil)), "WithMeterProvider(nil)"},
		{"nil logger", respawn.WithLogger(nil), "WithLogger(nil)"},
		{"nil option", nil, "option 2 is nil"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rt, err := respawn.New(&http.Transport{}, respawn.WithName("x"), tc.opt)
			require.Error(t, err)
			assert.Nil(t, rt)
			assert.ErrorContains(t, err, tc.want)
			assert.ErrorContains(t, err, "respawn: New: ")
		})
	}
}

// durations are the options that take one. Each has a row: see
// TestADurationWithoutAUnitIsRefused.
var durations = map[string]func(time.Duration) respawn.Option{
	"WithStallThreshold":  func(d time.Duration) respawn.Option { return respawn.WithStallThreshold(3, d) },
	"WithPatience":        respawn.WithPatience,
	"WithRecreateTimeout": respawn.WithRecreateTimeout,
	"WithWaitForReady":    respawn.WithWaitForReady,
	"WithMaxAge":          respawn.WithMaxAge,
	"WithDrainTimeout":    respawn.WithDrainTimeout,
}

// A number without a unit is one of nanoseconds: WithMaxAge(10) made a generation
// every few ns. Every option that takes a duration asks for the unit.
func TestADurationWithoutAUnitIsRefused(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../options.go", nil, 0)
	require.NoError(t, err)
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || !fn.Name.IsExported() {
			continue
		}
		for _, p := range fn.Type.Params.List {
			if sel, ok := p.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Duration" {
				assert.Contains(t, durations, fn.Name.Name, "it takes a duration: give it a row")
			}
		}
	}
	for name, opt := range durations {
		for _, d := range []time.Duration{1, 10, 1 + rand.N(time.Millisecond-1), time.Millisecond - 1} {
			rt, err := respawn.New(&http.Transport{}, opt(d))
			require.Error(t, err, "%s(%d)", name, int64(d))
			assert.Nil(t, rt)
			assert.ErrorContains(t, err, name+"(")
			assert.ErrorContains(t, err, d.String()+")")
			assert.ErrorContains(t, err, "did you forget the unit")
		}
		for _, d := range []time.Duration{time.Millisecond, time.Second, math.MaxInt64} {
			rt, err := respawn.New(&http.Transport{}, opt(d))
			if assert.NoError(t, err, "%s(%v)", name, d) {
				assert.NoError(t, rt.Close())
			}
		}
	}
}

// All that is wrong is told at once, and a later good value does not hide an
// earlier senseless one.
func TestSenselessOptionsTogether(t *testing.T) {
	_, err := respawn.New(&http.Transport{}, respawn.WithThreshold(0), nil, respawn.WithMaxAge(-1), respawn.WithThreshold(2))
	require.Error(t, err)
	for _, part := range []string{"WithThreshold(0)", "option 2 is nil", "WithMaxAge(-1ns)"} {
		assert.ErrorContains(t, err, part)
	}
}

func TestSenselessBase(t *testing.T) {
	transport, session, inner := &http.Transport{}, &testkit.SessionStub{}, start(t, &testkit.Stub{}, respawn.WithFactory(fresh))
	for _, tc := range []struct {
		name string
		base http.RoundTripper
		opts []respawn.Option
		want string
	}{
		{"typed nil", (*http.Transport)(nil), nil, "base is a nil *http.Transport"},
		{"typed nil with a factory", (*http.Transport)(nil), []respawn.Option{respawn.WithFactory(fresh)}, "base is a nil *http.Transport"},
		{"nil func", testkit.RoundTripperFunc(nil), []respawn.Option{respawn.WithFactory(fresh)}, "base is a nil testkit.RoundTripperFunc"},
		{"cannot be built again", session, nil, "a *testkit.SessionStub cannot be built again"},
		{"cannot be built again: a func", testkit.RoundTripperFunc(testkit.Answer), nil, "put respawn beneath it, or say how with WithFactory"},
		{"respawn", inner, nil, "base goes through a RecoveringRoundTripper already: use that one, or give New what is beneath it"},
		{"respawn in wrappers", &wrapped{&wrapped{inner}}, []respawn.Option{respawn.WithFactory(fresh)}, "base goes through a RecoveringRoundTripper already"},
		{"fallback is respawn", transport, []respawn.Option{respawn.WithFallback(inner)}, "WithFallback: the fallback goes through a RecoveringRoundTripper: give it what is beneath that"},
		{"fallback is respawn in a wrapper", transport, []respawn.Option{respawn.WithFallback(&wrapped{inner})}, "the fallback goes through"},
		{"fallback is base", transport, []respawn.Option{respawn.WithFallback(transport)}, "WithFallback: the fallback is base itself"},
		{"fallback is base in a wrapper", transport, []respawn.Option{respawn.WithFallback(&wrapped{transport})}, "or shares a transport with base"},
		{"fallback is base, with a factory", session, []respawn.Option{respawn.WithFallback(session), respawn.WithFactory(fresh)}, "WithFallback: the fallback is base itself"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rt, err := respawn.New(tc.base, tc.opts...)
			require.ErrorContains(t, err, tc.want)
			assert.Nil(t, rt)
		})
	}
}

// Every option's zero that has a meaning, and its smallest sensible value.
func TestSensibleOptions(t *testing.T) {
	for name, opt := range map[string]respawn.Option{
		"WithThreshold":       respawn.WithThreshold(1),
		"WithStallThreshold":  respawn.WithStallThreshold(0, 0),
		"WithRecreateTimeout": respawn.WithRecreateTimeout(time.Millisecond),
		"WithReplay":          respawn.WithReplay(respawn.ReplayNever),
		"WithWaitForReady":    respawn.WithWaitForReady(0),
		"WithMaxAge":          respawn.WithMaxAge(0),
		"WithDrainTimeout":    respawn.WithDrainTimeout(0),
		"WithFallback":        respawn.WithFallback(&http.Transport{}),
		"WithMeterProvider":   respawn.WithMeterProvider(metricnoop.NewMeterProvider()),
		"WithTracerProvider":  respawn.WithTracerProvider(otel.GetTracerProvider()),
	} {
		rt, err := respawn.New(&http.Transport{}, opt)
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
		assert.Equal(t, 30*time.Second, tr.HTTP2.SendPingTimeout)
		assert.Equal(t, 15*time.Second, tr.HTTP2.PingTimeout)
		assert.True(t, tr.ForceAttemptHTTP2)
		assert.NotNil(t, tr.Proxy)
		assert.NotNil(t, tr.DialContext)
		assert.Equal(t, 10*time.Second, tr.TLSHandshakeTimeout)
		assert.Equal(t, time.Second, tr.ExpectContinueTimeout)
	}
	check(base)
	check(respawn.NewTransport())
	assert.NotSame(t, respawn.NewTransport(), respawn.NewTransport())
	assert.NotSame(t, http.DefaultTransport, base, "the pool of the whole process is not ours")

	require.NoError(t, rt.Recreate(t.Context()))
	next, ok := rt.WrappedRoundTripper().(*http.Transport)
	require.True(t, ok)
	assert.NotSame(t, base, next)
	check(next) // generation after generation
}

// Generation 1 is base itself, and New calls neither it nor the factory.
func TestNewTouchesNothing(t *testing.T) {
	base := &testkit.Stub{}
	f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
	rt := start(t, base, respawn.WithFactory(f.Make))
	assert.Same(t, base, rt.WrappedRoundTripper())
	assert.EqualValues(t, 1, rt.Health().Generation)
	assert.Zero(t, base.Calls.Load()+base.IdleCloses.Load()+base.Closes.Load()+f.Calls.Load())
}

func TestVerdictString(t *testing.T) {
	assert.Equal(t, "neutral failure stall ended unknown",
		fmt.Sprint(respawn.Neutral, " ", respawn.Failure, " ", respawn.Stall, " ", respawn.Ended, " ", respawn.Verdict(9)))
}

func TestReplayString(t *testing.T) {
	assert.Equal(t, "idempotent unsent never unknown",
		fmt.Sprint(respawn.ReplayIdempotent, " ", respawn.ReplayUnsent, " ", respawn.ReplayNever, " ", respawn.Replay(-1)))
}

// What has a word of its own is known by that, never by its text.
func TestErrClosedHasAWord(t *testing.T) {
	assert.Equal(t, "closed", semconv.ErrorType(respawn.ErrClosed).Value.AsString())
}
