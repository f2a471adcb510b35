package respawn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/body"
)

// incident is a request to a dead transport, as a child of a CLIENT span, 2 s
// after another one has failed.
func incident(t *testing.T, p *probe, f Factory, opts ...Option) (rt *RecoveringRoundTripper, first, trial trace.Span) {
	t.Helper()
	rt = start(t, dead(refused()), append(append(p.options(), WithName("llm"), WithFactory(f)), opts...)...)
	tracer := p.tracers.Tracer("test")
	post := func() (trace.Span, error) {
		ctx, span := tracer.Start(t.Context(), "POST", trace.WithSpanKind(trace.SpanKindClient))
		defer span.End()
		_, err := get(ctx, rt, "https://API.test/v1?key=secret")
		return span, err
	}
	rt.cfg.Replay = body.Never
	first, err := post()
	require.Error(t, err)
	rt.cfg.Replay = body.Idempotent
	time.Sleep(2 * time.Second)
	trial, _ = post()
	return rt, first, trial
}

func recreationOf(t *testing.T, p *probe) sdktrace.ReadOnlySpan {
	t.Helper()
	var found []sdktrace.ReadOnlySpan
	for _, s := range p.spans.Ended() {
		if s.InstrumentationScope().Name == scopeName {
			found = append(found, s)
		}
	}
	require.Len(t, found, 1)
	return found[0]
}

func TestSpanOfAPromotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		_, first, trial := incident(t, p, func(ctx context.Context) (http.RoundTripper, error) {
			assert.True(t, trace.SpanFromContext(ctx).IsRecording(), "the factory's own spans are children of the recreation's")
			time.Sleep(250 * time.Millisecond)
			return &stub{}, nil
		})
		s := recreationOf(t, p)
		assert.Equal(t, "HTTP transport_recreation", s.Name())
		assert.Equal(t, trace.SpanKindInternal, s.SpanKind())
		assert.Equal(t, trial.SpanContext().SpanID(), s.Parent().SpanID(), "child of the request that made the trial")
		require.Len(t, s.Links(), 1, "links to the earlier failing requests, not to its own parent")
		assert.True(t, s.Links()[0].SpanContext.Equal(first.SpanContext()))
		assert.Equal(t, sdktrace.Status{Code: codes.Unset}, s.Status(), "never Ok")
		assert.Empty(t, s.Events(), "never RecordError")
		assert.Equal(t, 250*time.Millisecond, s.EndTime().Sub(s.StartTime()))
		assert.Equal(t, Version, s.InstrumentationScope().Version)
		assert.Equal(t, semconv.SchemaURL, s.InstrumentationScope().SchemaURL)
		assert.Equal(t, map[string]any{
			"respawn.name":                 "llm",
			"respawn.trigger":              "connection_refused",
			"respawn.outcome":              "promoted",
			"respawn.failure.count":        int64(3),
			"respawn.transport.generation": int64(2),
			"respawn.backoff.delay":        0.0,
			"respawn.outage.duration":      2.25,
			"server.address":               "api.test",
			"server.port":                  int64(443),
			"url.scheme":                   "https",
		}, attributesOf(s.Attributes()))
	})
}

func TestSpanOfARejection(t *testing.T) {
	for _, tt := range []struct {
		kind string
		f    Factory
	}{
		{"connection_refused", func(context.Context) (http.RoundTripper, error) { return dead(refused()), nil }},
		{"*errors.errorString", func(context.Context) (http.RoundTripper, error) { return nil, errors.New("secret") }},
		{"factory_nil", func(context.Context) (http.RoundTripper, error) { return nil, nil }},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newProbe(t)
			incident(t, p, tt.f)
			s := recreationOf(t, p)
			a := attributesOf(s.Attributes())
			assert.Equal(t, "rejected", a["respawn.outcome"])
			assert.Equal(t, tt.kind, a["error.type"])
			assert.EqualValues(t, 1, a["respawn.transport.generation"], "the one that stays")
			assert.Equal(t, sdktrace.Status{Code: codes.Error}, s.Status(), "with no description: texts hold secrets")
			assert.Empty(t, s.Events())
		})
	}
}

func TestSpanOfASlowUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		slow := func() http.RoundTripper { return &stub{delay: time.Second} }
		rt := start(t, slow(), append(p.options(), WithFactory(builds(slow).make))...)
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
			get(ctx, rt, "http://a.test/")
			cancel()
		}
		status, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, 200, status)
		s := p.recreations()[0]
		a := attributesOf(s.Attributes())
		assert.Equal(t, "stall", a["respawn.trigger"])
		assert.Equal(t, "rejected", a["respawn.outcome"])
		assert.NotEmpty(t, a["error.type"])
	})
	// The trial's caller has all the time: the answer comes, but no sooner.
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		slow := func() http.RoundTripper { return &stub{delay: time.Second} }
		rt := start(t, slow(), append(p.options(), WithFactory(builds(slow).make))...)
		for range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
			get(ctx, rt, "http://a.test/")
			cancel()
		}
		status, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err, "the answer still goes to its caller")
		assert.Equal(t, 200, status)
		require.Len(t, p.recreations(), 1)
		assert.Equal(t, "upstream_slow", attributesOf(p.recreations()[0].Attributes())["error.type"])
		assert.EqualValues(t, 1, rt.Health().Generation)
	})
}

