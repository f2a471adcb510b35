package test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricembedded "go.opentelemetry.io/otel/metric/embedded"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	traceembedded "go.opentelemetry.io/otel/trace/embedded"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A thing of the user's has several methods, each of which can misbehave: make gives the
// thing, and like says how it comes to a client.
type thing struct {
	name    string
	methods reflect.Type
	make    func(*user) any
	never   []string // methods that respawn is not to call
	like    possession
}

// A transport has one method that it must have, and some that it may have.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
	Close() error
	Err() error
}

// A wrapper is a transport that tells what it wraps.
type wrapper interface {
	transport
	WrappedRoundTripper() http.RoundTripper
}

// An upgraded is the body of an upgraded connection.
type upgraded interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// An opinionated error has all methods that an error may have but Unwrap.
type opinionated interface {
	error
	Is(error) bool
	As(any) bool
	Timeout() bool
	Temporary() bool
}

// A wrapping error is no more than what it wraps, so that it is not to be read itself.
type wrapping interface {
	opinionated
	Unwrap() error
}

// A joined error is several.
type joined interface {
	opinionated
	Unwrap() []error
}

// A kindSpan is a span that tells its kind, as those of OpenTelemetry's SDK do.
type kindSpan interface {
	trace.Span
	SpanKind() trace.SpanKind
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

var things = []thing{
	{name: "the transport", methods: typeOf[transport](), like: possession{base: true},
		make: func(u *user) any { return &theirs{u: u, acts: true} }},
	{name: "a product", methods: typeOf[wrapper](), like: possession{product: true},
		make: func(u *user) any { return &theirs{u: u, acts: true} }},
	{name: "the request's body", methods: typeOf[io.ReadCloser](), make: func(u *user) any { return theirPayload(u) },
		like: possession{request: func(u *user, req *http.Request) *http.Request {
			req.Body = theirPayload(u)
			return req
		}}},
	{name: "the response's body", methods: typeOf[io.ReadCloser](), make: func(u *user) any { return theirPayload(u) },
		like: possession{answer: func(u *user, resp *http.Response) { resp.Body = theirPayload(u) }}},
	{name: "an upgraded connection", methods: typeOf[upgraded](), make: func(u *user) any { return theirConnection{theirPayload(u)} },
		like: possession{answer: func(u *user, resp *http.Response) {
			resp.StatusCode, resp.Body = http.StatusSwitchingProtocols, theirConnection{theirPayload(u)}
		}}},
	{name: "the transport's error", methods: typeOf[opinionated](), make: func(u *user) any { return theirError{u} },
		never: []string{"Temporary"}, // it is deprecated
		like:  failsWith(func(u *user) error { return theirError{u} })},
	{name: "the transport's wrapping error", methods: typeOf[wrapping](), make: func(u *user) any { return theirWrapping{theirError{u}} },
		never: []string{"Error", "Temporary"},
		like:  failsWith(func(u *user) error { return theirWrapping{theirError{u}} })},
	{name: "the transport's joined error", methods: typeOf[joined](), make: func(u *user) any { return theirJoined{theirError{u}} },
		never: []string{"Error", "Temporary"},
		like:  failsWith(func(u *user) error { return theirJoined{theirError{u}} })},
	{name: "the factory's error", methods: typeOf[opinionated](), make: func(u *user) any { return theirError{u} },
		never: []string{"Temporary", "Timeout"}, // only a dial's is asked
		like:  buildsNot(func(u *user) error { return theirError{u} })},
	{name: "the factory's wrapping error", methods: typeOf[wrapping](), make: func(u *user) any { return theirWrapping{theirError{u}} },
		never: []string{"Temporary", "Timeout"}, // Recreate returns it with its text
		like:  buildsNot(func(u *user) error { return theirWrapping{theirError{u}} })},
	{name: "the request's context", methods: typeOf[context.Context](), make: func(u *user) any { return theirContext{context.Background(), u} },
		like: possession{request: func(u *user, req *http.Request) *http.Request { return req.WithContext(theirContext{req.Context(), u}) }}},
	{name: "the request's span", methods: typeOf[kindSpan](), make: func(u *user) any { return theirSpan{u: u} },
		never: []string{"AddEvent", "AddLink", "End", "IsRecording", "RecordError", "SetName", "SetStatus"}, // it is not respawn's
		like: possession{traces: true, request: func(u *user, req *http.Request) *http.Request {
			return req.WithContext(trace.ContextWithSpan(req.Context(), theirSpan{u: u}))
		}}},
	{name: "a recreation's span", methods: typeOf[trace.Span](), make: func(u *user) any { return theirSpan{u: u} },
		never: []string{"AddLink", "IsRecording", "RecordError", "SetName", "TracerProvider"},
		like:  brings("WithTracerProvider", func(u *user) respawn.Option { return respawn.WithTracerProvider(theirTracers{u: u}) })},
	{name: "a tracer", methods: typeOf[trace.Tracer](), make: func(u *user) any { return theirTracer{u: u} },
		like: brings("WithTracerProvider", func(u *user) respawn.Option { return respawn.WithTracerProvider(theirTracers{u: u}) })},
	{name: "a tracer provider", methods: typeOf[trace.TracerProvider](), make: func(u *user) any { return theirTracers{u: u} },
		like: brings("WithTracerProvider", func(u *user) respawn.Option { return respawn.WithTracerProvider(theirTracers{u: u}) })},
	{name: "a counter", methods: typeOf[metric.Int64Counter](), make: func(u *user) any { return theirCounter{u: u} }, never: []string{"Enabled"},
		like: brings("WithMeterProvider", func(u *user) respawn.Option { return respawn.WithMeterProvider(theirMeters{u: u}) })},
	{name: "a histogram", methods: typeOf[metric.Float64Histogram](), make: func(u *user) any { return theirHistogram{u: u} }, never: []string{"Enabled"},
		like: brings("WithMeterProvider", func(u *user) respawn.Option { return respawn.WithMeterProvider(theirMeters{u: u}) })},
	{name: "an observer", methods: typeOf[observer](), make: func(u *user) any { return theirObserver{u: u} },
		never: []string{"ObserveFloat64"},
		like:  brings("WithMeterProvider", func(u *user) respawn.Option { return respawn.WithMeterProvider(theirMeters{u: u}) })},
	{name: "a meter provider", methods: typeOf[metric.MeterProvider](), make: func(u *user) any { return theirMeters{u: u} }, like: possession{early: true}},
	{name: "a meter", methods: typeOf[meter](), make: func(u *user) any { return theirMeter{u: u} }, like: possession{early: true}},
	{name: "a registration", methods: typeOf[metric.Registration](), make: func(u *user) any { return theirRegistration{u: u} },
		like: possession{option: "WithMeterProvider", late: true, opts: func(u *user) []respawn.Option {
			return []respawn.Option{respawn.WithMeterProvider(theirMeters{u: u})}
		}}},
	{name: "the policy", methods: typeOf[backoff.BackOff](), make: func(u *user) any { return theirPolicy{u} },
		never: []string{"Reset"}, // a pace that starts over takes a new policy
		like: brings("WithBackOff", func(u *user) respawn.Option {
			return respawn.WithBackOff(func() backoff.BackOff { return theirPolicy{u} })
		})},
	{name: "the logger's handler", methods: typeOf[slog.Handler](), make: func(u *user) any { return theirHandler{slog.DiscardHandler, u} },
		never: []string{"WithAttrs", "WithGroup"},
		like: brings("WithLogger", func(u *user) respawn.Option {
			return respawn.WithLogger(slog.New(theirHandler{slog.DiscardHandler, u}))
		})},
}

func brings(option string, opt func(*user) respawn.Option) possession {
	return possession{option: option, opts: func(u *user) []respawn.Option { return []respawn.Option{opt(u)} }}
}

// failsWith is of a transport that is dead.
func failsWith(err func(*user) error) possession { return possession{fails: err} }

// buildsNot is of a factory that fails as long as the user misbehaves.
func buildsNot(err func(*user) error) possession {
	return brings("WithFactory", func(u *user) respawn.Option {
		return respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			if time.Since(u.start) < behaves {
				return nil, err(u)
			}
			return &testkit.Stub{}, nil
		})
	})
}

