package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt, _, _ := incident(t, p, func(context.Context) (http.RoundTripper, error) {
			time.Sleep(250 * time.Millisecond)
			return &testkit.Stub{}, nil
		})
		synctest.Wait()
		resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/", nil))
		require.NoError(t, err)
		defer resp.Body.Close()

		name := attribute.String("respawn.name", "llm")
		refused := attribute.String("respawn.trigger", "connection_refused")
		reset := attribute.String("respawn.trigger", "connection_reset")
		promoted := attribute.String("respawn.outcome", "promoted")
		for _, tt := range []struct {
			metric, unit string
			value        int64
			attributes   attribute.Set
		}{
			{"respawn.transport.recreations", "{recreation}", 1, attribute.NewSet(name, promoted)},
			{"respawn.transport.recreations", "{recreation}", 0, attribute.NewSet(name, attribute.String("respawn.outcome", "rejected"))},
			{"respawn.transport.failures", "{failure}", 3, attribute.NewSet(name, refused)},
			{"respawn.transport.failures", "{failure}", 1, attribute.NewSet(name, reset)},
			{"respawn.request.replays", "{replay}", 3, attribute.NewSet(name)},
			{"respawn.transport.generation", "{generation}", 2, attribute.NewSet(name)},
			{"respawn.transport.in_flight", "{request}", 1, attribute.NewSet(name)},
			{"respawn.transport.draining", "{generation}", 0, attribute.NewSet(name)},
			{"respawn.authority.tripped", "{authority}", 0, attribute.NewSet(name)},
		} {
			m := p.Metric(tt.metric)
			assert.Equal(t, tt.unit, m.Unit, tt.metric)
			var points []metricdata.DataPoint[int64]
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				assert.Equal(t, !slices.Contains([]string{"respawn.transport.in_flight", "respawn.transport.draining", "respawn.authority.tripped"}, tt.metric), data.IsMonotonic)
				points = data.DataPoints
			case metricdata.Gauge[int64]:
				points = data.DataPoints
			}
			var values []int64
			for _, pt := range points {
				if pt.Attributes.Equals(&tt.attributes) {
					values = append(values, pt.Value)
				}
				own, _ := pt.Attributes.Value("respawn.name")
				assert.Equal(t, "llm", own.AsString(), tt.metric)
			}
			assert.Equal(t, []int64{tt.value}, values, "%s: %v", tt.metric, points)
		}
		for _, tt := range []struct {
			metric     string
			sum        float64
			attributes attribute.Set
		}{
			{"respawn.transport.recreation.duration", 0.25, attribute.NewSet(name, refused, promoted)},
			{"respawn.recovery.duration", 2.25, attribute.NewSet(name, refused)},
		} {
			m := p.Metric(tt.metric)
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
		p := testkit.NewProbe(t)
		begin := time.Now()
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), respawn.WithName("llm"), every(time.Second), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			if time.Since(begin) < 7500*time.Millisecond {
				return nil, errors.New("no route to secret")
			}
			return &testkit.Stub{}, nil
		}))...)
		for range 100 {
			_, _ = get(t.Context(), rt, "http://a.test/")
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		require.Len(t, p.Logged("tripped"), 1)
		assert.Equal(t, "INFO", p.Logged("tripped")[0].Level.String())
		assert.Equal(t, map[string]any{
			"respawn.name": "llm", "server.address": "a.test", "server.port": int64(80),
			"respawn.trigger": "connection_refused", "respawn.failure.count": int64(3), "respawn.transport.generation": uint64(1),
		}, p.Logged("tripped")[0].Attrs)
		require.Len(t, p.Logged("rejected"), 8)
		assert.Equal(t, "WARN", p.Logged("rejected")[0].Level.String())
		assert.Equal(t, map[string]any{
			"respawn.name": "llm", "server.address": "a.test", "server.port": int64(80), "respawn.trigger": "connection_refused",
			"respawn.transport.generation": uint64(1), "error.type": "factory_error",
		}, p.Logged("rejected")[0].Attrs)
		require.Len(t, p.Logged("in service"), 1)
		assert.Equal(t, "WARN", p.Logged("in service")[0].Level.String())
		assert.Equal(t, map[string]any{
			"respawn.name": "llm", "server.address": "a.test", "server.port": int64(80), "respawn.trigger": "connection_refused",
			"respawn.transport.generation": uint64(2),
		}, p.Logged("in service")[0].Attrs)
		assert.Len(t, p.Warnings(), 9)
		recovered := p.Logged("recovered")
		require.Len(t, recovered, 1)
		assert.Equal(t, "INFO", recovered[0].Level.String())
		assert.Equal(t, 8.0, recovered[0].Attrs["respawn.outage.duration"])
		last := p.Recreations()[8]
		assert.Equal(t, last.SpanContext().SpanID(), trace.SpanContextFromContext(recovered[0].Context).SpanID(), "with the span's context")
		points := p.Metric("respawn.recovery.duration").Data.(metricdata.Histogram[float64]).DataPoints
		require.Len(t, points, 1)
		assert.EqualValues(t, 1, points[0].Count)
		assert.Equal(t, 8.0, points[0].Sum)
		for _, r := range p.Logs(nil) {
			for k, v := range r.Attrs {
				assert.NotContains(t, fmt.Sprint(v), "secret", k)
			}
		}
	})
}

func TestBackoffDelayOnTheSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), every(5*time.Second), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return testkit.Dead(testkit.Refused()) }).Make))...)
		for range 60 {
			_, _ = get(t.Context(), rt, "http://a.test/")
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		require.Len(t, p.Recreations(), 2)
		assert.Equal(t, 0.0, testkit.Attributes(p.Recreations()[0].Attributes())["respawn.backoff.delay"])
		assert.Equal(t, 5.0, testkit.Attributes(p.Recreations()[1].Attributes())["respawn.backoff.delay"])
	})
}

// What never tripped was no outage: nothing to recover from.
func TestNoRecoveryWithoutATrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := testkit.Dead(testkit.Refused())
		rt := start(t, base, append(observed(p), respawn.WithReplay(respawn.ReplayNever), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} }).Make))...)
		_, _ = get(t.Context(), rt, "http://a.test/")
		_, _ = get(t.Context(), rt, "http://a.test/")
		base.Fail(nil)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		synctest.Wait()
		assert.Empty(t, p.Logs(nil))
		assert.Nil(t, p.Metric("respawn.recovery.duration").Data)
	})
}

// A transport that was well after all, and one that was replaced by plan, page nobody.
func TestNobodyIsPagedForAFalseAlarm(t *testing.T) {
	levels := func(p *testkit.Probe) (all []string) {
		for _, r := range p.Logs(nil) {
			all = append(all, fmt.Sprint(r.Level, " ", r.Message, " ", r.Attrs["error.type"]))
		}
		return all
	}
	t.Run("the control was answered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := testkit.NewProbe(t)
			rt := start(t, script(unsent, unsent, unsent, testkit.Answer), append(observed(p), respawn.WithFactory(fresh))...)
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			synctest.Wait()
			assert.Equal(t, []string{
				"INFO respawn: tripped, a fresh transport will be tried <nil>",
				"INFO respawn: recovered <nil>",
				"INFO respawn: fresh transport rejected, the current one stays current_recovered",
			}, levels(p))
		})
	})
	t.Run("by hand", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := testkit.NewProbe(t)
			rt := start(t, &testkit.Stub{}, append(observed(p), respawn.WithFactory(fresh))...)
			require.NoError(t, rt.Recreate(t.Context()))
			synctest.Wait()
			assert.Equal(t, []string{"INFO respawn: a fresh transport is in service <nil>"}, levels(p))
		})
	})
	t.Run("by hand, and the factory fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := testkit.NewProbe(t)
			rt := start(t, &testkit.Stub{}, append(observed(p), respawn.WithFactory(fails))...)
			require.ErrorIs(t, rt.Recreate(t.Context()), errFactory)
			synctest.Wait()
			assert.Equal(t, []string{"WARN respawn: fresh transport rejected, the current one stays factory_error"}, levels(p))
		})
	})
}

// A copy is a request sent again, and counts as one.
func TestCopiesCountAsReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, &testkit.Stub{}, append(observed(p), respawn.WithFactory(fresh))...)
		streaming := openStreams(t, rt, 1)
		recreated := make(chan error)
		go func() { recreated <- rt.Recreate(t.Context()) }()
		synctest.Wait()
		ctx, span := p.TracerProvider().Tracer("test").Start(t.Context(), "GET", trace.WithSpanKind(trace.SpanKindClient))
		_, err := get(ctx, rt, "http://a.test/")
		require.NoError(t, err)
		require.NoError(t, <-recreated)
		synctest.Wait()
		span.End()
		require.NoError(t, streaming[0].Close())
		assert.EqualValues(t, 1, p.Total("respawn.request.replays"))
		for _, s := range p.Spans() {
			if s.Name() == "GET" {
				assert.EqualValues(t, 1, testkit.Attributes(s.Attributes())["http.request.resend_count"])
			}
		}
	})
}

// A logger that blocks holds up nobody, and what it has not written yet is
// remembered all the same.
func TestALoggerThatBlocksHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		blocking := slog.New(blockingHandler{release})
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithLogger(blocking), respawn.WithFactory(fails), every(time.Minute))
		begin := time.Now()
		go func() { _, _ = get(t.Context(), rt, "http://b.test/") }() // delivers the first report, and waits
		synctest.Wait()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		assert.Zero(t, time.Since(begin))
		h := rt.Health()
		assert.Equal(t, respawn.StateFailing, h.State)
		assert.Equal(t, 1, h.Rejections)
		assert.Len(t, rt.Recreations(), 1)
		close(release)
		synctest.Wait()
	})
}

type blockingHandler struct{ release chan struct{} }

func (blockingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h blockingHandler) Handle(context.Context, slog.Record) error {
	<-h.release
	return nil
}
func (h blockingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h blockingHandler) WithGroup(string) slog.Handler      { return h }
