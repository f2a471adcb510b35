package test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// tellers are the options that call f when a client tells of itself: when a span starts, and
// when the end of a recreation or of a transport is logged.
var tellers = map[string]func(f func()) respawn.Option{
	"a tracer": func(f func()) respawn.Option { return respawn.WithTracerProvider(startTracers{start: f}) },
	"a logger": func(f func()) respawn.Option {
		return respawn.WithLogger(slog.New(logHandler{slog.DiscardHandler, f}))
	},
}

type startTracers struct {
	noop.TracerProvider
	start func()
}

func (p startTracers) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return startTracer{start: p.start}
}

type startTracer struct {
	noop.Tracer
	start func()
}

func (tr startTracer) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	tr.start()
	return ctx, noop.Span{}
}

type logHandler struct {
	slog.Handler
	log func()
}

func (logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	if !strings.Contains(r.Message, "tripped") {
		h.log()
	}
	return nil
}

// aLoudEnd is a transport that is dead, and panics when it is closed.
type aLoudEnd struct{ testkit.Stub }

func (e *aLoudEnd) Close() error {
	_ = e.Stub.Close()
	panic("closed")
}

// whileTold calls f while a recreation is under way whose factory waits for its end.
func whileTold(t *testing.T, teller string, told, f func(context.Context, *respawn.RecoveringRoundTripper)) {
	synctest.Test(t, func(t *testing.T) {
		var rt *respawn.RecoveringRoundTripper
		base := &aLoudEnd{}
		base.Fail(testkit.Refused())
		rt = start(t, base, tellers[teller](func() { told(t.Context(), rt) }), respawn.WithFactory(func(ctx context.Context) (http.RoundTripper, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}))
		go func() { _, _ = get(t.Context(), rt, "http://a.test/") }()
		synctest.Wait()
		f(t.Context(), rt)
		time.Sleep(time.Hour)
		require.NoError(t, rt.Shutdown(t.Context()))
		assert.EqualValues(t, 1, base.Closes.Load())
		time.Sleep(time.Hour) // a logger hears of that
	})
}

// byHand are the calls that end a client or a recreation. Recreate has 5 s for that: a tracer
// that waits for the recreation that it is told of waits for itself.
var byHand = map[string]func(context.Context, *respawn.RecoveringRoundTripper) error{
	"Close":    func(_ context.Context, rt *respawn.RecoveringRoundTripper) error { return rt.Close() },
	"Shutdown": func(ctx context.Context, rt *respawn.RecoveringRoundTripper) error { return rt.Shutdown(ctx) },
	"Recreate": func(ctx context.Context, rt *respawn.RecoveringRoundTripper) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return rt.Recreate(ctx)
	},
}

// Who is told of a client may end it, or have its transport replaced.
func TestWhoIsToldMayDoWhatItLikesWithTheClient(t *testing.T) {
	for teller := range tellers {
		for what, call := range byHand {
			for by, first := range byHand {
				t.Run(teller+" calls "+what+", told because of "+by, func(t *testing.T) {
					var calls atomic.Int32
					whileTold(t, teller, func(ctx context.Context, rt *respawn.RecoveringRoundTripper) {
						if calls.Add(1) < 4 {
							_ = call(ctx, rt)
						}
					}, func(ctx context.Context, rt *respawn.RecoveringRoundTripper) { _ = first(ctx, rt) })
					assert.NotZero(t, calls.Load())
				})
			}
		}
	}
}

// A logger or a tracer that hangs holds up neither Close nor whoever gave a time limit.
func TestWhoIsToldHoldsUpNobodyWhoEndsTheClient(t *testing.T) {
	for teller := range tellers {
		for what, call := range byHand {
			t.Run(what+", "+teller+" hangs", func(t *testing.T) {
				whileTold(t, teller, func(context.Context, *respawn.RecoveringRoundTripper) { time.Sleep(time.Minute) }, func(ctx context.Context, rt *respawn.RecoveringRoundTripper) {
					ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
					defer cancel()
					begin := time.Now()
					_ = call(ctx, rt)
					assert.LessOrEqual(t, time.Since(begin), 5*time.Second)
					if what == "Close" {
						assert.LessOrEqual(t, time.Since(begin), time.Second)
					}
				})
			})
		}
	}
}

// A provider of metrics lets nobody go while it collects, which may be what ends the client.
func TestAnObserverOfMetricsMayEndTheClient(t *testing.T) {
	for _, what := range []string{"Close", "Shutdown"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel() // it takes a second
			base, p := &testkit.Stub{}, testkit.NewProbe(t)
			rt := start(t, base, append(observed(p), respawn.WithFactory(stubs().Make))...)
			_, err := p.MeterProvider().Meter("another").Int64ObservableGauge("another",
				metric.WithInt64Callback(func(ctx context.Context, _ metric.Int64Observer) error { return byHand[what](ctx, rt) }))
			require.NoError(t, err)
			returns(t, func() { p.Metrics() })
			assert.EqualValues(t, 1, base.Closes.Load())
		})
	}
}
