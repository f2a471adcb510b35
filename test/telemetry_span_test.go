package test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// incident is a GET to a dead transport, as a child of a CLIENT span, 2 s after a
// POST that was sent and lost: a reset, two refusals, the control, the trial.
func incident(t *testing.T, p *testkit.Probe, f respawn.Factory, opts ...respawn.Option) (rt *respawn.RecoveringRoundTripper, first, trial trace.Span) {
	t.Helper()
	base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodPost {
			return lost(req)
		}
		return unsent(req)
	})
	rt = start(t, base, append(append(observed(p), respawn.WithName("llm"), respawn.WithFactory(f)), opts...)...)
	send := func(method string) (trace.Span, error) {
		ctx, span := p.TracerProvider().Tracer("test").Start(t.Context(), method, trace.WithSpanKind(trace.SpanKindClient))
		defer span.End()
		_, err := testkit.Do(rt, request(ctx, method, "https://API.test/v1?key=secret", nil))
		return span, err
	}
	first, err := send(http.MethodPost)
	require.Error(t, err)
	time.Sleep(2 * time.Second)
	trial, _ = send(http.MethodGet)
	synctest.Wait()
	return rt, first, trial
}

const respawnScope = "github.com/respawnhttp/respawn"

// recreationOf returns the one span that is respawn's own.
func recreationOf(t *testing.T, p *testkit.Probe) sdktrace.ReadOnlySpan {
	t.Helper()
	synctest.Wait()
	var found []sdktrace.ReadOnlySpan
	for _, s := range p.Spans() {
		if s.InstrumentationScope().Name == respawnScope {
			found = append(found, s)
		}
	}
	require.Len(t, found, 1)
	return found[0]
}

// Nothing has failed yet: those that wait in silence are what led to the recreation.
func TestASpanLinksToThoseThatWaitInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, staysSilent(nil), append(observed(p), patient(5*time.Second), respawn.WithFactory(stubs().Make))...)
		var waiting []trace.SpanID
		for range 3 {
			ctx, span := p.TracerProvider().Tracer("test").Start(t.Context(), "GET")
			waiting = append(waiting, span.SpanContext().SpanID())
			go func() {
				defer span.End()
				_, _ = get(ctx, rt, "http://a.test/")
			}()
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		s := recreationOf(t, p)
		leads := []trace.SpanID{s.Parent().SpanID()}
		for _, link := range s.Links() {
			leads = append(leads, link.SpanContext.SpanID())
		}
		assert.ElementsMatch(t, waiting, leads)
	})
}

func TestSpanOfAPromotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		_, first, trial := incident(t, p, func(ctx context.Context) (http.RoundTripper, error) {
			assert.True(t, trace.SpanFromContext(ctx).IsRecording(), "the factory's own spans are children of the recreation's")
			time.Sleep(250 * time.Millisecond)
			return &testkit.Stub{}, nil
		})
		s := recreationOf(t, p)
		assert.Equal(t, "HTTP transport_recreation", s.Name())
		assert.Equal(t, trace.SpanKindInternal, s.SpanKind())
		assert.Equal(t, trial.SpanContext().SpanID(), s.Parent().SpanID(), "child of the request that it was built for")
		require.Len(t, s.Links(), 1, "links to the earlier failing requests, not to its own parent")
		assert.True(t, s.Links()[0].SpanContext.Equal(first.SpanContext()))
		assert.Equal(t, sdktrace.Status{Code: codes.Unset}, s.Status(), "never Ok")
		assert.Empty(t, s.Events(), "never RecordError")
		assert.Equal(t, 250*time.Millisecond, s.EndTime().Sub(s.StartTime()))
		assert.Equal(t, respawn.Version, s.InstrumentationScope().Version)
		assert.Equal(t, semconv.SchemaURL, s.InstrumentationScope().SchemaURL)
		assert.Equal(t, map[string]any{
			"respawn.name":                 "llm",
			"respawn.trigger":              "connection_refused",
			"respawn.outcome":              "promoted",
			"respawn.failure.count":        int64(4), // the control among them
			"respawn.transport.generation": int64(2),
			"respawn.transport.age":        2.25, // of the one that was replaced
			"network.protocol.version":     "1.1",
			"respawn.backoff.delay":        0.0,
			"respawn.outage.duration":      2.25,
			"server.address":               "api.test",
			"server.port":                  int64(443),
			"url.scheme":                   "https",
		}, testkit.Attributes(s.Attributes()))
	})
}