// methodsOfThings has a row for each method of each thing, and for each hook of a trace: of those
// that are asked while the client works, or of those that only New asks.
func methodsOfThings(inNew bool) (rows []possession) {
	for _, th := range things {
		for m := range th.methods.Methods() {
			if !m.IsExported() {
				continue // OpenTelemetry's, which nobody can call
			}
			p := th.like
			if p.early != inNew {
				continue
			}
			p.name, p.method, p.never = th.name+"'s "+m.Name, m.Name, slices.Contains(th.never, m.Name)
			rows = append(rows, p)
		}
	}
	if inNew {
		return rows
	}
	for hook := range typeOf[httptrace.ClientTrace]().Fields() {
		rows = append(rows, possession{name: "the hook " + hook.Name, method: hook.Name,
			request: func(u *user, req *http.Request) *http.Request {
				return req.WithContext(httptrace.WithClientTrace(req.Context(), theirTrace(u)))
			}})
	}
	return rows
}

// theirs is a transport of the user's, with all that one may have.
type theirs struct {
	u      *user
	acts   bool
	dead   func() bool
	answer func(*user, *http.Response)
	fails  func(*user) error
}

func (r *theirs) does(method string) bool { return r.acts && r.u.does(method) }

func (r *theirs) RoundTrip(req *http.Request) (*http.Response, error) {
	callHooks(req)
	switch {
	case r.does("RoundTrip"):
		return nil, nil
	case r.dead != nil && r.dead():
		testkit.CloseBody(req)
		if r.fails != nil {
			return nil, r.fails(r.u)
		}
		return nil, testkit.Refused()
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	resp, err := testkit.Answer(req)
	if err == nil && r.answer != nil {
		r.answer(r.u, resp)
	}
	return resp, err
}

// callHooks calls all hooks of the request but GotConn, which says that there is a connection.
func callHooks(req *http.Request) {
	hooks := httptrace.ContextClientTrace(req.Context())
	if hooks == nil {
		return
	}
	v := reflect.ValueOf(hooks).Elem()
	for field := range v.Type().Fields() {
		if f := v.FieldByIndex(field.Index); field.Name != "GotConn" && !f.IsNil() {
			f.Call(zeros(f.Type()))
		}
	}
}

// zeros are arguments for a function of that type, and a request if it wants one.
func zeros(f reflect.Type) (in []reflect.Value) {
	for arg := range f.Ins() {
		if arg == typeOf[*http.Request]() {
			in = append(in, reflect.ValueOf(request(context.Background(), http.MethodGet, "http://a.test/", nil)))
			continue
		}
		in = append(in, reflect.Zero(arg))
	}
	if f.IsVariadic() {
		in = in[:len(in)-1]
	}
	return in
}

// theirTrace has all hooks.
func theirTrace(u *user) *httptrace.ClientTrace {
	hooks := &httptrace.ClientTrace{}
	v := reflect.ValueOf(hooks).Elem()
	for field := range v.Type().Fields() {
		f := v.FieldByIndex(field.Index)
		f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) (out []reflect.Value) {
			u.does(field.Name)
			for result := range f.Type().Outs() {
				out = append(out, reflect.Zero(result))
			}
			return out
		}))
	}
	return hooks
}

