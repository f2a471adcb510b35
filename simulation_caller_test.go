package respawn

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// A simOrder is one request of a caller. Its fields are guarded by
// simWorld.mu once it has been sent.
type simOrder struct {
	simErrand
	w       *simWorld
	req     *http.Request
	legacy  chan struct{} // its Cancel, or nil
	span    trace.Span
	tries   []*simTry
	sent    int // connections it got
	served  int // times that the upstream has processed it
	uploads []*simUpload
	began   time.Duration
	leaves  time.Duration // when its caller gives up
	harmed  bool          // its connection or upstream did not live to its end
	late    bool          // it began after Close
}

func (o *simOrder) who() string { return "r" + strconv.Itoa(o.id) }

var errSimCause = errors.New("the caller changed its mind")

// call makes the errands of one caller, one after the other.
func (w *simWorld) call(list []simErrand) {
	for _, e := range list {
		if !w.pause(e.pause) {
			return
		}
		w.send(e)
	}
}

// send makes one request and does with its answer what the errand says. It
// reports whether there was an answer.
func (w *simWorld) send(e simErrand) bool {
	o := &simOrder{simErrand: e, w: w}
	ctx, stop := o.context()
	o.request(ctx)
	w.mu.Lock()
	w.orders[o.id] = o
	o.began, o.late = w.now(), w.shut
	o.leaves = o.began + e.in
	w.noteLocked(o.who(), "%s %s (%d %d %d, %v)", e.method, simHost(e.au), e.body, e.answer, e.reads, e.in)
	w.mu.Unlock()

	given := *o.req
	resp, err := w.rt.RoundTrip(o.req)

	w.mu.Lock()
	w.noteLocked(o.who(), "done: %v", err)
	w.must((resp == nil) == (err != nil), "r%d has both an answer and an error, or neither", o.id)
	w.must(o.req.Body == given.Body && o.req.URL == given.URL && len(o.req.Header) == len(given.Header), "r%d was changed", o.id)
	w.must(w.now() <= o.leaves+time.Millisecond, "r%d returns %v after its caller gave up", o.id, w.now()-o.leaves)
	if err != nil {
		w.mustBeOwn(o, err)
		w.mustNotGiveUp(o)
	}
	w.mu.Unlock()
	if o.span != nil {
		o.span.End()
	}
	if err != nil {
		stop()
		return false
	}
	w.mu.Lock()
	if w.plan.kind.real() {
		w.answers[simHost(e.au)] = append(w.answers[simHost(e.au)], w.now())
	}
	w.must(resp.Request == o.req, "r%d gets a response to another *Request", o.id)
	w.must(resp.Header.Get(simID) == strconv.Itoa(o.id), "r%d gets the answer of r%s", o.id, resp.Header.Get(simID))
	w.must(w.plan.kind == simNetHTTP2 || (o.answer == simNoBody) == (resp.Body == http.NoBody), "r%d: http.NoBody is not handed on", o.id)
	w.mu.Unlock()
	o.read(resp.Body, stop)
	return true
}

// context is the caller's. stop must be called in the end.
func (o *simOrder) context() (context.Context, func()) {
	ctx := context.Context(context.Background())
	if o.simErrand.span {
		ctx, o.span = o.w.probe.tracers.Tracer("sim").Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindClient))
	}
	switch o.ends {
	case simDeadline:
		return context.WithTimeout(ctx, o.in)
	case simCancel:
		ctx, cancel := context.WithCancel(ctx)
		timer := time.AfterFunc(o.in, cancel)
		return ctx, func() { timer.Stop(); cancel() }
	case simCause:
		ctx, cancel := context.WithCancelCause(ctx)
		timer := time.AfterFunc(o.in, func() { cancel(errSimCause) })
		return ctx, func() { timer.Stop(); cancel(nil) }
	}
	o.legacy = make(chan struct{})
	timer := time.AfterFunc(o.in, func() { close(o.legacy) })
	return ctx, func() { timer.Stop() }
}

func (o *simOrder) request(ctx context.Context) {
	host := simHost(o.au)
	if o.id%5 == 0 && !o.w.plan.kind.real() { // net/http pools them apart
		host = strings.ToUpper(host) + ":80" // the same authority
	}
	req := mustRequest(ctx, o.method, "http://"+host+"/", nil)
	//lint:ignore SA1019 as http.Client.Timeout still does
	req.Cancel = o.legacy
	req.Header.Set(simID, strconv.Itoa(o.id))
	if o.key {
		req.Header["Idempotency-Key"] = nil
	}
	o.req = req
	if o.body == simBare {
		return
	}
	req.Body = o.w.newUpload(o)
	req.ContentLength = int64(len(simPayload(o.id)))
	if o.body == simRewinds {
		req.GetBody = func() (io.ReadCloser, error) { return o.w.newUpload(o), nil }
	}
}

// read does with the body what the caller does.
func (o *simOrder) read(body io.ReadCloser, stop func()) {
	w := o.w
	var got []byte
	one := make([]byte, 7)
	for chunk := 0; o.reads != simNothing; chunk++ {
		if (o.reads == simSome || o.reads == simAbandoned) && chunk > 0 {
			break
		}
		n, err := body.Read(one)
		got = append(got, one[:n]...)
		if err != nil {
			if w.plan.kind.real() && err != io.EOF {
				w.mu.Lock()
				w.mustNotBreak(o, err)
				w.mu.Unlock()
			}
			break
		}
	}
	want := strings.Repeat(simChunk(o.id), 1+len(got)/len(simChunk(o.id)))
	w.mu.Lock()
	w.must(strings.HasPrefix(want, string(got)), "r%d reads %q", o.id, got)
	w.noteLocked(o.who(), "read %d bytes", len(got))
	if o.reads == simAbandoned {
		w.lulls = append(w.lulls, func() { body.Close(); stop() })
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	body.Close()
	if o.reads == simTwice {
		body.Close()
		_, _ = body.Read(one)
	}
	stop()
}

// lend is somebody's hand on the client.
func (w *simWorld) lend(h simHand) {
	if !w.pause(h.at) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.limit)
	defer cancel()
	before := w.rt.Health().Generation
	switch h.what {
	case simRecreate:
		w.note("hand", "Recreate within %v", h.limit)
		began := w.now()
		err := w.rt.Recreate(ctx)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.noteLocked("hand", "Recreate: %v", err)
		now := w.gens[len(w.gens)-1].Number
		w.must(err != nil || now > before, "Recreate returns nil with generation %d still in service", now)
		w.must(w.now() <= began+h.limit+time.Millisecond, "Recreate returns after its context's end")
	case simCloseIdle:
		if w.plan.kind != simQUIC { // where it cuts bodies, as documented there
			w.note("hand", "CloseIdleConnections")
			w.rt.CloseIdleConnections()
		}
	case simMiddleware:
		w.note("hand", "middleware")
		w.rt.replaceEnded(ctx)
		w.note("hand", "middleware done")
	case simClose:
		w.close()
	}
}

func (w *simWorld) close() {
	w.note("hand", "Close")
	w.mu.Lock()
	w.shutting = true
	w.mu.Unlock()
	_ = w.rt.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = true
	w.noteLocked("hand", "Close done")
}
