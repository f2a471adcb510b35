package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// returns fails the test if f does not return: what is the user's has asked for a lock
// that its caller holds.
func returns(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("it hangs")
	}
}

// A nosyError asks something whenever it is looked at.
type nosyError struct{ ask func() }

func (e *nosyError) Error() string   { e.ask(); return "nosy" }
func (e *nosyError) Is(error) bool   { e.ask(); return false }
func (e *nosyError) As(any) bool     { e.ask(); return false }
func (e *nosyError) Timeout() bool   { e.ask(); return false }
func (e *nosyError) Temporary() bool { e.ask(); return false }

func TestNoErrorIsLookedAtUnderTheLock(t *testing.T) {
	for name, base := range map[string]http.RoundTripper{"there is a transport": allDown(), "there is none yet": nil} {
		t.Run(name, func(t *testing.T) {
			var rt *respawn.RecoveringRoundTripper
			nosy := &nosyError{func() { rt.Health() }}
			rt = start(t, base, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return nil, nosy }))
			returns(t, func() {
				assert.ErrorIs(t, rt.Recreate(t.Context()), nosy)
				for range 3 {
					_, err := get(t.Context(), rt, "http://a.test/")
					assert.Error(t, err)
				}
				assert.EqualValues(t, "factory_error", rt.Health().LastRejection.Reason)
			})
		})
	}
}

// An unreadable error is a nil pointer in an error: looking at it panics.
type unreadable struct{ text string }

func (u *unreadable) Error() string { return u.text }

func TestAFactorysErrorThatPanicsIsAFailureOfTheFactory(t *testing.T) {
	var none *unreadable
	rt := start(t, &testkit.Stub{}, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return nil, none }))
	returns(t, func() {
		require.Error(t, rt.Recreate(t.Context()))
		assert.EqualValues(t, "factory_error", rt.Health().LastRejection.Reason)
	})
}

// nosyTracers are spans that ask something whenever they are asked who they are.
type nosyTracers struct {
	noop.TracerProvider
	ask func()
}

func (p nosyTracers) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return nosyTracer{ask: p.ask}
}

type nosyTracer struct {
	noop.Tracer
	ask func()
}

func (tr nosyTracer) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	span := nosySpan{ask: tr.ask}
	return trace.ContextWithSpan(ctx, span), span
}

type nosySpan struct {
	noop.Span
	ask func()
}

func (s nosySpan) SpanContext() trace.SpanContext {
	s.ask()
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}})
}

func TestNoSpanIsAskedUnderTheLock(t *testing.T) {
	var rt *respawn.RecoveringRoundTripper
	provider := nosyTracers{ask: func() {
		if rt != nil {
			rt.Health()
		}
	}}
	rt = start(t, allDown(), respawn.WithTracerProvider(provider), respawn.WithFactory(stubs().Make))
	returns(t, func() {
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.NoError(t, rt.Recreate(t.Context()))
		require.Len(t, rt.Recreations(), 2)
		assert.Equal(t, trace.TraceID{1}.String(), rt.Recreations()[1].TraceID)
	})
}

func TestASpanThatPanicsCostsItsTrace(t *testing.T) {
	provider := nosyTracers{ask: func() { panic("no span here") }}
	rt := start(t, allDown(), respawn.WithTracerProvider(provider), respawn.WithFactory(stubs().Make))
	returns(t, func() {
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.Len(t, rt.Recreations(), 1)
		assert.Empty(t, rt.Recreations()[0].TraceID)
	})
}

// A patient request's own context and span are looked at by whoever watches over it:
// where they panic the request goes on, and so does the process.
func TestAPatientRequestsSpanThatPanicsCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, answersAfter(time.Minute), respawn.WithFactory(stubs().Make))
		ctx := trace.ContextWithSpan(t.Context(), nosySpan{ask: func() { panic("no span here") }})
		_, err := get(ctx, rt, "http://a.test/")
		require.NoError(t, err)
	})
}

