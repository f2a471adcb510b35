package respawn

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"weak"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/gate"
)

// WithMeterProvider sets where metrics go. The default is the global provider of
// package otel. A nil provider is an error.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(c *config) error {
		if build.IsNil(p) {
			return errors.New("WithMeterProvider(nil): pass a provider, or leave the option out for the global one")
		}
		c.MeterProvider = p
		return nil
	}
}

// WithHostMetrics puts server.address and server.port on the client's metrics, for the
// first 32 hosts that fail. Later hosts share the address _OTHER, so that names that
// come from requests cannot flood a backend. By default metrics have no hosts; spans,
// logs and [RecoveringRoundTripper.Health] always have them.
func WithHostMetrics() Option {
	return func(c *config) error {
		c.HostMetrics = true
		return nil
	}
}

// meters are the instruments of one client.
type meters struct {
	recreations        metric.Int64Counter
	failures           metric.Int64Counter
	replays            metric.Int64Counter
	recreationDuration metric.Float64Histogram
	recoveryDuration   metric.Float64Histogram

	generation metric.Int64ObservableGauge
	inFlight   metric.Int64ObservableUpDownCounter
	draining   metric.Int64ObservableUpDownCounter
	tripped    metric.Int64ObservableUpDownCounter
	observed   metric.Registration
	dropped    runtime.Cleanup // ends the observation of a client that was dropped without Close

	client attribute.KeyValue // respawn.name
	hosts  *hosts             // nil: metrics tell no hosts apart
}

// open makes the instruments. Counters begin at 0, so that a query for an increase sees
// the first event, too.
func (m *meters) open(rt *RecoveringRoundTripper, name attribute.KeyValue) error {
	m.client = name
	if rt.cfg.HostMetrics {
		m.hosts = &hosts{known: make(map[host]bool)}
	}
	provider := rt.cfg.MeterProvider
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter(scopeName, metric.WithInstrumentationVersion(Version), metric.WithSchemaURL(semconv.SchemaURL))
	if err := errors.Join(m.openRecorded(meter), m.openObserved(meter)); err != nil {
		return err
	}
	m.begin(core.Authority{})
	return m.observe(rt, meter)
}

func (m *meters) openRecorded(meter metric.Meter) error {
	var errs [5]error
	m.recreations, errs[0] = meter.Int64Counter("respawn.transport.recreations",
		metric.WithUnit("{recreation}"), metric.WithDescription("Recreations of the transport, by outcome."))
	m.failures, errs[1] = meter.Int64Counter("respawn.transport.failures",
		metric.WithUnit("{failure}"), metric.WithDescription("Attempts whose error spoke against the transport in service."))
	m.replays, errs[2] = meter.Int64Counter("respawn.request.replays",
		metric.WithUnit("{replay}"), metric.WithDescription("Times that a request, or a copy of it, was sent again."))
	bounds := metric.WithExplicitBucketBoundaries(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
	m.recreationDuration, errs[3] = meter.Float64Histogram("respawn.transport.recreation.duration",
		metric.WithUnit("s"), metric.WithDescription("Time from the start of a recreation to its promotion or rejection."), bounds)
	m.recoveryDuration, errs[4] = meter.Float64Histogram("respawn.recovery.duration",
		metric.WithUnit("s"), metric.WithDescription("Time from an outage's first failure to its first success."), bounds)
	return errors.Join(errs[:]...)
}

func (m *meters) openObserved(meter metric.Meter) error {
	var errs [4]error
	m.generation, errs[0] = meter.Int64ObservableGauge("respawn.transport.generation",
		metric.WithUnit("{generation}"), metric.WithDescription("Number of the transport generation in service."))
	m.inFlight, errs[1] = meter.Int64ObservableUpDownCounter("respawn.transport.in_flight",
		metric.WithUnit("{request}"), metric.WithDescription("Requests in flight, those on draining generations included."))
	m.draining, errs[2] = meter.Int64ObservableUpDownCounter("respawn.transport.draining",
		metric.WithUnit("{generation}"), metric.WithDescription("Retired generations that still have requests in flight."))
	m.tripped, errs[3] = meter.Int64ObservableUpDownCounter("respawn.authority.tripped",
		metric.WithUnit("{authority}"), metric.WithDescription("Authorities that are tripped; a transport that has ended counts as one."))
	return errors.Join(errs[:]...)
}

// observe registers the callback that observes the client, and does not keep it alive.
func (m *meters) observe(rt *RecoveringRoundTripper, meter metric.Meter) (err error) {
	client := weak.Make(rt) // the provider lives on
	mine := *m              // m is a part of rt
	m.observed, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if rt := client.Value(); rt != nil {
			mine.observeNow(o, rt.gate.View())
		}
		return nil
	}, m.generation, m.inFlight, m.draining, m.tripped)
	// Unregister waits for the provider, and the next cleanup for this one.
	m.dropped = runtime.AddCleanup(rt, func(r metric.Registration) { go unregister(r) }, m.observed)
	return err
}

