package test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A user is whoever wrote what respawn is given: code that misbehaves for a while.
type user struct {
	how   string
	start time.Time
	acted atomic.Int64 // how often it misbehaved
}

var misdeeds = []string{"returns nonsense", "panics", "calls Goexit", "blocks"}

const (
	dies    = 5 * time.Second  // the transport in service
	behaves = 30 * time.Second // the user, from then on
	ends    = time.Minute
)

// acts does what the user does instead of its work, and reports whether that is to
// return nonsense.
func (u *user) acts() (nonsense bool) {
	if since := time.Since(u.start); since == 0 || since >= behaves {
		return false // New has its own say about what is wrong with an option
	}
	u.acted.Add(1)
	switch u.how {
	case "panics":
		panic("the user's")
	case "calls Goexit":
		runtime.Goexit()
	case "blocks":
		time.Sleep(7 * time.Second)
	}
	return u.how == "returns nonsense"
}

// A possession is something of the user's, with the option that brings it if one does.
// Options that bring no code are here with a value of theirs.
type possession struct {
	name    string
	option  string
	opts    func(*user) []respawn.Option
	tame    bool   // a value, that does nothing
	base    string // what of the transport in service misbehaves
	product string // what of those that the factory builds
	request func(*user, *http.Request) *http.Request
}

func of(name string, opt func(*user) respawn.Option) possession {
	option, _, _ := strings.Cut(name, ",")
	return possession{name: name, option: option, opts: func(u *user) []respawn.Option { return []respawn.Option{opt(u)} }}
}

func value(name string, opt respawn.Option) possession {
	p := of(name, func(*user) respawn.Option { return opt })
	p.tame = true
	return p
}

var possessions = []possession{
	{name: "the transport's RoundTrip", base: "RoundTrip"},
	{name: "the transport's Err", base: "Err"},
	{name: "the transport's Close", base: "Close"},
	{name: "the transport's CloseIdleConnections", base: "CloseIdleConnections"},
	{name: "a product's RoundTrip", product: "RoundTrip"},
	{name: "a product's Err", product: "Err"},
	{name: "a product's Close", product: "Close"},
	{name: "a product's CloseIdleConnections", product: "CloseIdleConnections"},
	{name: "a product's WrappedRoundTripper", product: "WrappedRoundTripper"},
	{name: "a hook", request: func(u *user, req *http.Request) *http.Request {
		return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GetConn: func(string) { u.acts() }, GotConn: func(httptrace.GotConnInfo) { u.acts() },
		}))
	}},
	{name: "GetBody", request: func(u *user, req *http.Request) *http.Request {
		req.GetBody = func() (io.ReadCloser, error) {
			if u.acts() {
				return nil, nil
			}
			return io.NopCloser(strings.NewReader(payload)), nil
		}
		return req
	}},
	{name: "a body's Read", request: func(u *user, req *http.Request) *http.Request {
		req.Body = &theirBody{Reader: strings.NewReader(payload), read: u}
		return req
	}},
	{name: "a body's Close", request: func(u *user, req *http.Request) *http.Request {
		req.Body = &theirBody{Reader: strings.NewReader(payload), close: u}
		return req
	}},

	of("WithFactory", func(u *user) respawn.Option {
		return respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			if u.acts() {
				return (*http.Transport)(nil), nil
			}
			return &testkit.Stub{}, nil
		})
	}),
	of("WithFactory, an error of respawn's own", func(u *user) respawn.Option {
		return respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			if u.acts() {
				return nil, fmt.Errorf("the other client: %w", respawn.ErrClosed)
			}
			return &testkit.Stub{}, nil
		})
	}),
	of("WithBackOff, made", func(u *user) respawn.Option {
		return respawn.WithBackOff(func() backoff.BackOff {
			if u.acts() {
				return nil
			}
			return backoff.NewConstantBackOff(time.Second)
		})
	}),
	of("WithBackOff, asked", func(u *user) respawn.Option {
		return respawn.WithBackOff(func() backoff.BackOff {
			return policyFunc(func() time.Duration {
				if u.acts() {
					return -time.Hour
				}
				return time.Second
			})
		})
	}),
	of("WithClassifier", func(u *user) respawn.Option {
		return respawn.WithClassifier(func(req *http.Request, err error) respawn.Verdict {
			if u.acts() {
				return respawn.Verdict(-7)
			}
			return respawn.DefaultClassifier(req, err)
		})
	}),
	{name: "WithFallback", option: "WithFallback", opts: func(u *user) []respawn.Option {
		return []respawn.Option{
			respawn.WithFallback(testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				if u.acts() {
					return nil, nil
				}
				return testkit.Answer(req)
			})),
			respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
				if time.Since(u.start) < behaves {
					return nil, errFactory // so that it is asked
				}
				return &testkit.Stub{}, nil
			}),
		}
	}},
	of("WithTracerProvider", func(u *user) respawn.Option { return respawn.WithTracerProvider(theirTracers{u: u}) }),
	of("WithTracerProvider, its tracer", func(u *user) respawn.Option {
		return respawn.WithTracerProvider(theirTracers{spans: u})
	}),
	of("WithMeterProvider", func(u *user) respawn.Option { return respawn.WithMeterProvider(theirMeters{u: u}) }),
	of("WithLogger", func(u *user) respawn.Option {
		return respawn.WithLogger(slog.New(theirHandler{slog.DiscardHandler, u}))
	}),

	of("WithOnRecreation", func(u *user) respawn.Option {
		return respawn.WithOnRecreation(func(context.Context, respawn.RecreationRecord) { u.acts() })
	}),

	value("WithName", respawn.WithName("\xff\x00")),
	value("WithThreshold", respawn.WithThreshold(1)),
	value("WithStallThreshold", respawn.WithStallThreshold(1, 0)),
	value("WithPatience", respawn.WithPatience(time.Second)),
	value("WithRecreateTimeout", respawn.WithRecreateTimeout(time.Second)),
	value("WithReplay", respawn.WithReplay(respawn.ReplayNever)),
	value("WithWaitForReady", respawn.WithWaitForReady(time.Hour)),
	value("WithMaxAge", respawn.WithMaxAge(time.Second)),
	value("WithHostMetrics", respawn.WithHostMetrics()),
	value("WithDrainTimeout", respawn.WithDrainTimeout(time.Second)),
}