func TestAPatientRequestsSpanIsNotAskedUnderALock(t *testing.T) {
	base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		time.Sleep(200 * time.Millisecond)
		return testkit.Answer(req)
	})
	rt := start(t, base, respawn.WithFactory(stubs().Make), respawn.WithPatience(10*time.Millisecond))
	asked := make(chan struct{}, 100)
	ctx := trace.ContextWithSpan(t.Context(), nosySpan{ask: func() { rt.Health(); asked <- struct{}{} }})
	returns(t, func() {
		_, err := get(ctx, rt, "http://a.test/")
		require.NoError(t, err)
		<-asked
	})
}

// A transport's error that panics when it is looked at costs nobody the process.
func TestATransportsErrorThatPanicsIsTheCallers(t *testing.T) {
	var none *unreadable
	rt := start(t, testkit.Dead(none), respawn.WithFactory(stubs().Make))
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		_, err := rt.RoundTrip(request(t.Context(), method, "http://a.test/", nil))
		assert.True(t, err == error(none), "got %T", err)
	}
	assert.Zero(t, rt.Health().InFlight)
}

func TestACopysErrorThatPanicsCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var well atomic.Bool
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if !well.Load() {
				return staysSilent(nil).RoundTrip(req)
			}
			return answersAfter(2 * time.Second).RoundTrip(req)
		})
		var none *unreadable
		rt := start(t, base, respawn.WithStallThreshold(1, 0),
			respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return testkit.Dead(none), nil }))
		stallsFor(t, rt, "http://a.test/", time.Second)
		well.Store(true)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
	})
}

// A clientSpan is the span of a CLIENT, which is told how often a request was sent again.
type clientSpan struct {
	noop.Span
	told func()
}

func (s clientSpan) SpanKind() trace.SpanKind            { return trace.SpanKindClient }
func (s clientSpan) SetAttributes(...attribute.KeyValue) { s.told() }

// A span that blocks when it is told of the control of an answered copy holds that back: the transport in
// service was not asked, and its silence proves nothing.
func TestASpanThatBlocksReplacesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, told atomic.Int64
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if asked.Add(1) == 1 { // its connection is lost, and the transport is well
				return staysSilent(nil).RoundTrip(req)
			}
			return testkit.Answer(req)
		})
		rt := start(t, base, respawn.WithStallThreshold(1, 0), respawn.WithFactory(stubs().Make))
		ctx := trace.ContextWithSpan(t.Context(), clientSpan{told: func() {
			if told.Add(1) == 2 { // the first is the copy
				time.Sleep(5 * time.Second)
			}
		}})
		_, err := get(ctx, rt, "http://a.test/")
		require.NoError(t, err)
		time.Sleep(4 * time.Second)
		require.EqualValues(t, 2, told.Load())
		assert.EqualValues(t, 1, rt.Health().Generation)
		time.Sleep(4 * time.Second)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Empty(t, rt.Health().Streaks)
		assert.EqualValues(t, 1, rt.Health().Generation)
	})
}

// A span that ends its goroutine when it is told of a replay costs that request, and
// nobody the count of what is in flight.
func TestASpanThatEndsItsGoroutineLeavesNothingInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, allDown(), respawn.WithFactory(stubs().Make))
		ctx := trace.ContextWithSpan(t.Context(), clientSpan{told: runtime.Goexit})
		go func() { _, _ = get(ctx, rt, "http://a.test/") }()
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Zero(t, rt.Health().InFlight)
		_, err := get(t.Context(), rt, "http://a.test/")
		for range 3 {
			_, err = get(t.Context(), rt, "http://a.test/")
		}
		require.NoError(t, err)
	})
}

