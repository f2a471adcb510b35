package respawn

import (
	"context"
	"slices"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/respawnhttp/respawn/internal/evidence"
)

// What must hold at every rest, once the network is well, and in the end.

// sample looks at the client now and then, when nothing moves.
func (w *simWorld) sample(ctx context.Context) {
	for n := 0; ctx.Err() == nil && w.pause(w.draw(200*time.Millisecond, 400*time.Millisecond, "sample", n)); n++ {
		synctest.Wait()
		h := w.rt.Health()
		candidate, _ := w.free("nobody")
		w.mu.Lock()
		w.look()
		open, draining := 0, 0
		current := w.linkOf(w.rt.current.Load())
		for _, l := range w.links {
			if l.self == candidate { // on trial
				w.mustNotHold(l.trial)
				continue
			}
			open += l.open
			if l != current && l.open > 0 {
				draining++
			}
		}
		if w.plan.kind.real() {
			w.must(h.InFlight >= 0 && h.Draining >= 0, "Health says %d in flight, %d draining", h.InFlight, h.Draining)
		} else if w.shut && candidate == nil || !w.shutting {
			w.must(h.InFlight == int64(open), "Health says %d in flight, there are %d", h.InFlight, open)
			w.must(h.Draining == draining, "Health says %d draining, there are %d", h.Draining, draining)
		}
		over := 0
		for _, r := range w.runs {
			if r.over {
				over++
			}
		}
		w.must(h.Promotions+h.Rejections == over, "Health says %d promotions and %d rejections of %d", h.Promotions, h.Rejections, over)
		w.must(h.Recreating == (over < len(w.runs)), "Health says recreating: %v", h.Recreating)
		w.mu.Unlock()
	}
}

// mustNotHold limits how long a trial may keep all others from theirs.
func (w *simWorld) mustNotHold(t *simTry) {
	if t == nil || t.link.served {
		return
	}
	limit := max(w.plan.patience, w.stalled)
	w.must(w.now()-t.arrived <= limit, "the trial of r%d holds the gate for %v", t.order.id, w.now()-t.arrived)
}

// heal is the time within which an authority must be served once the network
// and the factory are well: what is left of a recreation that was under way or
// of a candidate that is no good, one backoff interval, and what it takes to
// notice that the transport is dead, before and after that.
func (w *simWorld) heal() time.Duration {
	p := w.plan
	notice := time.Duration(max(p.threshold, p.stalls)+2)*(simProbe+p.lull) + p.stallSpan
	limit := p.patience + max(p.patience, 8*time.Second)
	return p.policy.longest() + 2*(notice+limit)
}

// simProbe is how long the probers wait for an answer.
const simProbe = time.Second

// visit asks an authority until it is well: a single answer may come from a
// candidate that was not good enough.
func (w *simWorld) visit(au, id int) {
	limit := w.now() + w.heal()
	for served := 0; served < 3; id++ {
		if !w.pause(w.plan.lull + time.Duration(au)) {
			return
		}
		served++
		if !w.send(simErrand{id: id, au: au, method: "GET", in: simProbe, answer: simShort}) {
			served = 0
		}
		w.mu.Lock()
		w.must(served > 0 || w.now() <= limit, "%s is not served %v after all was well", simHost(au), w.now()-limit+w.heal())
		w.mu.Unlock()
	}
}

// settle checks the whole when everybody has gone.
func (w *simWorld) settle() {
	total := map[string]int64{}
	for _, name := range []string{"respawn.transport.recreations", "respawn.transport.failures", "respawn.request.replays"} {
		total[name] = w.probe.total(name)
	}
	recreations := simCount(w.probe.metric("respawn.transport.recreation.duration"))
	recoveries := simCount(w.probe.metric("respawn.recovery.duration"))
	logged := len(w.probe.logged("respawn: recovered"))
	candidate, trigger := w.free("nobody")
	w.rt.mu.Lock()
	retired, last, current := len(w.rt.retired), w.rt.last, w.rt.current.Load()
	w.rt.mu.Unlock()

	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(candidate == nil && trigger == "", "a recreation is running after the end")
	w.must(retired == 0, "%d generations still drain", retired)
	w.must(current == nil && last.InFlight() == 0, "%d in flight in the end", last.InFlight())
	replays := int64(0)
	for _, o := range w.orders {
		replays += int64(max(0, len(o.tries)-1))
		for _, u := range o.uploads {
			w.must(u.closes == 1, "%s was closed %d times", u.name, u.closes)
		}
		if o.span != nil && !w.plan.kind.real() {
			w.mustCountResends(o)
		}
	}
	real := w.plan.kind.real() // their tries are not seen
	w.must(real || total["respawn.request.replays"] == replays, "%d replays counted, there were %d", total["respawn.request.replays"], replays)
	w.must(real || total["respawn.transport.failures"] == w.fails, "%d failures counted, there were %d", total["respawn.transport.failures"], w.fails)
	n := int64(len(w.runs))
	w.must(total["respawn.transport.recreations"] == n && recreations == n, "%d and %d recreations counted, there were %d", total["respawn.transport.recreations"], recreations, n)
	w.must(recoveries == int64(logged), "%d recoveries counted, %d logged", recoveries, logged)
	for _, r := range w.runs {
		w.must(r.over, "a recreation's span never ended")
	}
	w.must(w.calls <= len(w.runs), "%d calls of the factory for %d recreations", w.calls, len(w.runs))
	for _, l := range w.links {
		w.must(l.open == 0, "%v has %d in flight in the end", l, l.open)
		if l.kind.closes() {
			w.must(l.closes == 1, "%v was closed %d times", l, l.closes)
		}
		for _, c := range l.wires {
			w.must(c.closed, "%v has a connection open in the end", l)
		}
		for _, c := range l.pool {
			w.must(c.lost || l.kind == simSilent, "%v has a connection open in the end", l)
		}
	}
	w.mustKeepPace()
}