// Nothing of the user's can break a client: whatever it does instead of its work costs
// its callers answers at most, and once it behaves all is well.
func TestNothingOfTheUsersBreaksAClient(t *testing.T) {
	for _, p := range possessions {
		for _, how := range misdeeds {
			t.Run(p.name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { p.misbehaves(t, how) })
			})
		}
	}
}

func (p possession) misbehaves(t *testing.T, how string) {
	u := &user{how: how, start: time.Now()}
	base := &theirs{u: u, what: p.base, dead: func() bool { return time.Since(u.start) >= dies }}
	opts := []respawn.Option{
		respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return &theirs{u: u, what: p.product}, nil }),
		every(time.Second),
	}
	if p.opts != nil {
		opts = append(opts, p.opts(u)...)
	}
	rt := start(t, base, opts...)

	var all sync.WaitGroup
	wellAfterwards := 0
	asks := func(req *http.Request, must bool) {
		all.Go(func() {
			defer func() { _ = recover() }() // it is this caller's, as a bare transport's would be
			ctx, leave := context.WithTimeout(req.Context(), 5*time.Second)
			defer leave()
			req = req.WithContext(ctx)
			if p.request != nil {
				req = p.request(u, req)
			}
			if _, err := testkit.Do(rt, req); err == nil && must {
				wellAfterwards++
			}
		})
	}
	for time.Since(u.start) < ends {
		// The POST is the first to meet the dead transport, so that its GetBody is asked.
		asks(request(t.Context(), http.MethodPost, "http://b.test/", strings.NewReader(payload)), false)
		time.Sleep(125 * time.Millisecond)
		asks(request(t.Context(), http.MethodGet, "http://a.test/", nil), false)
		if time.Since(u.start)%(20*time.Second) == 10*time.Second+125*time.Millisecond {
			all.Go(func() {
				defer func() { _ = recover() }()
				ctx, leave := context.WithTimeout(t.Context(), 5*time.Second)
				defer leave()
				_ = rt.Recreate(ctx)
			})
		}
		time.Sleep(125 * time.Millisecond)
	}
	all.Wait()
	for _, host := range []string{"a", "b"} {
		asks(request(t.Context(), http.MethodGet, "http://"+host+".test/", nil), true)
		all.Wait()
	}
	synctest.Wait()

	assert.Equal(t, p.tame, u.acted.Load() == 0, "it was asked %d times", u.acted.Load())
	health := rt.Health()
	assert.Equal(t, 2, wellAfterwards, "the requests after the user's misdeeds are answered")
	assert.Zero(t, health.InFlight)
	assert.Greater(t, health.Generation, uint64(1), "the dead transport was replaced")
	assert.True(t, health.State == respawn.StateHealthy || p.option == "WithMaxAge", "%v", health.State)
	require.NoError(t, rt.Close())
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	assert.NoError(t, rt.Shutdown(ctx))
	time.Sleep(time.Hour) // what blocked has returned
}