// The same of a request that goes to the fallback: the body that was to be sent there is closed.
func TestASpanThatEndsItsGoroutineLeavesNoBodyOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			testkit.CloseBody(req)
			if req.Method == http.MethodPut {
				time.Sleep(time.Second) // the authority trips meanwhile
			}
			return nil, testkit.Refused()
		})
		rt := start(t, base, respawn.WithFallback(&testkit.Stub{}), every(time.Hour), respawn.WithFactory(testkit.Fails(errFactory).Make))
		var lent bodies
		ctx := trace.ContextWithSpan(t.Context(), clientSpan{told: runtime.Goexit})
		req := request(ctx, http.MethodPut, "http://a.test/", nil)
		req.GetBody = func() (io.ReadCloser, error) { return lent.next(strings.NewReader("body")), nil }
		req.Body, _ = req.GetBody()
		go func() { _, _ = rt.RoundTrip(req) }()
		synctest.Wait()
		for range 3 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err, "the fallback serves it")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Len(t, lent.made, 2)
		lent.assertClosedOnce(t)
	})
}

// A caller's context that panics when it is asked for a trace costs that call. What is
// accompanied beside it is still noticed to be silent.
func TestAContextThatPanicsCostsOnlyItsOwnRequest(t *testing.T) {
	for _, tt := range []struct {
		method string
		places int // MaxConnsPerHost
	}{{http.MethodPost, 0}, {http.MethodGet, 1}} {
		t.Run(tt.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := testnet.New(t).HTTP1()
				base.MaxConnsPerHost = tt.places
				rt := onePatience(t, base)
				assert.PanicsWithValue(t, "no trace", func() {
					_, _ = rt.RoundTrip(request(untraceable{t.Context()}, tt.method, "http://a.test/", nil))
				})
				rested(t, rt)
			})
		})
	}
}

// The same holds under suspicion, and of what nobody accompanies.
func TestAContextThatPanicsLeavesNothingInFlight(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		suspected    bool
		limit        time.Duration // of the caller
	}{
		{"copyable, under suspicion", http.MethodGet, true, time.Hour},
		{"once only, under suspicion", http.MethodPost, true, time.Hour},
		{"watched", http.MethodPost, false, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := start(t, allDown(), respawn.WithFactory(stubs().Make))
				if tt.suspected {
					_, err := get(respawn.ContextWithReplay(t.Context(), respawn.ReplayNever), rt, "http://a.test/")
					require.Error(t, err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				sent := track(nil)
				req := request(untraceable{ctx}, tt.method, "http://a.test/", nil)
				if tt.method == http.MethodPost {
					req.Body = sent
				}
				assert.PanicsWithValue(t, "no trace", func() { _, _ = rt.RoundTrip(req) })
				assert.Equal(t, req.Body != nil, sent.closes.Load() == 1)
				rested(t, rt)
			})
		})
	}
}

// An untraceable context panics when it is asked for what httptrace keeps in it.
type untraceable struct{ context.Context }

func (u untraceable) Value(key any) any {
	if strings.Contains(fmt.Sprintf("%T", key), "httptrace") {
		panic("no trace")
	}
	return u.Context.Value(key)
}

// A copy is made on the goroutine of whoever's event led to it, which may be a timer's.
func TestAContextThatPanicsWhenItsRequestIsCopiedEndsNoProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		rt := start(t, silent, respawn.WithFactory(stubs().Make))
		var sour atomic.Bool
		go func() {
			assert.PanicsWithValue(t, "no trace", func() { // at the first attempt that is its caller's
				_, _ = rt.RoundTrip(request(souring{t.Context(), &sour}, http.MethodGet, "http://a.test/", nil))
			})
		}()
		synctest.Wait()
		sour.Store(true)
		time.Sleep(time.Minute)
		require.Len(t, rt.Health().OpenOutages, 1, "its silence has tripped the authority")
		for range 2 { // a candidate could not help the first one, so the proof takes a second answer
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err, "another one is copied")
			time.Sleep(time.Minute)
		}
		rested(t, rt)
	})
}

// A souring context turns into an untraceable one.
type souring struct {
	context.Context
	sour *atomic.Bool
}

func (s souring) Value(key any) any {
	if s.sour.Load() {
		return untraceable{s.Context}.Value(key)
	}
	return s.Context.Value(key)
}