// An ownWord is an error with a word of its own for its kind.
type ownWord string

func (ownWord) Error() string       { return "no tunnel" }
func (w ownWord) ErrorType() string { return string(w) }

func TestSpanOfARejection(t *testing.T) {
	for _, tt := range []struct {
		kind    string
		f       respawn.Factory
		refused bool
	}{
		{"connection_refused", func(context.Context) (http.RoundTripper, error) { return testkit.Dead(testkit.Refused()), nil }, true},
		{"factory_error", func(context.Context) (http.RoundTripper, error) { return nil, errors.New("secret") }, false},
		{"factory_error", func(context.Context) (http.RoundTripper, error) { return nil, ownWord("factory_secret") }, false},
		{"factory_connection_reset", func(context.Context) (http.RoundTripper, error) { return nil, testkit.ConnReset() }, false},
		{"factory_nil", func(context.Context) (http.RoundTripper, error) { return nil, nil }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := testkit.NewProbe(t)
			incident(t, p, tt.f)
			s := recreationOf(t, p)
			a := testkit.Attributes(s.Attributes())
			assert.Equal(t, "rejected", a["respawn.outcome"])
			assert.Equal(t, tt.kind, a["error.type"])
			assert.EqualValues(t, 1, a["respawn.transport.generation"], "the one that stays")
			assert.Equal(t, 2.0, a["respawn.transport.age"], "the same")
			assert.NotContains(t, a, "network.protocol.version", "nothing was answered")
			assert.NotContains(t, a, "respawn.outage.duration", "it lasts")
			assert.Equal(t, sdktrace.Status{Code: codes.Error}, s.Status(), "with no description: texts hold secrets")
			if !tt.refused {
				assert.Empty(t, s.Events())
				return
			}
			require.Len(t, s.Events(), 1, "one for the verdict of each authority")
			assert.Equal(t, "respawn.refusal", s.Events()[0].Name)
			assert.Equal(t, s.EndTime(), s.Events()[0].Time)
			assert.Equal(t, map[string]any{
				"server.address": "api.test", "server.port": int64(443), "url.scheme": "https", "error.type": "connection_refused",
			}, testkit.Attributes(s.Events()[0].Attributes))
		})
	}
}

// A candidate that answered, and no faster than the transport in service, says that
// the upstream is slow.
func TestSpanOfASlowUpstream(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		current, fresh, answer time.Duration
		kind                   string
	}{
		{"the candidate is no faster", 2900 * time.Millisecond, 1500 * time.Millisecond, 2500 * time.Millisecond, "upstream_slow"},
		{"the candidate is slower", 2900 * time.Millisecond, 2 * time.Second, 2900 * time.Millisecond, "current_recovered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testkit.NewProbe(t)
				rt := start(t, &testkit.Stub{Delay: tt.current}, append(observed(p),
					respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &testkit.Stub{Delay: tt.fresh} }).Make))...)
				for range 3 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_, err := get(ctx, rt, "http://a.test/")
					require.ErrorIs(t, err, context.DeadlineExceeded)
					cancel()
				}
				begin := time.Now()
				status, err := get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				assert.Equal(t, 200, status)
				assert.Equal(t, tt.answer, time.Since(begin), "the caller gets the first answer at once")
				time.Sleep(time.Second)
				synctest.Wait()
				require.Len(t, p.Recreations(), 1)
				a := testkit.Attributes(p.Recreations()[0].Attributes())
				assert.Equal(t, "stall", a["respawn.trigger"])
				assert.Equal(t, "rejected", a["respawn.outcome"])
				assert.Equal(t, tt.kind, a["error.type"])
				assert.EqualValues(t, 1, rt.Health().Generation)
				assert.Empty(t, p.Warnings(), "a false alarm pages nobody")
			})
		})
	}
}