func (w *simWorld) mustCountResends(o *simOrder) {
	want := int64(max(0, len(o.tries)-1))
	got := int64(0)
	for _, kv := range o.span.(sdktrace.ReadOnlySpan).Attributes() {
		if kv.Key == "http.request.resend_count" && kv.Value.Type() == attribute.INT64 {
			got = kv.Value.AsInt64()
		}
	}
	w.must(got == want, "r%d: http.request.resend_count is %d, it was sent again %d times", o.id, got, want)
}

func simCount(m metricdata.Metrics) (n int64) {
	if h, ok := m.Data.(metricdata.Histogram[float64]); ok {
		for _, pt := range h.DataPoints {
			n += int64(pt.Count)
		}
	}
	return n
}

// mustKeepPace holds the recreations to the backoff: what was asked for by
// hand or by age is exempt; promotions and failing factories hold back
// everybody for the client's interval; what an upstream refused holds back its
// authority for its own, and everybody for a first one, unless the transport has
// ended.
func (w *simWorld) mustKeepPace() {
	policy := w.plan.policy
	var client struct {
		n        int
		at       time.Duration // when it last advanced
		interval time.Duration
		well     bool
	}
	spaced := time.Duration(0)
	type refusal struct {
		n         int // in a row
		at, until time.Duration
	}
	refused := map[string]refusal{} // by authority
	for i, r := range w.runs {
		if !r.planned() || r.trigger == evidence.TriggerEnded {
			w.must(client.n == 0 || r.start >= client.at+client.interval, "recreation %d begins %v after the last, in a window of %v", i+1, r.start-client.at, client.interval)
		}
		if !r.planned() && !r.onEnded { // no upstream holds back what has ended
			w.must(r.start >= spaced, "recreation %d begins within a first interval after an upstream's rejection", i+1)
			was := refused[r.from]
			w.must(r.start >= was.until || w.servedSince(r.from, was.at, r.start), "recreation %d begins in the window of %s", i+1, r.from)
		}
		if since := r.end - r.outage; client.well && r.outage > 0 && since-client.at >= client.interval {
			client.n = 0 // it had been healthy for the interval
		} else if r.outage == 0 && client.well && r.start-client.at >= client.interval {
			client.n = 0
		} else if len(w.plan.weather) > 1 && client.well && r.start-client.at >= client.interval {
			client.n = 0 // another authority may have seen it healthy
		}
		built := r.link != nil
		switch {
		case r.err == "recovered":
			spaced = r.end + policy.interval(0)
		case r.calledOff(), r.promoted && r.planned() && r.trigger != evidence.TriggerEnded:
		case r.promoted, !built, r.planned():
			client.interval = policy.interval(client.n)
			client.n++
			client.at, client.well = r.end, r.promoted
		default:
			spaced = r.end + policy.interval(0)
			was := refused[r.to]
			if w.servedSince(r.to, was.at, r.end) {
				was.n = 0
			}
			refused[r.to] = refusal{was.n + 1, r.end, r.end + policy.interval(was.n)}
		}
		if r.promoted {
			clear(refused)
		}
	}
}

// servedSince reports whether the transport in service gave an answer of the
// authority in that time.
func (w *simWorld) servedSince(host string, from, to time.Duration) bool {
	return slices.ContainsFunc(w.answers[host], func(at time.Duration) bool { return from <= at && at <= to })
}
