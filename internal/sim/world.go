package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// A world is one simulation: the client under test and all that surrounds it.
// Whatever happens passes through note, which writes it down and looks at the
// client.
type world struct {
	plan  *plan
	began time.Time
	probe *testkit.Probe
	net   *testnet.Network // of real transports
	rt    *respawn.RecoveringRoundTripper
	halt  chan struct{} // closed when an invariant was broken: nobody waits any longer

	mu    sync.Mutex
	log   story
	calls int // of the factory

	// What the oracle judges by.
	links    []*link // every transport there is, by its number; base is 0
	spare    *link   // the fallback, nil for none
	orders   map[int]*order
	runs     []*run    // recreations, by start
	services []service // in order
	outages  []outage  // trips and recoveries, in order
	refusals []refusal
	shutting bool // Close was called
	shut     bool // Close has returned
	closedAt time.Duration
	spoiled  map[uint64]string // goroutines on which a callback panicked or which it ended, and why
	exits    []time.Duration   // when callbacks ended goroutines
	bySpan   map[trace.SpanID]*run
	frees    atomic.Int64
	fetching int      // calls of GetBody that take their time
	judged   int64    // errors that were not neutral
	lulls    []func() // these close the abandoned bodies at the end
	servers  []*http.Server
}

// A service is a transport, and when it was put in service.
type service struct {
	link *link
	at   time.Duration
}

var errHalted = errors.New("simulation halted")

// newWorld starts the client under test. It must be called in a bubble.
func newWorld(t *testing.T, p *plan) *world {
	w := &world{
		plan: p, began: time.Now(), probe: testkit.NewProbe(t), halt: make(chan struct{}),
		orders: map[int]*order{}, bySpan: map[trace.SpanID]*run{}, spoiled: map[uint64]string{},
	}
	if p.kind.real() {
		w.net = testnet.New(t)
		for au := range p.weather {
			w.listen(au)
		}
	}
	base := w.first()
	opts := []respawn.Option{
		respawn.WithFactory(w.build),
		respawn.WithThreshold(p.threshold),
		respawn.WithStallThreshold(p.stalls, p.stallSpan),
		respawn.WithPatience(p.patience),
		respawn.WithRecreateTimeout(p.recreate),
		respawn.WithReplay(p.replay),
		respawn.WithWaitForReady(p.wait),
		respawn.WithMaxAge(p.maxAge),
		respawn.WithDrainTimeout(p.drain),
		respawn.WithBackOff(func() backoff.BackOff { return &backOff{w: w} }),
		respawn.WithClassifier(w.classify),
		respawn.WithTracerProvider(w.tracers()), respawn.WithMeterProvider(w.probe.MeterProvider()), respawn.WithLogger(slog.New(w)),
		func(c *config.Config) error {
			c.Chance = func() float64 { return float64(p.seed%997) / 997 }
			return nil
		},
	}
	if p.fallback {
		w.spare = &link{w: w, number: -1, kind: silent, over: make(chan struct{})}
		opts = append(opts, respawn.WithFallback(w.spare.transport()))
	}
	w.services = []service{{base, 0}}
	rt, err := respawn.New(base.self, opts...)
	if err != nil {
		t.Fatal(err)
	}
	w.rt = rt
	return w
}

// first makes the transport that the client begins with. Where there is none, that is a link which has
// ended, and which nobody sees.
func (w *world) first() *link {
	if !w.plan.absent {
		return w.newLink()
	}
	l := &link{w: w, kind: silent, over: make(chan struct{})}
	l.end()
	w.links = append(w.links, l)
	return l
}

func (w *world) now() time.Duration { return time.Since(w.began) }

// serving returns the transport that was in service at the last look.
func (w *world) serving() *link { return w.services[len(w.services)-1].link }

// note writes down what happened, and looks which transport is in service.
func (w *world) note(who, what string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(who, what, args...)
}

func (w *world) noteLocked(who, what string, args ...any) {
	w.log.events = append(w.log.events, event{w.now(), who, fmt.Sprintf(what, args...)})
	w.look()
}

