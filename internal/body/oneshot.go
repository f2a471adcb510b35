package body

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

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

// Broke reports whether err is the fault of a caller's body that could not
// be read.
func Broke(req *http.Request, err error) bool {
	b, ok := req.Body.(*sendBody)
	return ok && b.brokeWith(err)
}

// brokeWith reports whether err is what the caller's own reader returned.
func (b *sendBody) brokeWith(err error) bool {
	b.shot.mu.Lock()
	defer b.shot.mu.Unlock()
	return b.shot.readErr != nil && errors.Is(err, b.shot.readErr)
}
