package respawn

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/respawnhttp/respawn/internal/evidence"
)

// rtFunc is a RoundTripper made of a function.
type rtFunc func(*http.Request) (*http.Response, error)

func (f rtFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// refused is what net/http returns when nobody listens.
func refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// stub is a RoundTripper that keeps the contract: it reads and closes the
// request's body, unless it fails, when it only closes it.
type stub struct {
	err   atomic.Pointer[error] // nil: answer
	delay time.Duration
	calls atomic.Int64
	idle  atomic.Int64 // calls of CloseIdleConnections
	shut  atomic.Int64 // calls of Close
	ended atomic.Pointer[error]
}

func dead(err error) *stub {
	s := &stub{}
	s.err.Store(&err)
	return s
}

func (s *stub) RoundTrip(req *http.Request) (*http.Response, error) {
	s.calls.Add(1)
	if s.delay > 0 {
		select {
		case <-time.After(s.delay):
		case <-req.Context().Done():
			closeBody(req)
			return nil, context.Cause(req.Context())
		case <-evidence.LegacyCancel(req):
			closeBody(req)
			return nil, errors.New("net/http: request canceled")
		}
	}
	if err := s.err.Load(); err != nil {
		closeBody(req)
		return nil, *err
	}
	return answer(req)
}

func (s *stub) CloseIdleConnections() { s.idle.Add(1) }

func (s *stub) Close() error { s.shut.Add(1); return nil }

// sessionStub can say that it has ended, as http.ClientConn does.
type sessionStub struct{ stub }

func (s *sessionStub) Err() error {
	if err := s.ended.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *sessionStub) end(err error) { s.ended.Store(&err); s.err.Store(&err) }

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// answer is a 200 whose body is the request's.
func answer(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			closeBody(req)
			return nil, err
		}
		closeBody(req)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(sent))), Request: req,
	}, nil
}

// factory counts its calls and returns what build says.
type factory struct {
	calls atomic.Int64
	build func(n int64, ctx context.Context) (http.RoundTripper, error)
}

func (f *factory) make(ctx context.Context) (http.RoundTripper, error) {
	return f.build(f.calls.Add(1), ctx)
}

// builds is a factory that always succeeds.
func builds(build func() http.RoundTripper) *factory {
	return &factory{build: func(int64, context.Context) (http.RoundTripper, error) { return build(), nil }}
}

func every(d time.Duration) Option {
	return WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(d) })
}

// probe is the telemetry of one client, in memory.
type probe struct {
	t       testing.TB
	spans   *tracetest.SpanRecorder
	tracers *sdktrace.TracerProvider
	reader  *sdkmetric.ManualReader
	meters  *sdkmetric.MeterProvider

	mu   sync.Mutex
	logs []record
}

type record struct {
	slog.Record
	ctx   context.Context
	attrs map[string]any
}

func newProbe(t testing.TB) *probe {
	p := &probe{t: t, spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	p.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p.spans))
	p.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(p.reader))
	return p
}

// options are the telemetry options of the client under test.
func (p *probe) options() []Option {
	return []Option{WithTracerProvider(p.tracers), WithMeterProvider(p.meters), WithLogger(slog.New(p))}
}

func (p *probe) Enabled(context.Context, slog.Level) bool { return true }
func (p *probe) WithAttrs([]slog.Attr) slog.Handler       { return p }
func (p *probe) WithGroup(string) slog.Handler            { return p }
func (p *probe) Handle(ctx context.Context, r slog.Record) error {
	attrs := map[string]any{}
	r.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.Any(); return true })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logs = append(p.logs, record{r, ctx, attrs})
	return nil
}

// logged returns the records whose message contains part.
func (p *probe) logged(part string) []record {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []record
	for _, r := range p.logs {
		if strings.Contains(r.Message, part) {
			found = append(found, r)
		}
	}
	return found
}

// warnings returns the records at Warn.
func (p *probe) warnings() []record {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []record
	for _, r := range p.logs {
		if r.Level == slog.LevelWarn {
			found = append(found, r)
		}
	}
	return found
}

// recreations returns the ended spans.
func (p *probe) recreations() []sdktrace.ReadOnlySpan {
	require.Len(p.t, p.spans.Started(), len(p.spans.Ended()), "every span that was started has ended")
	return p.spans.Ended()
}

// outcomes counts the ended spans by trigger and outcome, as in
// "connection_refused promoted".
func (p *probe) outcomes() map[string]int {
	n := map[string]int{}
	for _, s := range p.recreations() {
		a := attributesOf(s.Attributes())
		n[a["respawn.trigger"].(string)+" "+a["respawn.outcome"].(string)]++
	}
	return n
}

func attributesOf(kvs []attribute.KeyValue) map[string]any {
	m := map[string]any{}
	for _, kv := range kvs {
		m[string(kv.Key)] = kv.Value.AsInterface()
	}
	return m
}

// metric collects and returns the named metric.
func (p *probe) metric(name string) metricdata.Metrics {
	p.t.Helper()
	var rm metricdata.ResourceMetrics
	require.NoError(p.t, p.reader.Collect(context.Background(), &rm))
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			if m.Name == name {
				return m
			}
		}
	}
	return metricdata.Metrics{}
}

// total is the sum over all points of a counter or gauge.
func (p *probe) total(name string) int64 {
	p.t.Helper()
	var n int64
	switch data := p.metric(name).Data.(type) {
	case metricdata.Sum[int64]:
		for _, pt := range data.DataPoints {
			n += pt.Value
		}
	case metricdata.Gauge[int64]:
		for _, pt := range data.DataPoints {
			n += pt.Value
		}
	}
	return n
}

// start makes the client under test and closes it at the end.
func start(t testing.TB, base http.RoundTripper, opts ...Option) *RecoveringRoundTripper {
	t.Helper()
	rt, err := New(base, append([]Option{WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rt.Close()) })
	return rt
}

// get sends a GET and returns the status, with the body read and closed.
func get(ctx context.Context, rt http.RoundTripper, url string) (int, error) {
	return do(rt, mustRequest(ctx, http.MethodGet, url, nil))
}

func mustRequest(ctx context.Context, method, url string, body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		panic(err)
	}
	return req
}

func do(rt http.RoundTripper, req *http.Request) (int, error) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	return resp.StatusCode, err
}
