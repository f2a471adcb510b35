package respawn

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// The header that names a request, on its way there and back.
const simID = "Sim-Id"

// answer is the response; the upstream breaks its body off if it is partial.
func (t *simTry) answer(partial bool) *http.Response {
	resp := &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{simID: t.req.Header[simID]}, Request: t.req,
	}
	e := &t.order.simErrand
	if e.answer == simNoBody {
		resp.Body = http.NoBody
		return resp
	}
	b := &simAnswerBody{try: t, left: 1, breakAt: -1}
	if e.answer == simStream {
		b.left, b.gap = e.chunks, e.gap
	}
	if partial {
		b.breakAt = b.left / 2
	}
	resp.Body = b
	if e.answer == simUpgrade {
		resp.StatusCode = http.StatusSwitchingProtocols
		resp.Body = &simDuplexBody{b}
	}
	return resp
}

// simChunk is what the body of a request's answer consists of.
func simChunk(id int) string { return fmt.Sprintf("<%d>", id) }

// A simAnswerBody is a response body on a connection. Its fields are guarded
// by simWorld.mu.
type simAnswerBody struct {
	try     *simTry
	left    int // chunks
	gap     time.Duration
	breakAt int // the upstream breaks off when so many are left; -1: never
	rest    string
	err     error // what Read says from now on; the body is off its connection then
	closed  bool
	gone    bool // counted out of what is in flight
}

var (
	errSimCut      = errors.New("cut off by the client")
	errSimBodyRead = errors.New("http: read on closed response body")
)

func (b *simAnswerBody) Read(p []byte) (int, error) {
	w := b.try.link.w
	w.mu.Lock()
	err, more := b.err, b.rest != ""
	if b.closed {
		err, more = errSimBodyRead, false
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
func (b *simAnswerBody) next() error {
	t, w := b.try, b.try.link.w
	err := t.await(b.gap, nil)
	if err == nil && t.swallowed() {
		err = t.await(-1, nil)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case b.closed:
		err = errSimBodyRead
	case err != nil && t.conn.cut:
		err = errSimCut
		w.must(false, "a body of r%d on %v was cut by us", t.order.id, t.link)
	case err == io.EOF:
		err = io.ErrUnexpectedEOF // the connection is lost, which is no end
	case err != nil:
	case b.left == b.breakAt:
		t.conn.lose()
		err = io.ErrUnexpectedEOF
	case b.left == 0:
		err = io.EOF
		if t.order.answer != simUpgrade {
			b.depart()
		}
	default:
		b.left--
		b.rest = simChunk(t.order.id)
		return nil
	}
	b.finish(err)
	return err
}

// finish takes the body off its connection; the caller holds w.mu.
func (b *simAnswerBody) finish(err error) {
	if b.err == nil {
		b.err = err
		b.try.conn.leave(err == io.EOF && b.try.order.answer != simUpgrade)
	}
}

// depart counts the request out of what is in flight on its transport.
func (b *simAnswerBody) depart() {
	if !b.gone {
		b.gone = true
		b.try.link.open--
	}
}

func (b *simAnswerBody) Close() error {
	w := b.try.link.w
	w.free("a body's Close")
	w.mu.Lock()
	defer w.mu.Unlock()
	b.closed = true
	b.finish(errSimBodyRead)
	b.depart()
	return nil
}

// A simDuplexBody is an upgraded connection, which echoes.
type simDuplexBody struct{ *simAnswerBody }

func (b *simDuplexBody) Write(p []byte) (int, error) { return len(p), nil }
func (b *simDuplexBody) CloseWrite() error           { return nil }

// A simUpload is a request body as the caller hands it out: the original, or
// one of GetBody's. Its fields are guarded by simWorld.mu.
type simUpload struct {
	order  *simOrder
	name   string
	rest   string
	reads  int
	closes int
	broken bool // Read fails
}

const errSimUnreadable = simError("the caller's disk is broken")

func (w *simWorld) newUpload(o *simOrder) *simUpload {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := &simUpload{order: o, name: fmt.Sprintf("body %d of r%d", len(o.uploads)+1, o.id), rest: simPayload(o.id), broken: o.body == simUnreadble}
	o.uploads = append(o.uploads, u)
	return u
}

func simPayload(id int) string { return strings.Repeat(fmt.Sprintf("[%d]", id), 3) }

func (u *simUpload) Read(p []byte) (int, error) {
	w := u.order.w
	w.free("a request body's Read")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(u.closes == 0, "%s is read after it was closed", u.name)
	u.reads++
	switch {
	case u.broken:
		return 0, errSimUnreadable
	case u.rest == "":
		return 0, io.EOF
	}
	n := copy(p, u.rest[:min(5, len(u.rest))])
	u.rest = u.rest[n:]
	return n, nil
}

func (u *simUpload) Close() error {
	w := u.order.w
	w.free("a request body's Close")
	w.mu.Lock()
	defer w.mu.Unlock()
	u.closes++
	w.must(u.closes == 1, "%s is closed twice", u.name)
	return nil
}