func (r *theirs) Err() error {
	if r.does("Err") {
		return errNonsense
	}
	return nil
}

func (r *theirs) Close() error {
	if r.does("Close") {
		return errNonsense
	}
	return nil
}

func (r *theirs) CloseIdleConnections() { r.does("CloseIdleConnections") }

func (r *theirs) WrappedRoundTripper() http.RoundTripper {
	if r.does("WrappedRoundTripper") {
		return r // without end
	}
	return nil
}

var errNonsense = errors.New("nonsense")

type theirBody struct {
	io.Reader
	u *user
}

func theirPayload(u *user) *theirBody { return &theirBody{strings.NewReader(payload), u} }

func (b *theirBody) Read(p []byte) (int, error) {
	if b.u.does("Read") {
		return 0, io.ErrNoProgress
	}
	return b.Reader.Read(p)
}

func (b *theirBody) Close() error {
	if b.u.does("Close") {
		return errNonsense
	}
	return nil
}

type theirConnection struct{ *theirBody }

func (c theirConnection) Write(p []byte) (int, error) {
	if c.u.does("Write") {
		return -1, nil
	}
	return len(p), nil
}

func (c theirConnection) CloseWrite() error {
	if c.u.does("CloseWrite") {
		return errNonsense
	}
	return nil
}

