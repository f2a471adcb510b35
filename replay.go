package respawn

import (
	"errors"
	"io"
	"net/http"
	"os"
	"reflect"
	"sync"
)

// A Replay says which requests may be sent again after an error.
type Replay int

const (
	// ReplayIdempotent sends again what never reached the server, and what is
	// idempotent as net/http defines it (net/http/request.go, isReplayable):
	// GET, HEAD, OPTIONS, TRACE, or with an Idempotency-Key or
	// X-Idempotency-Key header. The body must be to be had again: there is
	// none, or GetBody, or it was not read yet. A base that retries by itself is
	// known by the error of its last attempt alone, which may hide one that was
	// processed: put retries above respawn, or use ReplayNever.
	ReplayIdempotent Replay = iota
	// ReplayUnsent sends again only what never reached the server.
	ReplayUnsent
	// ReplayNever sends nothing again, and leaves bodies as they are. It can
	// then not tell a caller's body that fails to read, with an error like the
	// network's, from a transport that fails to send.
	ReplayNever
)

// replayable reports whether sending req again after a is safe. It does not
// say whether the body is still to be had.
func (r Replay) replayable(req *http.Request, a *attempt) bool {
	switch {
	case r == ReplayNever:
		return false
	case a.unsent():
		return true // whatever it was, nobody has seen it
	case r == ReplayUnsent:
		return false
	case isIdempotent(req):
		return true
	}
	return false // conservatively: it may have been processed
}

func isIdempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	// The header is there or not; net/http does not look at its value.
	_, key := req.Header["Idempotency-Key"]
	_, xkey := req.Header["X-Idempotency-Key"]
	return key || xkey
}

// needsShield reports whether req has a one-shot body, which net/http would
// close when a dial fails without having read it.
func (r Replay) needsShield(req *http.Request) bool {
	return r != ReplayNever && hasBody(req) && req.GetBody == nil && !isFile(req.Body)
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

var (
	nopCloserType         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterToType = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)

// isFile reports whether net/http would find an *os.File in the body
// (net/http/transfer.go, unwrapBody) and use sendfile.
func isFile(r io.Reader) bool {
	if t := reflect.TypeOf(r); t == nopCloserType || t == nopCloserWriterToType {
		r, _ = reflect.ValueOf(r).Field(0).Interface().(io.Reader)
	}
	_, ok := r.(*os.File)
	return ok
}

// dress returns the request for one attempt: the caller's own, or a copy with
// a body that can be read.
func (c *call) dress() (*http.Request, error) {
	if c.shot == nil && (!c.lent || !hasBody(c.req)) {
		c.lent = true
		return c.req, nil
	}
	req := c.req.WithContext(c.req.Context())
	if c.shot != nil {
		body, ok := c.shot.lend()
		if !ok {
			return nil, c.err
		}
		req.Body = body
		return req, nil
	}
	body, err := c.req.GetBody()
	if err != nil {
		return nil, c.err // the transport's, which the caller can do more with
	}
	req.Body = body
	return req, nil
}

// undress gives the caller its own request back if resp names a copy of it:
// the one that was sent, or the one net/http makes of that (setupRewindBody).
func (c *call) undress(resp *http.Response, sent *http.Request) *http.Response {
	if resp != nil && resp.Request != nil && sent != c.req && resp.Request.URL == c.req.URL {
		resp.Request = c.req
	}
	return resp
}

// bodyLeft reports whether the body can be had once more.
func (c *call) bodyLeft() bool {
	switch {
	case !hasBody(c.req) || c.req.GetBody != nil:
		return true
	case c.shot != nil:
		return c.shot.unread()
	}
	return !c.lent
}

// settleBody leaves the caller's body closed, or to the transport to close.
func (c *call) settleBody() {
	switch {
	case c.shot != nil:
		c.shot.release()
	case !c.lent:
		closeBody(c.req)
	}
}

var errDetached = errors.New("respawn: read from the request body of an attempt that is over")

// A oneShot is a caller's body that can be read once. It outlives the attempts
// that fail before reading it, and is closed exactly once.
type oneShot struct {
	body io.ReadCloser

	mu       sync.Mutex // guards the below; body is never read or closed under it
	holder   *sendBody  // of the attempt that may read and close it
	read     bool
	readErr  error
	released bool // the call is over: the holder's Close is the body's
	closed   bool
}

// lend gives the body to a new attempt and takes it from the one before. It
// fails once anything was read.
func (o *oneShot) lend() (*sendBody, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.read || o.closed {
		return nil, false
	}
	o.holder = &sendBody{shot: o}
	return o.holder, true
}

func (o *oneShot) unread() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.read && !o.closed
}

// release ends the shield: nobody will send this body again. It is closed now
// if nobody holds it any more, else by its holder.
func (o *oneShot) release() {
	o.mu.Lock()
	o.released = true
	orphan := o.holder == nil || o.holder.done
	o.mu.Unlock()
	if orphan {
		_ = o.close()
	}
}

func (o *oneShot) close() error {
	o.mu.Lock()
	again := o.closed
	o.closed = true
	o.mu.Unlock()
	if again {
		return nil
	}
	return o.body.Close()
}

// A sendBody is the body as one attempt sees it.
type sendBody struct {
	shot *oneShot
	done bool // closed by the transport; guarded by shot.mu
}

func (b *sendBody) Read(p []byte) (int, error) {
	o := b.shot
	o.mu.Lock()
	mine := o.holder == b && !b.done
	if mine {
		o.read = true
	}
	o.mu.Unlock()
	if !mine {
		return 0, errDetached
	}
	n, err := o.body.Read(p)
	if err != nil && err != io.EOF {
		o.mu.Lock()
		o.readErr = err
		o.mu.Unlock()
	}
	return n, err
}

// Close is the transport's: net/http closes a body that it never read when a
// dial fails. It reaches the caller's body once that cannot be sent any more.
func (b *sendBody) Close() error {
	o := b.shot
	o.mu.Lock()
	b.done = true
	final := o.holder == b && (o.released || o.read)
	o.mu.Unlock()
	if final {
		return o.close()
	}
	return nil
}

// bodyBroke reports whether err is the fault of a caller's body that could not
// be read.
func bodyBroke(req *http.Request, err error) bool {
	b, ok := req.Body.(*sendBody)
	return ok && b.brokeWith(err)
}

// brokeWith reports whether err is what the caller's own reader returned.
func (b *sendBody) brokeWith(err error) bool {
	b.shot.mu.Lock()
	defer b.shot.mu.Unlock()
	return b.shot.readErr != nil && errors.Is(err, b.shot.readErr)
}