func TestSpansWithoutARequest(t *testing.T) {
	t.Run("max age is a new root", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newProbe(t)
			start(t, &stub{}, append(p.options(), WithMaxAge(time.Minute), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))...)
			time.Sleep(80 * time.Second)
			s := recreationOf(t, p)
			assert.False(t, s.Parent().IsValid())
			a := attributesOf(s.Attributes())
			assert.Equal(t, "max_age", a["respawn.trigger"])
			assert.Equal(t, "promoted", a["respawn.outcome"])
			assert.NotContains(t, a, "server.address", "no authority asked for it")
			assert.NotContains(t, a, "respawn.outage.duration")
		})
	})
	t.Run("manual is a child of its caller", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newProbe(t)
			rt := start(t, &stub{}, append(p.options(), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))...)
			ctx, span := p.tracers.Tracer("test").Start(t.Context(), "SIGHUP")
			require.NoError(t, rt.Recreate(ctx))
			span.End()
			s := recreationOf(t, p)
			assert.Equal(t, span.SpanContext().SpanID(), s.Parent().SpanID())
			a := attributesOf(s.Attributes())
			assert.Equal(t, "manual", a["respawn.trigger"])
			assert.Equal(t, "promoted", a["respawn.outcome"])
		})
	})
}

// Without WithTracerProvider the request's own provider is used.
func TestTracerOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		rt := start(t, dead(refused()), WithMeterProvider(p.meters), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
		ctx, span := p.tracers.Tracer("test").Start(t.Context(), "GET")
		_, err := get(ctx, rt, "http://a.test/")
		require.NoError(t, err)
		span.End()
		assert.Equal(t, span.SpanContext().TraceID(), recreationOf(t, p).SpanContext().TraceID())
	})
}

func TestLinksAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		rt := start(t, dead(refused()), append(p.options(), WithThreshold(50), WithReplay(ReplayNever),
			WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))...)
		for range 50 {
			ctx, span := p.tracers.Tracer("test").Start(t.Context(), "GET")
			get(ctx, rt, "http://a.test/")
			span.End()
		}
		_, err := get(t.Context(), rt, "http://a.test/") // no span: no link, no parent
		require.NoError(t, err)
		s := recreationOf(t, p)
		assert.Len(t, s.Links(), 8)
		assert.False(t, s.Parent().IsValid())
	})
}

func TestResendCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		_, first, trial := incident(t, p, builds(func() http.RoundTripper { return &stub{} }).make)
		for _, s := range p.spans.Ended() {
			n, ok := attributesOf(s.Attributes())["http.request.resend_count"]
			switch s.SpanContext().SpanID() {
			case trial.SpanContext().SpanID():
				assert.EqualValues(t, 2, n, "two failures on the dead one, and the trial")
			case first.SpanContext().SpanID():
				assert.False(t, ok, "was not sent again")
			}
		}
		assert.EqualValues(t, 2, p.total("respawn.request.replays"))
	})
	synctest.Test(t, func(t *testing.T) { // semconv defines it for CLIENT spans only
		p := newProbe(t)
		rt := start(t, dead(refused()), append(p.options(), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))...)
		ctx, span := p.tracers.Tracer("test").Start(t.Context(), "work")
		_, err := get(ctx, rt, "http://a.test/")
		require.NoError(t, err)
		span.End()
		for _, s := range p.spans.Ended() {
			assert.NotContains(t, attributesOf(s.Attributes()), "http.request.resend_count")
		}
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		rt, _, _ := incident(t, p, func(context.Context) (http.RoundTripper, error) {
			time.Sleep(250 * time.Millisecond)
			return &stub{}, nil
		})
		resp, err := rt.RoundTrip(mustRequest(t.Context(), http.MethodGet, "http://a.test/", nil))
		require.NoError(t, err)
		defer resp.Body.Close()

		name := attribute.String("respawn.name", "llm")
		refused := attribute.String("respawn.trigger", "connection_refused")
		promoted := attribute.String("respawn.outcome", "promoted")
		for _, tt := range []struct {
			metric, unit string
			value        int64
			attributes   attribute.Set
		}{
			{"respawn.transport.recreations", "{recreation}", 1, attribute.NewSet(name, refused, promoted)},
			{"respawn.transport.failures", "{failure}", 3, attribute.NewSet(name, refused)},
			{"respawn.request.replays", "{replay}", 2, attribute.NewSet(name)},
			{"respawn.transport.generation", "{generation}", 2, attribute.NewSet(name)},
			{"respawn.transport.in_flight", "{request}", 1, attribute.NewSet(name)},
			{"respawn.transport.draining", "{generation}", 0, attribute.NewSet(name)},
		} {
			m := p.metric(tt.metric)
			assert.Equal(t, tt.unit, m.Unit, tt.metric)
			var points []metricdata.DataPoint[int64]
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				assert.True(t, data.IsMonotonic)
				points = data.DataPoints
			case metricdata.Gauge[int64]:
				points = data.DataPoints
			}
			if assert.Len(t, points, 1, tt.metric) {
				assert.Equal(t, tt.value, points[0].Value, tt.metric)
				assert.True(t, points[0].Attributes.Equals(&tt.attributes), "%s: %v", tt.metric, points[0].Attributes)
			}
		}
		for _, tt := range []struct {
			metric     string
			sum        float64
			attributes attribute.Set
		}{
			{"respawn.transport.recreation.duration", 0.25, attribute.NewSet(name, refused, promoted)},
			{"respawn.recovery.duration", 2.25, attribute.NewSet(name, refused)},
		} {
			m := p.metric(tt.metric)
			assert.Equal(t, "s", m.Unit)
			points := m.Data.(metricdata.Histogram[float64]).DataPoints
			require.Len(t, points, 1, tt.metric)
			assert.EqualValues(t, 1, points[0].Count)
			assert.Equal(t, tt.sum, points[0].Sum, tt.metric)
			assert.Equal(t, 0.01, points[0].Bounds[0])
			assert.Equal(t, 300.0, points[0].Bounds[len(points[0].Bounds)-1])
			assert.True(t, points[0].Attributes.Equals(&tt.attributes), "%v", points[0].Attributes)
			require.Len(t, points[0].Exemplars, 1, "an exemplar leads from the chart to the trace")
			assert.Equal(t, recreationOf(t, p).SpanContext().SpanID(), trace.SpanID(points[0].Exemplars[0].SpanID))
		}
	})
}

