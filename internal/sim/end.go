package sim

import (
	"context"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/respawnhttp/respawn"
)

// This file checks what must hold whenever nothing moves, once the network is well, and at the end.

// sample compares the client's Health with the simulation's own counts, at random moments when
// nothing moves.
func (w *world) sample(ctx context.Context) {
	for n := 0; ctx.Err() == nil && w.pause(w.draw(200*time.Millisecond, 400*time.Millisecond, "sample", n)); n++ {
		synctest.Wait()
		h, ok := w.health()
		if !ok {
			continue
		}
		w.mu.Lock()
		w.look()
		open, draining, over := 0, 0, 0
		for _, r := range w.runs {
			if r.over {
				over++
			}
		}
		for _, l := range w.links {
			open += l.open
			if l.open > 0 && !l.candidate() && (w.shut || l != w.serving()) {
				draining++
			}
		}
		if w.plan.kind.real() {
			w.must(h.InFlight >= 0 && h.Draining >= 0, "Health says %d in flight, %d draining", h.InFlight, h.Draining)
		} else if w.shut || !w.shutting {
			w.must(within(int(h.InFlight), open, w.fetching), "Health says %d in flight, there are %d", h.InFlight, open)
			w.must(within(h.Draining, draining, w.fetching), "Health says %d draining, there are %d", h.Draining, draining)
		}
		w.must(h.Promotions+h.Rejections == over, "Health says %d promotions and %d rejections of %d", h.Promotions, h.Rejections, over)
		w.must(h.Recreating == (over < len(w.runs)), "Health says recreating: %v", h.Recreating)
		w.mu.Unlock()
	}
}

// within reports whether n is at least the given number, or more by those whose bodies are being
// fetched: they are on a transport that does not have them yet.
func within(n, least, fetching int) bool { return n >= least && n <= least+fetching }

// candidate reports whether the link is a candidate whose recreation has not ended.
func (l *link) candidate() bool { return l.run != nil && !l.run.over && !l.served }

// heal returns the time within which an authority must be served once the network and the factory
// are well. It allows for two dead transports in turn, since a recreation that is under way by then
// may give a candidate that is no good: for each, the time to notice that it is dead and the time of
// one recreation. Between the two lies one backoff interval.
func (w *world) heal() time.Duration {
	p := w.plan
	notice := time.Duration(max(p.threshold, p.stalls)+2)*(probeWait+p.lull) + p.stallSpan
	limit := p.recreate + max(p.recreate, 8*time.Second)
	return p.policy.longest() + 2*(notice+limit)
}

// probeWait is how long the probers wait for an answer.
const probeWait = time.Second

// visit sends requests to an authority until three in a row are answered: a single answer may come
// from a candidate that was not good enough.
func (w *world) visit(au, id int) {
	limit := w.now() + w.heal()
	for served := 0; served < 3; id++ {
		if !w.pause(w.plan.lull + time.Duration(au)) {
			return
		}
		served++
		if !w.send(errand{id: id, au: au, method: "GET", in: probeWait, answer: short}) {
			served = 0
		}
		if w.plan.places > 0 && w.now() > limit {
			return // a body that nobody reads to its end may hold the only place
		}
		w.mu.Lock()
		w.must(served > 0 || w.now() <= limit, "%s is not served %v after all was well", hostOf(au), w.now()-limit+w.heal())
		w.mu.Unlock()
	}
}

// settle checks the totals after the last caller has left and the client is closed.
func (w *world) settle() {
	total := map[string]int64{}
	for _, name := range []string{"respawn.transport.recreations", "respawn.transport.failures", "respawn.request.replays"} {
		total[name] = w.probe.Total(name)
	}
	recreations := countOf(w.probe.Metric("respawn.transport.recreation.duration"))
	recoveries := countOf(w.probe.Metric("respawn.recovery.duration"))
	logged := len(w.probe.Logged("respawn: recovered"))
	h := w.rt.Health()

	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(h.State == respawn.StateClosed && !h.Recreating, "in the end the client is %v, recreating: %v", h.State, h.Recreating)
	w.must(h.InFlight == 0 && h.Draining == 0, "%d in flight on %d generations in the end", h.InFlight, h.Draining)
	replays := int64(0)
	for _, o := range w.orderList() {
		w.must(o.done, "r%d has not returned", o.id)
		replays += int64(max(0, len(o.tries)-1))
		for _, u := range o.uploads {
			w.must(u.closes == 1 || u.closes == 0 && o.spoiled, "%s was closed %d times", u.name, u.closes)
		}
		if o.span != nil && !w.plan.kind.real() && !o.spoiled {
			w.mustCountResends(o)
		}
	}
	real := w.plan.kind.real() // the simulation does not see their tries
	w.must(real || total["respawn.request.replays"] == replays, "%d replays counted, there were %d", total["respawn.request.replays"], replays)
	w.must(total["respawn.transport.failures"] <= w.judged, "%d failures counted, there were at most %d", total["respawn.transport.failures"], w.judged)
	n := int64(len(w.runs))
	w.must(total["respawn.transport.recreations"] == n && recreations == n || w.plan.moody, "%d and %d recreations counted, there were %d", total["respawn.transport.recreations"], recreations, n)
	w.must(recoveries == int64(logged), "%d recoveries counted, %d logged", recoveries, logged)
	for _, r := range w.runs {
		w.must(r.over, "recreation %d never ended", r.number)
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
			w.must(c.lost || l.kind == silent, "%v has a connection open in the end", l)
		}
	}
	w.judge()
}

// mustCountResends: the span ends when the caller has its answer. A copy that is sent in that very
// instant comes too late for the span.
func (w *world) mustCountResends(o *order) {
	least, most := int64(max(0, o.tried-1)), int64(max(0, len(o.tries)-1))
	got := int64(0)
	for _, kv := range o.span.(sdktrace.ReadOnlySpan).Attributes() {
		if kv.Key == "http.request.resend_count" && kv.Value.Type() == attribute.INT64 {
			got = kv.Value.AsInt64()
		}
	}
	w.must(least <= got && got <= most, "r%d: http.request.resend_count is %d, it was sent again %d times, %d of them before its end", o.id, got, most, least)
}

func countOf(m metricdata.Metrics) (n int64) {
	if h, ok := m.Data.(metricdata.Histogram[float64]); ok {
		for _, pt := range h.DataPoints {
			n += int64(pt.Count)
		}
	}
	return n
}