type theirError struct{ u *user }

func (e theirError) Error() string {
	if e.u.does("Error") {
		return ""
	}
	return "connection refused"
}

func (e theirError) Is(error) bool { return e.u.does("Is") }

// As says yes, and sets nothing.
func (e theirError) As(any) bool     { return e.u.does("As") }
func (e theirError) Timeout() bool   { return e.u.does("Timeout") }
func (e theirError) Temporary() bool { return e.u.does("Temporary") }

type theirWrapping struct{ theirError }

func (e theirWrapping) Unwrap() error {
	if e.u.does("Unwrap") {
		return testkit.DialTimeout()
	}
	return nil
}

type theirJoined struct{ theirError }

func (e theirJoined) Unwrap() []error {
	if e.u.does("Unwrap") {
		return []error{nil}
	}
	return []error{testkit.Refused()}
}

type theirContext struct {
	context.Context
	u *user
}

func (c theirContext) Deadline() (time.Time, bool) {
	if c.u.does("Deadline") {
		return time.Time{}, true
	}
	return c.Context.Deadline()
}

func (c theirContext) Done() <-chan struct{} {
	if c.u.does("Done") {
		return nil
	}
	return c.Context.Done()
}

func (c theirContext) Err() error {
	if c.u.does("Err") {
		return errNonsense
	}
	return c.Context.Err()
}

func (c theirContext) Value(key any) any {
	if c.u.does("Value") {
		return nil
	}
	return c.Context.Value(key)
}

type theirTracers struct {
	traceembedded.TracerProvider
	u *user
}

func (p theirTracers) Tracer(string, ...trace.TracerOption) trace.Tracer {
	if p.u.does("Tracer") {
		return nil
	}
	return theirTracer{u: p.u}
}

type theirTracer struct {
	traceembedded.Tracer
	u *user
}

func (tr theirTracer) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	if tr.u.does("Start") {
		return nil, nil
	}
	return trace.ContextWithSpan(ctx, theirSpan{u: tr.u}), theirSpan{u: tr.u}
}

type theirSpan struct {
	traceembedded.Span
	u *user
}

func (s theirSpan) SpanContext() trace.SpanContext {
	if s.u.does("SpanContext") {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}})
}

func (s theirSpan) TracerProvider() trace.TracerProvider {
	if s.u.does("TracerProvider") {
		return nil
	}
	return theirTracers{} // that of the recreation's span, which behaves
}

func (s theirSpan) SpanKind() trace.SpanKind {
	if s.u.does("SpanKind") {
		return -7
	}
	return trace.SpanKindClient
}

func (s theirSpan) AddEvent(string, ...trace.EventOption)   { s.u.does("AddEvent") }
func (s theirSpan) AddLink(trace.Link)                      { s.u.does("AddLink") }
func (s theirSpan) End(...trace.SpanEndOption)              { s.u.does("End") }
func (s theirSpan) IsRecording() bool                       { return s.u.does("IsRecording") }
func (s theirSpan) RecordError(error, ...trace.EventOption) { s.u.does("RecordError") }
func (s theirSpan) SetAttributes(...attribute.KeyValue)     { s.u.does("SetAttributes") }
func (s theirSpan) SetName(string)                          { s.u.does("SetName") }
func (s theirSpan) SetStatus(codes.Code, string)            { s.u.does("SetStatus") }

type theirMeters struct {
	metricembedded.MeterProvider
	u *user
}

func (p theirMeters) Meter(string, ...metric.MeterOption) metric.Meter {
	if p.u.does("Meter") {
		return nil
	}
	return theirMeter{u: p.u}
}