// Each option has its row, and each row its option.
func TestEachOptionHasItsRowAmongWhatIsTheUsers(t *testing.T) {
	files, err := filepath.Glob("../*.go")
	require.NoError(t, err)
	var declared, rows []string
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "With") || fn.Type.Results == nil {
				continue
			}
			if result, ok := fn.Type.Results.List[0].Type.(*ast.Ident); ok && result.Name == "Option" {
				declared = append(declared, fn.Name.Name)
			}
		}
	}
	for _, p := range possessions {
		if p.option != "" {
			rows = append(rows, p.option)
		}
	}
	slices.Sort(declared)
	slices.Sort(rows)
	require.Greater(t, len(declared), 10)
	assert.Equal(t, declared, slices.Compact(rows))
}

// theirs is a transport of the user's, with all that one may have.
type theirs struct {
	testkit.Stub
	u    *user
	what string
	dead func() bool
}

func (r *theirs) acts(what string) bool { return r.what == what && r.u.acts() }

func (r *theirs) RoundTrip(req *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.GetConn != nil {
		trace.GetConn(req.URL.Host + ":80")
	}
	switch {
	case r.acts("RoundTrip"):
		return nil, nil
	case r.dead != nil && r.dead():
		testkit.CloseBody(req)
		return nil, testkit.Refused()
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	return testkit.Answer(req)
}

func (r *theirs) Err() error {
	if r.acts("Err") {
		return errors.New("nonsense")
	}
	return nil
}

func (r *theirs) Close() error {
	if r.acts("Close") {
		return errors.New("nonsense")
	}
	return nil
}

func (r *theirs) CloseIdleConnections() { r.acts("CloseIdleConnections") }

func (r *theirs) WrappedRoundTripper() http.RoundTripper {
	if r.acts("WrappedRoundTripper") {
		return r // without end
	}
	return nil
}

type theirBody struct {
	io.Reader
	read, close *user
}

func (b *theirBody) Read(p []byte) (int, error) {
	if b.read != nil && b.read.acts() {
		return 0, io.ErrNoProgress
	}
	return b.Reader.Read(p)
}

func (b *theirBody) Close() error {
	if b.close != nil && b.close.acts() {
		return errors.New("nonsense")
	}
	return nil
}

type theirTracers struct {
	tracenoop.TracerProvider
	u, spans *user
}

func (p theirTracers) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	if p.u != nil && p.u.acts() {
		return nil
	}
	return theirTracer{Tracer: p.TracerProvider.Tracer(name, opts...), u: p.spans}
}

type theirTracer struct {
	trace.Tracer
	u *user
}

func (tr theirTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if tr.u != nil && tr.u.acts() {
		return nil, nil
	}
	return tr.Tracer.Start(ctx, name, opts...)
}

type theirMeters struct {
	metricnoop.MeterProvider
	u *user
}

func (p theirMeters) Meter(string, ...metric.MeterOption) metric.Meter { return theirMeter{u: p.u} }

type theirMeter struct {
	metricnoop.Meter
	u *user
}

func (m theirMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return theirCounter{u: m.u}, nil
}

type theirCounter struct {
	metricnoop.Int64Counter
	u *user
}

func (c theirCounter) Add(context.Context, int64, ...metric.AddOption) { c.u.acts() }

type theirHandler struct {
	slog.Handler
	u *user
}

func (h theirHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h theirHandler) Handle(context.Context, slog.Record) error {
	if h.u.acts() {
		return errors.New("nonsense")
	}
	return nil
}