// A factory that comes back after an outage: one "recovered" with its true
// length, whatever happened in between.
func TestLogsOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		begin := time.Now()
		rt := start(t, dead(refused()), append(p.options(), WithName("llm"), every(time.Second), WithFactory(func(context.Context) (http.RoundTripper, error) {
			if time.Since(begin) < 7500*time.Millisecond {
				return nil, errors.New("no route to secret")
			}
			return &stub{}, nil
		}))...)
		for range 100 {
			get(t.Context(), rt, "http://a.test/")
			time.Sleep(100 * time.Millisecond)
		}
		require.Len(t, p.logged("tripped"), 1)
		assert.Equal(t, "WARN", p.logged("tripped")[0].Level.String())
		assert.Equal(t, map[string]any{
			"respawn.name": "llm", "server.address": "a.test", "server.port": int64(80),
			"respawn.trigger": "connection_refused", "respawn.failure.count": int64(3), "respawn.transport.generation": uint64(1),
		}, p.logged("tripped")[0].attrs)
		assert.Len(t, p.logged("rejected"), 8)
		assert.Len(t, p.warnings(), 9)
		recovered := p.logged("recovered")
		require.Len(t, recovered, 1)
		assert.Equal(t, "INFO", recovered[0].Level.String())
		assert.Equal(t, 8.0, recovered[0].attrs["respawn.outage.duration"])
		last := p.recreations()[8]
		assert.Equal(t, last.SpanContext().SpanID(), trace.SpanContextFromContext(recovered[0].ctx).SpanID(), "with the span's context")
		points := p.metric("respawn.recovery.duration").Data.(metricdata.Histogram[float64]).DataPoints
		require.Len(t, points, 1)
		assert.EqualValues(t, 1, points[0].Count)
		assert.Equal(t, 8.0, points[0].Sum)
		for _, r := range p.logs {
			for k, v := range r.attrs {
				assert.NotContains(t, fmt.Sprint(v), "secret", k)
			}
		}
	})
}

func TestBackoffDelayOnTheSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		rt := start(t, dead(refused()), append(p.options(), every(5*time.Second), WithFactory(builds(func() http.RoundTripper { return dead(refused()) }).make))...)
		for range 60 {
			get(t.Context(), rt, "http://a.test/")
			time.Sleep(100 * time.Millisecond)
		}
		require.Len(t, p.recreations(), 2)
		assert.Equal(t, 0.0, attributesOf(p.recreations()[0].Attributes())["respawn.backoff.delay"])
		assert.Equal(t, 5.0, attributesOf(p.recreations()[1].Attributes())["respawn.backoff.delay"])
	})
}

func TestGaugesEndWithClose(t *testing.T) {
	p := newProbe(t)
	rt := start(t, &stub{}, append(p.options(), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))...)
	require.EqualValues(t, 1, p.total("respawn.transport.generation"))
	require.NoError(t, rt.Close())
	assert.Zero(t, p.total("respawn.transport.generation"))
}

// What never tripped was no outage: nothing to recover from.
func TestNoRecoveryWithoutATrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t)
		base := dead(refused())
		rt := start(t, base, append(p.options(), WithReplay(ReplayNever), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))...)
		get(t.Context(), rt, "http://a.test/")
		get(t.Context(), rt, "http://a.test/")
		base.err.Store(nil)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Empty(t, p.logs)
		assert.Nil(t, p.metric("respawn.recovery.duration").Data)
	})
}
