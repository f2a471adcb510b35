package wire

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// patience bounds what is sure to come; it fails a broken test, not a slow
// machine.
const patience = 30 * time.Second

// A stage is an upstream that speaks HTTP/2, and a recovering client of it whose
// network the test can break.
type stage struct {
	t       *testing.T
	url     string
	nowhere string // an address that refuses
	client  *http.Client
	rt      *respawn.RecoveringRoundTripper

	mu    sync.Mutex
	down  bool
	conns []*conn
}

func newStage(t *testing.T, traces *sdktrace.TracerProvider, metrics *sdkmetric.MeterProvider, logs *sdklog.LoggerProvider) *stage {
	t.Helper()
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	upstream.EnableHTTP2 = true
	upstream.StartTLS()
	t.Cleanup(upstream.Close)
	s := &stage{t: t, url: upstream.URL, nowhere: refusing(t)}
	var err error
	s.rt, err = respawn.New(&http.Transport{
		DialContext:           s.dial,
		TLSClientConfig:       &tls.Config{RootCAs: upstream.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
		ForceAttemptHTTP2:     true,
		ResponseHeaderTimeout: time.Second, // what a stall goes by
	},
		respawn.WithName("upstream"), respawn.WithTracerProvider(traces), respawn.WithMeterProvider(metrics),
		respawn.WithLogger(otelslog.NewLogger("wire", otelslog.WithLoggerProvider(logs))))
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.rt.Close() })
	s.client = &http.Client{Transport: otelhttp.NewTransport(s.rt,
		otelhttp.WithTracerProvider(traces), otelhttp.WithMeterProvider(metrics))}
	return s
}

// refusing returns an address that nobody listens on.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func (s *stage) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		address = s.nowhere
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	mine := &conn{Conn: c, over: make(chan struct{})}
	s.conns = append(s.conns, mine)
	return mine, nil
}

// setDown takes the upstream away, or brings it back.
func (s *stage) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// A conn can be told to swallow everything.
type conn struct {
	net.Conn
	mu     sync.Mutex
	silent bool
	once   sync.Once
	over   chan struct{}
}

func (c *conn) isSilent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.silent
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.isSilent() {
		<-c.over
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.isSilent() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.over) })
	return c.Conn.Close()
}

// A traced request is one of a caller who has a span of their own, elsewhere.
type tracedRequest struct {
	span   trace.SpanContext
	status int // 0: it failed
}

func (s *stage) get() tracedRequest {
	s.t.Helper()
	r := tracedRequest{span: trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(random(16)), SpanID: trace.SpanID(random(8)), TraceFlags: trace.FlagsSampled, Remote: true,
	})}
	req, err := http.NewRequestWithContext(trace.ContextWithSpanContext(s.t.Context(), r.span), http.MethodGet, s.url, nil)
	require.NoError(s.t, err)
	if resp, err := s.client.Do(req); err == nil {
		require.NoError(s.t, resp.Body.Close())
		r.status = resp.StatusCode
	}
	return r
}

func random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + rand.IntN(255)) // never all zero, which is no id
	}
	return b
}

// until sends GETs until one brings about what is asked for, and returns all of
// them, that one last.
func (s *stage) until(done func(tracedRequest) bool) []tracedRequest {
	s.t.Helper()
	var requests []tracedRequest
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		requests = append(requests, s.get())
		if done(requests[len(requests)-1]) {
			return requests
		}
		require.True(s.t, time.Now().Before(deadline), "did not come about: %+v", requests)
	}
}

func answered(r tracedRequest) bool { return r.status == http.StatusOK }

// blackhole lets the connection go dark, and returns the requests that met it:
// those that stalled, and the one that made the trial, last.
func (s *stage) blackhole() []tracedRequest {
	s.t.Helper()
	s.until(answered) // there is a connection to lose
	s.mu.Lock()
	for _, c := range s.conns {
		c.mu.Lock()
		c.silent = true
		c.mu.Unlock()
	}
	s.mu.Unlock()
	requests := s.until(answered)
	require.Equal(s.t, 1, s.rt.Health().Promotions)
	return requests
}

// outage takes the upstream down until a trial was rejected, and brings it back.
// It returns the requests that failed meanwhile, and the first that was answered
// again, last.
func (s *stage) outage() []tracedRequest {
	s.t.Helper()
	rejections := s.rt.Health().Rejections
	s.setDown(true)
	failed := s.until(func(tracedRequest) bool { return s.rt.Health().Rejections > rejections })
	s.setDown(false)
	return append(failed, s.until(answered)...)
}

// exporters are OpenTelemetry's own, as the OTEL_* variables have them. What they
// hold is sent when the function that comes with them returns.
func exporters(t *testing.T) (*sdktrace.TracerProvider, *sdkmetric.MeterProvider, *sdklog.LoggerProvider, func()) {
	t.Helper()
	ctx := t.Context()
	spans, err := autoexport.NewSpanExporter(ctx)
	require.NoError(t, err)
	reader, err := autoexport.NewMetricReader(ctx)
	require.NoError(t, err)
	records, err := autoexport.NewLogExporter(ctx)
	require.NoError(t, err)
	res, err := resource.New(ctx, resource.WithFromEnv())
	require.NoError(t, err)
	traces := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(spans))
	metrics := sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithReader(reader))
	logs := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(records)))
	return traces, metrics, logs, func() {
		require.NoError(t, traces.Shutdown(ctx))
		require.NoError(t, metrics.Shutdown(ctx))
		require.NoError(t, logs.Shutdown(ctx))
	}
}
