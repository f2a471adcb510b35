package sim

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// An order is one request of a caller. Its fields are guarded by
// world.mu once it has been sent.
type order struct {
	errand
	w       *world
	req     *http.Request
	legacy  chan struct{} // its Cancel, or nil
	span    trace.Span
	timer   *time.Timer // that cancels it, or nil
	tries   []*try
	sent    int // connections it got
	served  int // times that the upstream has processed it
	uploads []*upload
	began   time.Duration
	leaves  time.Duration // when its caller gives up
	harmed  bool          // the network broke the connection on which it was being served
	late    bool          // it began after Close
	done    bool          // its RoundTrip has returned
	tried   int           // how many tries had begun by then
	ended   time.Duration // when
	err     error
	spoiled bool  // a callback panicked or ended its goroutine: its caller may get nothing
	fetched bool  // its GetBody took its time for the next try
	denied  error // why the last call of its GetBody gave no body; nil: it gave one
}

// repeatable reports whether the request may be sent again whatever became of it.
func (o *order) repeatable() bool {
	return o.w.plan.replay == respawn.ReplayIdempotent && o.idempotent() && (o.body == bare || o.body == rewinds)
}

// copyable reports whether the request may be on two transports at once.
func (o *order) copyable() bool {
	return o.repeatable() && o.method == http.MethodGet && o.body == bare
}

func (o *order) who() string { return "r" + strconv.Itoa(o.id) }

var errCause = errors.New("the caller changed its mind")

// call makes the errands of one caller, one after the other.
func (w *world) call(list []errand) {
	for _, e := range list {
		if !w.pause(e.pause) {
			return
		}
		w.send(e)
	}
}

// send makes one request and does with its answer what the errand says. It
// reports whether there was an answer.
func (w *world) send(e errand) bool {
	o := &order{errand: e, w: w}
	if e.ends == late {
		o.in = o.endures()
	}
	ctx, stop := o.context()
	o.request(ctx)
	w.mu.Lock()
	w.orders[o.id] = o
	o.began, o.late = w.now(), w.shut
	o.leaves = o.began + o.in
	w.noteLocked(o.who(), "%s %s (%d %d %d, %v)", e.method, hostOf(e.au), e.body, e.answer, e.reads, o.in)
	w.mu.Unlock()

	given := *o.req
	var resp *http.Response
	var err error
	returned := w.guard(func() { resp, err = w.rt.RoundTrip(o.req) }, func(v any) bool { return o.spoiled || v == nil && o.deputyEnded() })

	w.mu.Lock()
	o.done, o.tried, o.ended, o.err = true, len(o.tries), w.now(), err
	w.noteLocked(o.who(), "done: %v", err)
	w.must(!returned || (resp == nil) == (err != nil), "r%d has both an answer and an error, or neither", o.id)
	w.must(o.req.Body == given.Body && o.req.URL == given.URL && len(o.req.Header) == len(given.Header), "r%d was changed", o.id)
	w.must(w.now() <= o.leaves+time.Millisecond, "r%d returns %v after its caller gave up", o.id, w.now()-o.leaves)
	if err != nil {
		w.mustBeOwn(o, err)
	}
	o.spoiled = o.spoiled || !returned
	w.mu.Unlock()
	if o.span != nil {
		o.span.End()
	}
	if err != nil || !returned || resp == nil {
		stop()
		return false
	}
	w.mu.Lock()
	w.must(resp.Request == o.req, "r%d gets a response to another *Request", o.id)
	w.must(resp.Header.Get(idHeader) == strconv.Itoa(o.id), "r%d gets the answer of r%s", o.id, resp.Header.Get(idHeader))
	w.must(w.plan.kind == netHTTP2 || (o.answer == noBody) == (resp.Body == http.NoBody), "r%d: http.NoBody is not handed on", o.id)
	w.mu.Unlock()
	if e.ends == late {
		o.hurry()
	}
	o.read(resp.Body, stop)
	return true
}

// endures returns how long a caller without a deadline waits. With a request that can be sent
// again it waits for so long that judgePatient may demand an answer.
func (o *order) endures() time.Duration {
	over := time.Minute
	if o.repeatable() {
		over = endless
	}
	return max(0, o.w.plan.storm-o.w.now()) + over
}

