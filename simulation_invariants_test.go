package respawn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
)

// What must hold at every step. All functions here hold w.mu or take it.

// look compares the client's own state with what it was.
func (w *simWorld) look() {
	if w.rt == nil {
		return
	}
	last := w.gens[len(w.gens)-1]
	g := w.rt.current.Load()
	w.must(g != nil || w.shutting, "no generation is in service")
	if l := w.linkOf(last); g != last && !l.retired {
		l.retired, l.off = true, w.now()
	}
	if g != nil && g != last {
		w.must(g.Number == last.Number+1, "generation %d follows generation %d", g.Number, last.Number)
		w.must(!slices.Contains(w.gens, g), "generation %d is back", g.Number)
		w.gens = append(w.gens, g)
		w.past = w.blames
		w.blames = map[int]*simBlame{}
		for au := range w.plan.weather {
			w.blames[au] = &simBlame{}
		}
		// One that has ended is replaced by what is fit, if its trial fails, too.
		if t := w.linkOf(g).failed; t != nil && t.returned == w.now() {
			w.blames[t.order.au].learn(t)
		}
		w.log.events = append(w.log.events, simEvent{w.now(), "client", fmt.Sprintf("generation %d is %v", g.Number, w.linkOf(g))})
	}
	for _, g := range w.gens {
		n := g.InFlight() // of its stripes, whose highest bit says that it is retired
		w.must(0 <= n && n <= math.MaxInt32, "a negative count in flight on generation %d", g.Number)
		w.linkOf(g).served = true
	}
}

func (w *simWorld) linkOf(g *generation.Generation) *simLink {
	if g == nil {
		return nil
	}
	for _, l := range w.links {
		if l.self == g.Transport {
			return l
		}
	}
	w.must(false, "a %T is in service that nobody built", g.Transport)
	return nil
}

// arrive is called when a transport gets a request.
func (w *simWorld) arrive(l *simLink, req *http.Request) *simTry {
	candidate, _ := w.free("RoundTrip")
	w.mu.Lock()
	defer w.mu.Unlock()
	id, _ := strconv.Atoi(req.Header.Get(simID))
	o := w.orders[id]
	t := &simTry{link: l, order: o, number: len(o.tries) + 1, req: req, arrived: w.now()}
	o.tries = append(o.tries, t)
	l.open++
	w.noteLocked(o.who(), "try %d on %v", t.number, l)
	w.must(!o.late, "r%d is sent after Close", id)
	if l == w.spare {
		w.must(t.number <= w.mostTries(o)+1, "r%d makes %d attempts", id, t.number)
		return t
	}
	w.must(t.number <= w.mostTries(o), "r%d makes %d attempts", id, t.number)
	w.must(t.number == 1 || w.plan.replay != ReplayNever, "r%d is sent again under ReplayNever", id)
	w.must(!l.retired || l.off == w.now(), "r%d is sent on %v, which was retired at %v", id, l, l.off)
	if !l.served {
		t.trial = true
		w.must(candidate == l.self || l.retired, "r%d is sent on %v, which is not on trial", id, l)
		w.must(l.trying == 0, "two trials at a time on %v", l)
		l.trying++
		l.trial = t
	}
	return t
}

// mostTries is how many attempts o may have made by now: under WithWaitForReady
// one more for each second.
func (w *simWorld) mostTries(o *simOrder) int {
	most := w.plan.threshold + 1
	if w.plan.wait > 0 {
		most += int((w.now() - o.began) / restFor)
	}
	return most
}

// mustSendOnce is called when a try gets a connection.
func (w *simWorld) mustSendOnce(t *simTry) {
	o := t.order
	if w.plan.replay == ReplayUnsent || !o.idempotent() {
		w.must(o.sent == 1, "r%d, a %s, is sent %d times", o.id, o.method, o.sent)
	}
}

// deliver is called when the upstream processes a request.
func (w *simWorld) deliver(t *simTry, payload []byte, early bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := t.order
	o.served++
	w.must(o.idempotent() || o.served == 1, "r%d, a %s, is processed twice", o.id, o.method)
	if o.body != simBare && !early {
		w.must(string(payload) == simPayload(o.id), "r%d arrives with the body %q", o.id, payload)
	}
}

// mustNotCut is called when the context of a try has ended.
func (w *simWorld) mustNotCut(t *simTry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := t.order
	if errors.Is(context.Cause(t.req.Context()), generation.ErrDrained) && w.plan.drain > 0 && t.link.retired {
		w.must(w.now() >= t.link.off+w.plan.drain, "r%d is cut %v after %v was retired", o.id, w.now()-t.link.off, t.link)
		return
	}
	w.must(o.req.Context().Err() != nil, "r%d is cut on %v, its caller is still there", o.id, t.link)
}

