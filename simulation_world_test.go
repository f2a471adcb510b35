package respawn

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/generation"
)

// A simWorld is one simulation: the client under test and all that surrounds
// it. Whatever happens passes through note, which writes it down and looks at
// the client.
type simWorld struct {
	plan  *simPlan
	began time.Time
	probe *probe
	rt    *RecoveringRoundTripper
	halt  chan struct{} // closed when an invariant was broken: nobody waits any longer

	mu       sync.Mutex
	log      simLog
	links    []*simLink // every transport there is, by its number; base is 0
	hosts    []*host    // the upstreams of real transports
	spare    *simLink   // the fallback, nil for none
	calls    int        // of the factory
	orders   map[int]*simOrder
	blames   map[int]*simBlame // by authority
	past     map[int]*simBlame // before the last promotion
	bySpan   map[trace.SpanID]*simRun
	runs     []*simRun                  // recreations, by start
	gens     []*generation.Generation   // in order of service
	shut     bool                       // Close has returned
	shutting bool                       // Close was called
	fresh    map[int]time.Duration      // the last answer to a try that began after the failures, by authority
	answers  map[string][]time.Duration // of the transport in service, by host
	stalled  time.Duration              // the longest wait of a try that stalled
	fails    int64                      // failures that must have been counted
	lulls    []func()                   // what abandoned bodies are closed by in the end
}

var errSimHalted = errors.New("simulation halted")

// newWorld starts the client under test. It must be called in a bubble.
func newWorld(t *testing.T, p *simPlan) *simWorld {
	w := &simWorld{
		plan: p, began: time.Now(), probe: newProbe(t), halt: make(chan struct{}),
		orders: map[int]*simOrder{}, bySpan: map[trace.SpanID]*simRun{}, fresh: map[int]time.Duration{}, answers: map[string][]time.Duration{}, blames: map[int]*simBlame{},
	}
	for au := range p.weather {
		w.blames[au] = &simBlame{}
	}
	w.probe.tracers.RegisterSpanProcessor(w)
	if p.kind.real() {
		for au := range p.weather {
			w.hosts = append(w.hosts, w.listen(au))
		}
	}
	base := w.newLink()
	opts := []Option{
		WithFactory(w.build),
		WithThreshold(p.threshold),
		WithStallThreshold(p.stalls, p.stallSpan),
		WithRecreateTimeout(p.patience),
		WithReplay(p.replay),
		WithWaitForReady(p.wait),
		WithMaxAge(p.maxAge),
		WithDrainTimeout(p.drain),
		WithBackOff(func() backoff.BackOff { return &simBackOff{w: w} }),
		WithClassifier(w.classify),
		WithTracerProvider(w.probe.tracers), WithMeterProvider(w.probe.meters), WithLogger(slog.New(w)),
		func(c *config) error {
			c.Chance = func() float64 { return float64(p.seed%997) / 997 }
			return nil
		},
	}
	if p.fallback {
		w.spare = &simLink{w: w, number: -1, kind: simSilent, over: make(chan struct{})}
		opts = append(opts, WithFallback(w.spare.transport()))
	}
	rt, err := New(base.transport(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	w.rt = rt
	w.gens = append(w.gens, rt.current.Load())
	return w
}

func (w *simWorld) now() time.Duration { return time.Since(w.began) }

// note writes down what happened, and looks whether all is as it must be.
func (w *simWorld) note(who, what string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(who, what, args...)
}

func (w *simWorld) noteLocked(who, what string, args ...any) {
	w.log.events = append(w.log.events, simEvent{w.now(), who, fmt.Sprintf(what, args...)})
	w.look()
}

// must holds an invariant; the caller holds w.mu.
func (w *simWorld) must(holds bool, what string, args ...any) {
	if holds || w.log.broken != "" {
		return
	}
	w.log.broken = fmt.Sprintf(what, args...)
	w.log.events = append(w.log.events, simEvent{w.now(), "BROKEN", w.log.broken})
	close(w.halt)
}

// pause lets virtual time pass, and reports whether the simulation goes on.
func (w *simWorld) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.halt:
		return false
	}
}

// draw is chance that depends on nothing but the seed and what it is for.
func (w *simWorld) draw(lo, hi time.Duration, what string, of ...int) time.Duration {
	h := fnv.New64a()
	fmt.Fprint(h, w.plan.seed, what, of)
	return lo + time.Duration(h.Sum64()%uint64(hi-lo))
}

// free is called by whatever the library calls back: it must hold no lock
// then. It returns the transports of the recreation that is running and
// whether it is planned.
func (w *simWorld) free(who string) (candidate any, trigger string) {
	var start, now syscall.Timeval
	for i := 0; !w.rt.mu.TryLock(); i++ {
		select {
		case <-w.halt:
			return nil, ""
		default:
		}
		runtime.Gosched()
		if i%1000 == 0 { // the wall clock: virtual time stands still meanwhile
			_ = syscall.Gettimeofday(&now)
			if i == 0 {
				start = now
			}
			if now.Nano()-start.Nano() > int64(3*time.Second) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.must(false, "%s is called under the lock", who)
				return nil, ""
			}
		}
	}
	defer w.rt.mu.Unlock()
	if r := w.rt.running; r != nil {
		trigger = r.trigger
		if r.candidate != nil {
			candidate = r.candidate.Transport
		}
	}
	return candidate, trigger
}

// classify is the default, watched.
func (w *simWorld) classify(req *http.Request, err error) Verdict {
	w.free("the classifier")
	v := DefaultClassifier(req, err)
	w.classified(req, v)
	return v
}

// simBackOff is the plan's policy.
type simBackOff struct {
	w *simWorld
	n int
	d time.Duration
}

func (b *simBackOff) Reset() { b.n, b.d = 0, 0 }

func (b *simBackOff) NextBackOff() time.Duration {
	p := b.w.plan.policy
	if b.w.rt != nil {
		b.w.free("the backoff policy")
	}
	b.n++
	switch {
	case p.panics > 0 && b.n >= p.panics:
		panic("a policy that panics")
	case p.stops > 0 && b.n >= p.stops:
		return backoff.Stop
	case b.n == 1:
		b.d = p.first
	default:
		b.d = min(time.Duration(int64(b.d)*p.factor), p.most)
	}
	return b.d
}

// The world is the client's log ...

func (w *simWorld) Enabled(context.Context, slog.Level) bool { return true }
func (w *simWorld) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *simWorld) WithGroup(string) slog.Handler            { return w }

func (w *simWorld) Handle(ctx context.Context, r slog.Record) error {
	w.free("the logger")
	var attrs string
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "exception.stacktrace" && a.Key != string(keyName) {
			attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	w.note("log", "%v %s%s", r.Level, r.Message, attrs)
	if r.Message == "respawn: recovered" {
		w.mustBeRecovered(attrs)
	}
	return w.probe.Handle(ctx, r)
}

// ... and its span processor.

func (w *simWorld) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	if s.Name() == spanName {
		w.free("the tracer")
		w.started(s)
	}
}

func (w *simWorld) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.Name() == spanName {
		w.free("the tracer")
		w.ended(s)
	}
}

func (w *simWorld) Shutdown(context.Context) error   { return nil }
func (w *simWorld) ForceFlush(context.Context) error { return nil }