// look notices that another transport is in service.
func (w *world) look() {
	if w.rt == nil {
		return
	}
	last, current := w.serving(), w.rt.WrappedRoundTripper()
	if current == last.self {
		return
	}
	i := slices.IndexFunc(w.links, func(l *link) bool { return l.self == current })
	w.must(i >= 0, "a %T is in service that nobody built", current)
	if i < 0 {
		return
	}
	l := w.links[i]
	w.must(!l.served, "%v is back in service", l)
	w.must(!l.retired, "%v is in service, and was retired", l)
	l.served = true
	last.retire()
	w.services = append(w.services, service{l, w.now()})
	w.log.events = append(w.log.events, event{w.now(), "client", fmt.Sprintf("%v is in service", l)})
}

// must holds an invariant; the caller holds w.mu.
func (w *world) must(holds bool, what string, args ...any) {
	if holds || w.log.broken != "" {
		return
	}
	w.log.broken = fmt.Sprintf(what, args...)
	w.log.events = append(w.log.events, event{w.now(), "BROKEN", w.log.broken})
	close(w.halt)
}

// pause lets virtual time pass, and reports whether the simulation goes on.
func (w *world) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.halt:
		return false
	}
}

// draw returns a duration that depends only on the seed and on what it is for, not on the scheduler.
func (w *world) draw(lo, hi time.Duration, what string, of ...int) time.Duration {
	return lo + time.Duration(w.hash(what, of...)%uint64(hi-lo))
}

func (w *world) hash(what string, of ...int) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, w.plan.seed, what, of)
	x := h.Sum64() // whose low bits are poor
	x ^= x >> 32
	x *= 0x9E3779B97F4A7C15
	return x ^ x>>29
}

// orderList is the orders by their number.
func (w *world) orderList() []*order {
	var list []*order
	for _, id := range slices.Sorted(maps.Keys(w.orders)) {
		list = append(list, w.orders[id])
	}
	return list
}

// free is called by everything that the client calls back. The client must hold no lock then: if it
// does, Health blocks here, and the simulation stands still.
func (w *world) free() {
	if w.rt != nil && (!w.plan.crowded || w.frees.Add(1)%16 == 0) {
		w.rt.Health()
	}
}

// health returns the client's Health. ok is false if a transport's Err ended the goroutine.
func (w *world) health() (h respawn.Health, ok bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		h = w.rt.Health()
		ok = true
	}()
	<-done
	return h, ok
}

// classify is the default classifier, whose verdicts the world notes.
func (w *world) classify(req *http.Request, err error) respawn.Verdict {
	w.free()
	v := respawn.DefaultClassifier(req, err)
	w.classified(req, v)
	return v
}

// A backOff is the plan's policy.
type backOff struct {
	w *world
	n int
	d time.Duration
}

func (b *backOff) Reset() { b.n, b.d = 0, 0 }

func (b *backOff) NextBackOff() time.Duration {
	p := b.w.plan.policy
	b.w.free()
	b.n++
	var d time.Duration
	switch {
	case p.fault > 0 && b.n >= p.fault:
		d = max(b.d, time.Second) // the client overrules a policy that fails
	case b.n == 1:
		d = p.first
	default:
		d = min(time.Duration(int64(b.d)*p.factor), p.most)
	}
	b.d = d
	b.w.mu.Lock()
	b.w.draws(d)
	b.w.mu.Unlock()
	if p.fault > 0 && b.n >= p.fault {
		switch p.how {
		case policyPanics:
			panic("a policy that panics")
		case policyExits:
			b.w.exit("the policy")
		}
		return backoff.Stop
	}
	return d
}

// draws notes an interval that was drawn with a build that begins now; the caller
// holds w.mu.
func (w *world) draws(d time.Duration) {
	for _, r := range w.runs {
		if r.start == w.now() && r.drawn == 0 {
			r.drawn = d
			return
		}
	}
}

// The world is the slog.Handler of the client's logger.

func (w *world) Enabled(context.Context, slog.Level) bool { return true }
func (w *world) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *world) WithGroup(string) slog.Handler            { return w }

func (w *world) Handle(ctx context.Context, r slog.Record) error {
	w.free()
	var text string
	attrs := map[string]any{}
	r.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value.Any()
		if a.Key != "exception.stacktrace" && a.Key != "respawn.name" {
			text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	w.note("log", "%v %s%s", r.Level, r.Message, text)
	w.told(r.Message, attrs)
	err := w.probe.Logger().Handler().Handle(ctx, r)
	w.mood("the logger", int(w.now()))
	return err
}