// depart is called when a transport returns.
func (w *simWorld) depart(t *simTry, resp *http.Response, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := t.link
	t.returned, t.err = w.now(), err
	if err != nil && t.fault == simStall {
		w.stalled = max(w.stalled, t.returned-t.arrived)
	}
	w.noteLocked(t.order.who(), "try %d on %v: %v", t.number, l, err)
	if t.trial {
		l.trying--
		l.trial = nil
		if err != nil {
			l.failed = t
		}
	}
	if err != nil || resp.Body == http.NoBody {
		l.open--
	}
	b := w.blames[t.order.au]
	if err == nil && !l.retired && l != w.spare && (!l.served || b.faults == 0 || t.arrived >= b.last) {
		w.fresh[t.order.au] = w.now()
	}
	if l == w.linkOf(w.rt.current.Load()) {
		b.learn(t)
		if err == nil {
			host := simHost(t.order.au)
			w.answers[host] = append(w.answers[host], w.now())
		}
	}
}

// A simBlame is what speaks against the transport in service for one
// authority: at least what the client may count.
type simBlame struct {
	faults     int
	last       time.Duration
	sent       bool // the last one had a connection
	stalls     int
	firstStall time.Duration
	lastStall  time.Duration
	longest    time.Duration // of the stalled waits
}

func (b *simBlame) learn(t *simTry) {
	switch {
	case t.err == nil:
		if b.faults == 0 || t.arrived > b.last {
			*b = simBlame{}
		}
	case t.fault == simAgainst:
		if b.faults == 0 || t.arrived >= b.last {
			b.faults++
			b.last, b.sent = t.returned, t.conn != nil
		}
	case t.fault == simStall:
		if b.stalls == 0 {
			b.firstStall = t.returned
		}
		b.stalls++
		b.lastStall = t.returned
		b.longest = max(b.longest, t.returned-t.arrived)
	}
}

// trips reports whether that may be a reason for a recreation.
func (b *simBlame) trips(p *simPlan) bool {
	return b.faults >= p.threshold || p.stalls > 0 && b.stalls >= p.stalls && b.lastStall-b.firstStall >= p.stallSpan
}

// started is called when a recreation begins.
func (w *simWorld) started(s sdktrace.ReadWriteSpan) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := attributesOf(s.Attributes())
	r := &simRun{start: s.StartTime().Sub(w.began), trigger: a["respawn.trigger"].(string)}
	r.from, _ = a["server.address"].(string)
	r.delay = time.Duration(a["respawn.backoff.delay"].(float64) * 1e9)
	w.runs = append(w.runs, r)
	w.bySpan[s.SpanContext().SpanID()] = r
	w.noteLocked("client", "recreation %d of %q: %s", len(w.runs), r.from, r.trigger)
	ended := w.linkOf(w.rt.current.Load())
	r.onEnded = ended != nil && ended.ended
	switch {
	case r.trigger == evidence.TriggerManual || r.trigger == evidence.TriggerMaxAge || ended == nil || w.plan.kind.real():
	case r.trigger == evidence.TriggerEnded:
		w.must(ended.ended, "%v is replaced because it has ended, which it has not", ended)
	default:
		b := w.blames[int(r.from[0]-'a')]
		w.must(b.trips(w.plan), "a recreation for %s without a reason: %+v", r.from, *b)
	}
}

// ended is called when a recreation ends.
func (w *simWorld) ended(s sdktrace.ReadOnlySpan) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.bySpan[s.SpanContext().SpanID()]
	w.must(!r.over, "a recreation ends twice")
	a := attributesOf(s.Attributes())
	r.over, r.end = true, s.EndTime().Sub(w.began)
	r.promoted = a["respawn.outcome"] == outcomePromoted
	r.to, _ = a["server.address"].(string)
	r.err, _ = a["error.type"].(string)
	r.generation = a["respawn.transport.generation"].(int64)
	if d, ok := a["respawn.outage.duration"].(float64); ok {
		r.outage = time.Duration(d * 1e9)
	}
	w.noteLocked("client", "recreation %d of %q: %v %s", slices.Index(w.runs, r)+1, r.to, a["respawn.outcome"], r.err)
	w.must(r.end == w.now(), "a recreation's span ends at %v", r.end)
	for _, other := range w.runs {
		w.must(other.start <= r.start || other.start >= r.end, "two recreations at a time")
	}
	switch l := r.link; {
	case !r.promoted:
		w.must(r.err != "", "a rejection without an error")
		own := r.err == "context.deadlineExceededError" || r.err == "*errors.errorString" || r.err == errSimUnreadable.ErrorType() && w.plan.replay != ReplayNever
		w.must(!own, "a recreation ends with its caller: %s", r.err)
		if l != nil {
			w.must(!l.served, "%v is in service and rejected", l)
			l.retired, l.off = true, w.now()
		}
	default:
		if l == nil {
			w.must(false, "promoted, and nothing was built")
			return
		}
		w.must(l.served, "promoted, and %v is not in service", l)
		w.must(int64(w.gens[len(w.gens)-1].Number) == r.generation, "generation %d is promoted as %d", w.gens[len(w.gens)-1].Number, r.generation)
		w.mustBeProven(r)
	}
}