// theirMeter collects every second. Its other methods panic.
type theirMeter struct {
	metric.Meter
	u *user
}

func (m theirMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	if m.u.does("Int64Counter") {
		return nil, nil
	}
	return theirCounter{u: m.u}, nil
}

func (m theirMeter) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	if m.u.does("Float64Histogram") {
		return nil, errNonsense
	}
	return theirHistogram{u: m.u}, nil
}

func (m theirMeter) Int64ObservableGauge(string, ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	if m.u.does("Int64ObservableGauge") {
		return nil, nil
	}
	return metricnoop.Int64ObservableGauge{}, nil
}

func (m theirMeter) Int64ObservableUpDownCounter(string, ...metric.Int64ObservableUpDownCounterOption) (metric.Int64ObservableUpDownCounter, error) {
	if m.u.does("Int64ObservableUpDownCounter") {
		return nil, errNonsense
	}
	return metricnoop.Int64ObservableUpDownCounter{}, nil
}

func (m theirMeter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	if m.u.does("RegisterCallback") {
		return nil, nil
	}
	go m.collect(f)
	return theirRegistration{u: m.u}, nil
}

func (m theirMeter) collect(f metric.Callback) {
	for range int(ends / time.Second) {
		time.Sleep(time.Second)
		func() {
			defer func() { _ = recover() }() // it is this provider's own
			_ = f(context.Background(), theirObserver{u: m.u})
		}()
	}
}

// A meter has the methods of metric.Meter that respawn may call.
type meter interface {
	Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error)
	Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error)
	Int64ObservableGauge(string, ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error)
	Int64ObservableUpDownCounter(string, ...metric.Int64ObservableUpDownCounterOption) (metric.Int64ObservableUpDownCounter, error)
	RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error)
}

// An observer has the methods of metric.Observer that can be called.
type observer interface {
	ObserveInt64(metric.Int64Observable, int64, ...metric.ObserveOption)
	ObserveFloat64(metric.Float64Observable, float64, ...metric.ObserveOption)
}

type theirObserver struct {
	metricembedded.Observer
	u *user
}

func (o theirObserver) ObserveInt64(metric.Int64Observable, int64, ...metric.ObserveOption) {
	o.u.does("ObserveInt64")
}

func (o theirObserver) ObserveFloat64(metric.Float64Observable, float64, ...metric.ObserveOption) {
	o.u.does("ObserveFloat64")
}

type theirRegistration struct {
	metricembedded.Registration
	u *user
}

func (r theirRegistration) Unregister() error {
	if r.u.does("Unregister") {
		return errNonsense
	}
	return nil
}

type theirCounter struct {
	metricembedded.Int64Counter
	u *user
}

func (c theirCounter) Add(context.Context, int64, ...metric.AddOption) { c.u.does("Add") }
func (c theirCounter) Enabled(context.Context) bool                    { return c.u.does("Enabled") }

type theirHistogram struct {
	metricembedded.Float64Histogram
	u *user
}

func (h theirHistogram) Record(context.Context, float64, ...metric.RecordOption) { h.u.does("Record") }
func (h theirHistogram) Enabled(context.Context) bool                            { return h.u.does("Enabled") }

type theirPolicy struct{ u *user }

func (p theirPolicy) NextBackOff() time.Duration {
	if p.u.does("NextBackOff") {
		return -time.Hour
	}
	return time.Second
}

func (p theirPolicy) Reset() { p.u.does("Reset") }

type theirHandler struct {
	slog.Handler
	u *user
}

func (h theirHandler) Enabled(context.Context, slog.Level) bool { return !h.u.does("Enabled") }

func (h theirHandler) Handle(context.Context, slog.Record) error {
	if h.u.does("Handle") {
		return errNonsense
	}
	return nil
}

func (h theirHandler) WithAttrs([]slog.Attr) slog.Handler {
	h.u.does("WithAttrs")
	return h
}

func (h theirHandler) WithGroup(string) slog.Handler {
	h.u.does("WithGroup")
	return h
}