// observeNow observes the gate's state. Counts add up over the clients of one name.
func (m *meters) observeNow(o metric.Observer, v gate.View) {
	if v.Serving == nil {
		return // New still runs
	}
	none := m.with(nil)
	inFlight, draining := inFlightOf(v)
	o.ObserveInt64(m.generation, int64(v.Serving.Number), none)
	o.ObserveInt64(m.inFlight, inFlight, none)
	o.ObserveInt64(m.draining, int64(len(draining)), none)
	own, tripped := int64(0), map[host]int64{}
	if v.Ended && !v.Absent { // a start is no outage
		own++
	}
	m.hosts.each(func(h host) { tripped[h] = 0 })
	for _, a := range v.Authorities {
		switch {
		case a.State != core.Tripped:
		case m.hosts == nil:
			own++
		default:
			tripped[m.hosts.of(a.Authority)]++
		}
	}
	o.ObserveInt64(m.tripped, own, none)
	for h, n := range tripped {
		o.ObserveInt64(m.tripped, n, m.with(h.attributes()))
	}
}

// close ends the observation.
func (m *meters) close() {
	m.dropped.Stop()
	unregister(m.observed)
}

// unregister ends the observation. If the provider fails or panics at that, nobody can
// do anything about it.
func unregister(r metric.Registration) {
	defer func() { _ = recover() }()
	_ = r.Unregister()
}

// failureTriggers are the kinds of failures that can be counted.
var failureTriggers = []Trigger{
	TriggerConnectionRefused, TriggerConnectionReset, TriggerConnectionClosed, TriggerDialTimeout, TriggerDialError,
	TriggerNameResolutionError, TriggerTLSError, TriggerStall, TriggerTransportEnded, TriggerOther,
}

// begin makes the counters of an authority exist, at 0; a zero a stands for no authority.
func (m *meters) begin(a core.Authority) {
	zero := func(c metric.Int64Counter, more ...attribute.KeyValue) {
		c.Add(context.Background(), 0, m.with(m.hosts.attributes(a), more...))
	}
	for _, outcome := range []Outcome{OutcomePromoted, OutcomeRejected} {
		zero(m.recreations, keyOutcome.String(string(outcome)))
	}
	for _, trigger := range failureTriggers {
		zero(m.failures, keyTrigger.String(string(trigger)))
	}
	zero(m.replays)
}

// measured returns the attributes of a measurement about an authority; a zero a stands for
// no authority.
func (m *meters) measured(a core.Authority, more ...attribute.KeyValue) metric.MeasurementOption {
	m.meet(a)
	return m.with(m.hosts.attributes(a), more...)
}

// meet makes the counters of a's host exist, if the host is new.
func (m *meters) meet(a core.Authority) {
	if m.hosts.admit(a) {
		m.begin(a)
	}
}

func (m *meters) with(host []attribute.KeyValue, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(append(append(host, m.client), more...)...)
}

// Failed implements [call.Listener]. It counts a failure.
func (t *telemetry) Failed(ctx context.Context, a core.Authority, trigger string) {
	t.records.failures.Add(1)
	t.failures.Add(ctx, 1, t.measured(a, keyTrigger.String(trigger)))
}

// Resent implements [call.Listener]. It counts a replay, and says so on the request's
// own span if that is a CLIENT span: http.request.resend_count is defined for those.
func (t *telemetry) Resent(ctx context.Context, a core.Authority, n int) {
	t.records.replays.Add(1)
	defer func() { t.replays.Add(ctx, 1, t.measured(a)) }() // though the span panics, and the other way round
	span := trace.SpanFromContext(ctx)
	if k, ok := span.(interface{ SpanKind() trace.SpanKind }); ok && k.SpanKind() == trace.SpanKindClient {
		span.SetAttributes(semconv.HTTPRequestResendCount(n))
	}
}

// mostHosts bounds the hosts that the metrics of one client tell apart.
const mostHosts = 32

// hosts are the hosts that metrics distinguish. A nil *hosts distinguishes none.
type hosts struct {
	mu    sync.Mutex // guards known
	known map[host]bool
}

type host struct {
	name string
	port int // 0: none
}

// otherHost stands for all hosts that metrics do not tell apart.
var otherHost = host{name: "_OTHER"}

func (h host) attributes() []attribute.KeyValue {
	if h.port == 0 {
		return []attribute.KeyValue{semconv.ServerAddress(h.name)}
	}
	return []attribute.KeyValue{semconv.ServerAddress(h.name), semconv.ServerPort(h.port)}
}

// admit gives the host of a a name on metrics: its own, or _OTHER once mostHosts hosts
// have theirs. It reports whether that name is new.
func (h *hosts) admit(a core.Authority) bool {
	if h == nil || a == (core.Authority{}) {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	of := host{a.Host, a.PortNumber()}
	if !h.known[of] && len(h.known) >= mostHosts {
		of = otherHost
	}
	if h.known[of] {
		return false
	}
	h.known[host{strings.Clone(of.name), of.port}] = true
	return true
}

// of returns the host under which metrics report a.
func (h *hosts) of(a core.Authority) host {
	h.mu.Lock()
	defer h.mu.Unlock()
	if of := (host{a.Host, a.PortNumber()}); h.known[of] {
		return of
	}
	return otherHost
}

// each calls f for each host that metrics report.
func (h *hosts) each(f func(host)) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for known := range h.known {
		f(known)
	}
}

// attributes returns those that name the host of a; nil if metrics do not tell hosts
// apart, or if a is zero.
func (h *hosts) attributes(a core.Authority) []attribute.KeyValue {
	if h == nil || a == (core.Authority{}) {
		return nil
	}
	return h.of(a).attributes()
}