// mustBeProven holds a promotion to what its candidate has shown.
func (w *simWorld) mustBeProven(r *simRun) {
	l := r.link
	if r.planned() || l.kind.real() || w.linkOf(w.gens[len(w.gens)-2]).ended {
		return // anything is better than what has ended
	}
	w.must(l.dialed > 0, "%v is promoted without a connection", l)
	if !l.kind.traces() {
		w.must(l.answers > 0, "%v is promoted without an answer", l)
	}
	if r.from != r.to {
		return
	}
	b := w.past[int(r.to[0]-'a')]
	if b.faults >= w.plan.threshold && b.sent && b.stalls == 0 {
		w.must(l.answers > 0, "%v is promoted by a connection, which the failures had, too", l)
	}
	if r.trigger == evidence.TriggerStall && b.faults < w.plan.threshold {
		for _, o := range w.orders {
			for _, t := range o.tries {
				if t.link == l && t.trial && t.answered > 0 {
					w.must(t.answered-t.arrived < b.longest, "%v is promoted after stalls of %v, and took %v", l, b.longest, t.answered-t.arrived)
				}
			}
		}
	}
}

// mustBeRecovered holds the end of an outage to an answer that says so: to an
// attempt that began after the last failure.
func (w *simWorld) mustBeRecovered(attrs string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for au := range w.plan.weather {
		if strings.Contains(attrs, "="+simHost(au)) && !w.plan.kind.real() {
			at, ok := w.fresh[au]
			w.must(ok && at == w.now(), "%s is said to have recovered, by no answer or a late one", simHost(au))
		}
	}
}

// mustBeOwn holds an error to be one that the caller would have got without
// respawn: a transport's, or its own context's.
func (w *simWorld) mustBeOwn(o *simOrder, err error) {
	for _, t := range o.tries {
		if t.err == err {
			return
		}
	}
	_, own := err.(interface{ ErrorType() string }) // respawn's own, or the simulation's
	if _, ok := err.(simError); ok {
		own = false
	}
	switch ctx := o.req.Context(); {
	case w.plan.kind.real() && !own, err == ErrClosed && w.shutting, err == ctx.Err(), err == context.Cause(ctx), err == errCanceled && o.ends == simLegacy:
		return
	}
	w.must(false, "r%d gets an error of nobody: %v", o.id, err)
}

// mustNotGiveUp holds a request that gets an error, and might have been sent
// again, to have seen the recreation through: it waits for the first trial of
// its authority's outage, and does not end on a transport that was replaced.
func (w *simWorld) mustNotGiveUp(o *simOrder) {
	if len(o.tries) == 0 || len(o.tries) > w.plan.threshold || w.now() >= o.leaves || w.shutting || w.spare != nil ||
		w.plan.replay != ReplayIdempotent || !o.idempotent() || o.body == simOneShot || o.body == simUnreadble {
		return
	}
	if w.plan.wait > 0 && w.now()-o.began >= w.plan.wait {
		return // once it waits for ready, all its waiting counts
	}
	last := o.tries[len(o.tries)-1]
	if last.fault != simAgainst || !last.link.served {
		return
	}
	replaced := last.link.retired && (last.link.off < last.returned || last.returned < w.now())
	current := w.linkOf(w.rt.current.Load())
	w.must(!replaced || w.blames[o.au].trips(w.plan) || current != nil && current.ended, "r%d gives up on %v, which was replaced at %v", o.id, last.link, last.link.off)

	host, running := simHost(o.au), (*simRun)(nil)
	for _, r := range w.runs {
		switch {
		case r.over && r.promoted:
			running = nil
		case r.from == host && running == nil, r.to == host && running == nil:
			running = r // the first
		}
	}
	tried := slices.ContainsFunc(o.tries, func(t *simTry) bool { return t.trial }) // its own verdict
	// A stalled authority that takes the candidate over keeps it for long, and
	// its end will say nothing about this one.
	if running != nil && running.link != nil && running.link.trial != nil && running.link.trial.order.au != o.au {
		return
	}
	w.must(running == nil || running.over || tried, "r%d gives up while the first trial is under way", o.id)
}

// classified is called when the client has judged an error.
func (w *simWorld) classified(req *http.Request, v Verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id, _ := strconv.Atoi(req.Header.Get(simID))
	o := w.orders[id]
	w.noteLocked(o.who(), "judged: %v", v)
	if w.plan.kind.real() {
		return
	}
	l := o.tries[len(o.tries)-1].link
	if v != Neutral && l == w.linkOf(w.rt.current.Load()) {
		w.fails++
	}
}
