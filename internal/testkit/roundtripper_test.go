package testkit

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// closing notices that a body is closed.
type closing struct {
	io.Reader
	closes int
}

func (c *closing) Close() error { c.closes++; return nil }

func TestStub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Stub{Delay: time.Second}
		body := &closing{Reader: strings.NewReader("hello")}
		begin := time.Now()
		resp, err := s.RoundTrip(Request(t.Context(), http.MethodPost, "http://a.test/", body))
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(got))
		assert.Equal(t, time.Second, time.Since(begin))
		assert.Equal(t, 1, body.closes)

		s.Fail(io.ErrUnexpectedEOF)
		_, err = s.RoundTrip(Request(t.Context(), http.MethodPost, "http://a.test/", body))
		assert.Equal(t, io.ErrUnexpectedEOF, err)
		assert.Equal(t, 2, body.closes)
		s.Fail(nil)
		code, err := Get(t.Context(), s, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, code)

		left := errors.New("the caller has left")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, left)
		defer cancel()
		_, err = s.RoundTrip(Request(ctx, http.MethodPost, "http://a.test/", body))
		assert.Equal(t, left, err)
		req := Request(t.Context(), http.MethodPost, "http://a.test/", body)
		canceled := make(chan struct{})
		//lint:ignore SA1019 http.Client sets it
		req.Cancel = canceled
		close(canceled)
		_, err = s.RoundTrip(req)
		assert.ErrorContains(t, err, "request canceled")
		assert.Equal(t, 4, body.closes)

		broken := &closing{Reader: iotest.ErrReader(io.ErrNoProgress)}
		_, err = Do(&Stub{}, Request(t.Context(), http.MethodPost, "http://a.test/", broken))
		assert.Equal(t, io.ErrNoProgress, err)
		assert.Equal(t, 1, broken.closes)

		s.CloseIdleConnections()
		assert.NoError(t, s.Close())
		assert.Equal(t, []int64{5, 1, 1}, []int64{s.Calls.Load(), s.IdleCloses.Load(), s.Closes.Load()})
	})
}

func TestSessionStub(t *testing.T) {
	s := &SessionStub{}
	assert.NoError(t, s.Err())
	s.End(io.EOF)
	assert.Equal(t, io.EOF, s.Err())
	_, err := Get(t.Context(), s, "http://a.test/")
	assert.Equal(t, io.EOF, err)
}

func TestDo(t *testing.T) {
	body := &closing{Reader: iotest.ErrReader(io.ErrUnexpectedEOF)}
	rt := RoundTripperFunc(func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 404, Body: body}, nil })
	code, err := Get(t.Context(), rt, "http://a.test/")
	assert.Equal(t, 404, code)
	assert.Equal(t, io.ErrUnexpectedEOF, err)
	assert.Equal(t, 1, body.closes)
	assert.Panics(t, func() { Request(t.Context(), "no method", "http://a.test/", nil) })
}

func TestFactory(t *testing.T) {
	f := NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
		if call == 1 {
			return nil, io.EOF
		}
		return &Stub{}, nil
	})
	_, err := f.Make(t.Context())
	assert.Equal(t, io.EOF, err)
	_, err = f.Make(t.Context())
	assert.NoError(t, err)
	assert.EqualValues(t, 2, f.Calls.Load())

	s := Dead(Refused())
	got, err := Builds(func() http.RoundTripper { return s }).Make(t.Context())
	require.NoError(t, err)
	assert.Same(t, s, got)
	_, err = Fails(io.EOF).Make(t.Context())
	assert.Equal(t, io.EOF, err)
}

func TestProbe(t *testing.T) {
	p := NewProbe(t)
	tracer := p.TracerProvider().Tracer("test")
	ctx, span := tracer.Start(t.Context(), "recreation", trace.WithAttributes(
		attribute.String("respawn.trigger", "stall"), attribute.String("respawn.outcome", "promoted")))
	span.End()
	assert.Len(t, p.Spans(), 1)
	assert.Equal(t, map[string]int{"stall promoted": 1}, p.Outcomes())
	assert.Equal(t, map[string]any{"respawn.trigger": "stall", "respawn.outcome": "promoted"}, Attributes(p.Recreations()[0].Attributes()))

	meter := p.MeterProvider().Meter("test")
	counter, err := meter.Int64Counter("counter")
	require.NoError(t, err)
	counter.Add(ctx, 2, metric.WithAttributes(attribute.Int("n", 1)))
	counter.Add(ctx, 3)
	gauge, err := meter.Int64Gauge("gauge")
	require.NoError(t, err)
	gauge.Record(ctx, 7)
	assert.EqualValues(t, 5, p.Total("counter"))
	assert.EqualValues(t, 7, p.Total("gauge"))
	assert.Zero(t, p.Total("nothing"))
	assert.Equal(t, "counter", p.Metric("counter").Name)

	p.Logger().WarnContext(ctx, "swapped", "generation", 2)
	p.Logger().Info("recovered")
	p.Logger().Debug("detail")
	require.Len(t, p.Warnings(), 1)
	assert.Equal(t, map[string]any{"generation": int64(2)}, p.Warnings()[0].Attrs)
	assert.Equal(t, ctx, p.Warnings()[0].Context)
	assert.Len(t, p.Logged("cover"), 1)
	assert.Len(t, p.Logs(nil), 3)
	assert.Equal(t, slog.LevelDebug, p.Logged("detail")[0].Level)
}