const endless = 15 * time.Minute

// hurry shortens the wait of a caller without a deadline once the headers are there. The client
// does not watch bodies, so nothing else may end the wait for one that falls silent.
func (o *order) hurry() {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	o.leaves = o.w.now() + 30*time.Second
	o.timer.Reset(30 * time.Second)
}

// guard calls f on a goroutine of its own and reports whether f returned. If it did not, a callback
// must have panicked on that goroutine or ended it, or excused must allow it.
func (w *world) guard(f func(), excused func(v any) bool) (returned bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			v := recover()
			w.mu.Lock()
			defer w.mu.Unlock()
			ours := w.spoiled[goroutine()] != "" || excused != nil && excused(v)
			w.must(returned || ours, "a call of the client did not return: %v", v)
		}()
		f()
		returned = true
	}()
	<-done
	return returned
}

// deputyEnded reports whether a callback may have ended the caller's deputy (see internal/call). It
// may have if a callback ended any goroutine at this instant, or at any time during a try of the
// order that returned at this instant.
func (o *order) deputyEnded() bool {
	since := o.w.now()
	for _, t := range o.tries {
		if t.over && t.returned == o.w.now() {
			since = min(since, t.arrived)
		}
	}
	return slices.ContainsFunc(o.w.exits, func(at time.Duration) bool { return at >= since })
}

// context returns the caller's context, and a function that must be called at the end.
func (o *order) context() (context.Context, func()) {
	ctx := context.Context(context.Background())
	if o.errand.span {
		ctx, o.span = o.w.probe.TracerProvider().Tracer("sim").Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindClient))
	}
	switch o.ends {
	case byDeadline:
		return context.WithTimeout(ctx, o.in)
	case byCancel, late:
		ctx, cancel := context.WithCancel(ctx)
		o.timer = time.AfterFunc(o.in, cancel)
		return ctx, func() { o.timer.Stop(); cancel() }
	case byCause:
		ctx, cancel := context.WithCancelCause(ctx)
		timer := time.AfterFunc(o.in, func() { cancel(errCause) })
		return ctx, func() { timer.Stop(); cancel(nil) }
	}
	o.legacy = make(chan struct{})
	timer := time.AfterFunc(o.in, func() { close(o.legacy) })
	return ctx, func() {
		if timer.Stop() {
			close(o.legacy) // net/http watches it for good where a callback has ended its goroutine
		}
	}
}

func (o *order) request(ctx context.Context) {
	host := hostOf(o.au)
	if o.id%5 == 0 && !o.w.plan.kind.real() { // net/http would pool the two spellings apart
		host = strings.ToUpper(host) + ":80" // the same authority
	}
	req := testkit.Request(ctx, o.method, "http://"+host+"/", nil)
	//lint:ignore SA1019 as http.Client.Timeout still does
	req.Cancel = o.legacy
	req.Header.Set(idHeader, strconv.Itoa(o.id))
	if o.key {
		req.Header["Idempotency-Key"] = nil
	}
	o.req = req
	if o.body == bare {
		return
	}
	req.Body = o.w.newUpload(o)
	req.ContentLength = int64(len(payloadOf(o.id)))
	if o.body == rewinds {
		req.GetBody = o.again
	}
}

// read reads and closes the body in the way that the errand says.
func (o *order) read(body io.ReadCloser, stop func()) {
	w := o.w
	var got []byte
	one := make([]byte, 7)
	for chunk := 0; o.reads != readsNothing; chunk++ {
		if (o.reads == readsSome || o.reads == abandons) && chunk > 0 {
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
	want := strings.Repeat(chunkOf(o.id), 1+len(got)/len(chunkOf(o.id)))
	w.mu.Lock()
	w.must(strings.HasPrefix(want, string(got)), "r%d reads %q", o.id, got)
	w.noteLocked(o.who(), "read %d bytes", len(got))
	if o.reads == abandons {
		w.lulls = append(w.lulls, func() { body.Close(); stop() })
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	body.Close()
	if o.reads == closesTwice {
		body.Close()
		_, _ = body.Read(one)
	}
	stop()
}
