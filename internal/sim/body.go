package sim

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// idHeader is the header that carries a request's number, in the request and in its answer.
const idHeader = "Sim-Id"

// answer returns the upstream's response. If partial is set, the upstream breaks its body off
// in the middle.
func (t *try) answer(partial bool) *http.Response {
	resp := &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{idHeader: t.req.Header[idHeader]}, Request: t.req,
	}
	e := &t.order.errand
	if e.answer == noBody {
		resp.Body = http.NoBody
		return resp
	}
	b := &answerBody{try: t, left: 1, breakAt: -1}
	if e.answer == stream {
		b.left, b.gap = e.chunks, e.gap
	}
	if partial {
		b.breakAt = b.left / 2
	}
	resp.Body = b
	if e.answer == upgrade {
		resp.StatusCode = http.StatusSwitchingProtocols
		resp.Body = &duplexBody{b}
	}
	return resp
}

// chunkOf returns one chunk of the answer's body. It contains the request's number, so that a
// caller notices when it reads another request's answer.
func chunkOf(id int) string { return fmt.Sprintf("<%d>", id) }

// An answerBody is a response body on a connection. Its fields are guarded
// by world.mu.
type answerBody struct {
	try     *try
	left    int // chunks
	gap     time.Duration
	breakAt int // the upstream breaks off when so many are left; -1: never
	rest    string
	err     error // what Read returns from now on; once it is set, the body has left its connection
	closed  bool
	gone    bool // no longer counted in link.open
}

var (
	errCut      = errors.New("cut off by the client")
	errBodyRead = errors.New("http: read on closed response body")
)

func (b *answerBody) Read(p []byte) (int, error) {
	w := b.try.link.w
	w.mu.Lock()
	err, more := b.err, b.rest != ""
	if b.closed {
		err, more = errBodyRead, false
	}
	w.mu.Unlock()
	if err == nil && !more {
		err = b.next()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// next takes the next chunk off the wire.
func (b *answerBody) next() error {
	t, w := b.try, b.try.link.w
	err := t.await(b.gap, nil)
	if err == nil && t.swallowed() {
		err = t.await(-1, nil)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case b.closed:
		err = errBodyRead
	case err != nil && t.conn.cut:
		err = errCut
		severed := t.req.Context().Err() != nil // WithDrainTimeout or the caller ended it at this very instant
		w.must(severed, "a body of r%d on %v was cut by us", t.order.id, t.link)
	case err == io.EOF:
		err = io.ErrUnexpectedEOF // lostConn's word for a lost connection, not the end of the body
	case err != nil:
	case b.left == b.breakAt:
		t.conn.lose()
		err = io.ErrUnexpectedEOF
	case b.left == 0:
		err = io.EOF
	default:
		b.left--
		b.rest = chunkOf(t.order.id)
		return nil
	}
	if t.order.answer != upgrade {
		b.depart() // at its end, and where it has failed
	}
	b.finish(err)
	return err
}

// finish takes the body off its connection; the caller holds w.mu.
func (b *answerBody) finish(err error) {
	if b.err == nil {
		b.err = err
		b.try.conn.leave(err == io.EOF && b.try.order.answer != upgrade)
	}
}

// depart counts the request out of what is in flight on its transport.
func (b *answerBody) depart() {
	if !b.gone {
		b.gone = true
		b.try.link.open--
	}
}

func (b *answerBody) Close() error {
	w := b.try.link.w
	w.free()
	w.mu.Lock()
	defer w.mu.Unlock()
	b.closed = true
	b.finish(errBodyRead)
	b.depart()
	return nil
}

// A duplexBody is an upgraded connection, which echoes.
type duplexBody struct{ *answerBody }

func (b *duplexBody) Write(p []byte) (int, error) { return len(p), nil }
func (b *duplexBody) CloseWrite() error           { return nil }

// An upload is a request body as the caller hands it out: the original, or
// one of GetBody's. Its fields are guarded by world.mu.
type upload struct {
	order  *order
	name   string
	rest   string
	reads  int
	closes int
	broken bool // Read fails
}

const errUnreadable = simError("the caller's disk is broken")

func (w *world) newUpload(o *order) *upload {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := &upload{order: o, name: fmt.Sprintf("body %d of r%d", len(o.uploads)+1, o.id), rest: payloadOf(o.id), broken: o.body == unreadable}
	o.uploads = append(o.uploads, u)
	return u
}

const (
	errDenied  = simError("the caller's file has gone")
	errNoReply = simError("GetBody did not return")
)

// again is the order's GetBody.
func (o *order) again() (io.ReadCloser, error) {
	w, now := o.w, int(o.w.now())
	o.denies(errNoReply)
	w.mu.Lock()
	o.fetched = false
	w.mu.Unlock()
	w.mood("GetBody", o.id, now)
	switch w.temper("GetBody", o.id, now) {
	case willFail:
		w.note("mood", "GetBody fails")
		o.denies(errDenied)
		return nil, errDenied
	case willLinger:
		w.note("mood", "GetBody takes %v", lingers)
		o.fetch(lingers)
	}
	o.denies(nil)
	return w.newUpload(o), nil
}

// lingers is how long a GetBody takes that takes its time.
const lingers = 2 * time.Second

// fetch takes its time. Nobody can leave meanwhile, and no transport has the request.
func (o *order) fetch(takes time.Duration) {
	w := o.w
	w.mu.Lock()
	w.fetching++
	o.fetched = true
	o.leaves = max(o.leaves, w.now()+takes)
	w.mu.Unlock()
	time.Sleep(takes)
	w.mu.Lock()
	w.fetching--
	w.mu.Unlock()
}

func (o *order) denies(err error) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	o.denied = err
}

func payloadOf(id int) string { return strings.Repeat(fmt.Sprintf("[%d]", id), 3) }

func (u *upload) Read(p []byte) (int, error) {
	w := u.order.w
	w.free()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(u.closes == 0, "%s is read after it was closed", u.name)
	u.reads++
	switch {
	case u.broken:
		return 0, errUnreadable
	case u.rest == "":
		return 0, io.EOF
	}
	n := copy(p, u.rest[:min(5, len(u.rest))])
	u.rest = u.rest[n:]
	return n, nil
}

func (u *upload) Close() error {
	w := u.order.w
	w.free()
	w.mu.Lock()
	defer w.mu.Unlock()
	u.closes++
	w.must(u.closes == 1, "%s is closed twice", u.name)
	return nil
}