func TestSpansWithoutARequest(t *testing.T) {
	t.Run("max age is a new root", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := testkit.NewProbe(t)
			start(t, &testkit.Stub{}, append(observed(p), respawn.WithMaxAge(time.Minute), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} }).Make))...)
			time.Sleep(80 * time.Second)
			s := recreationOf(t, p)
			assert.False(t, s.Parent().IsValid())
			a := testkit.Attributes(s.Attributes())
			assert.Equal(t, "max_age", a["respawn.trigger"])
			assert.Equal(t, "promoted", a["respawn.outcome"])
			assert.NotContains(t, a, "server.address", "no authority asked for it")
			assert.NotContains(t, a, "respawn.outage.duration")
		})
	})
	t.Run("manual is a child of its caller", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := testkit.NewProbe(t)
			rt := start(t, &testkit.Stub{}, append(observed(p), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} }).Make))...)
			ctx, span := p.TracerProvider().Tracer("test").Start(t.Context(), "SIGHUP")
			require.NoError(t, rt.Recreate(ctx))
			span.End()
			s := recreationOf(t, p)
			assert.Equal(t, span.SpanContext().SpanID(), s.Parent().SpanID())
			a := testkit.Attributes(s.Attributes())
			assert.Equal(t, "manual", a["respawn.trigger"])
			assert.Equal(t, "promoted", a["respawn.outcome"])
		})
	})
}

// Without WithTracerProvider the request's own provider is used.
func TestTracerOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithMeterProvider(p.MeterProvider()), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} }).Make))
		ctx, span := p.TracerProvider().Tracer("test").Start(t.Context(), "GET")
		_, err := get(ctx, rt, "http://a.test/")
		require.NoError(t, err)
		span.End()
		assert.Equal(t, span.SpanContext().TraceID(), recreationOf(t, p).SpanContext().TraceID())
	})
}

// A request makes up to three attempts in service. Its failures are one link.
func TestASpanLinksOnceToARequestThatFailedThrice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), respawn.WithThreshold(4), respawn.WithFactory(stubs().Make))...)
		ctx, first := p.TracerProvider().Tracer("test").Start(t.Context(), "GET")
		_, err := get(ctx, rt, "http://a.test/")
		require.Error(t, err)
		first.End()
		ctx, second := p.TracerProvider().Tracer("test").Start(t.Context(), "GET")
		_, err = get(ctx, rt, "http://a.test/")
		require.NoError(t, err)
		second.End()
		s := recreationOf(t, p)
		assert.EqualValues(t, 5, testkit.Attributes(s.Attributes())["respawn.failure.count"], "three of the first, and the control")
		require.Len(t, s.Links(), 1)
		assert.Equal(t, first.SpanContext().SpanID(), s.Links()[0].SpanContext.SpanID())
	})
}

func TestLinksAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), respawn.WithThreshold(50), respawn.WithReplay(respawn.ReplayNever),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} }).Make))...)
		for range 50 {
			ctx, span := p.TracerProvider().Tracer("test").Start(t.Context(), "GET")
			_, _ = get(ctx, rt, "http://a.test/")
			span.End()
		}
		_, err := get(t.Context(), rt, "http://a.test/") // no span: no link, no parent
		require.NoError(t, err)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.Error(t, err, "the control of what may be asked only once")
		s := recreationOf(t, p)
		assert.Len(t, s.Links(), 8)
		assert.False(t, s.Parent().IsValid())
	})
}

func TestResendCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		_, first, trial := incident(t, p, testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} }).Make)
		for _, s := range p.Spans() {
			n, ok := testkit.Attributes(s.Attributes())["http.request.resend_count"]
			switch s.SpanContext().SpanID() {
			case trial.SpanContext().SpanID():
				assert.EqualValues(t, 3, n, "two failures on the dead one, the control, and the trial")
			case first.SpanContext().SpanID():
				assert.False(t, ok, "was not sent again")
			}
		}
		assert.EqualValues(t, 3, p.Total("respawn.request.replays"))
	})
	synctest.Test(t, func(t *testing.T) { // semconv defines it for CLIENT spans only
		p := testkit.NewProbe(t)
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} }).Make))...)
		ctx, span := p.TracerProvider().Tracer("test").Start(t.Context(), "work")
		_, err := get(ctx, rt, "http://a.test/")
		require.NoError(t, err)
		span.End()
		for _, s := range p.Spans() {
			assert.NotContains(t, testkit.Attributes(s.Attributes()), "http.request.resend_count")
		}
	})
}
