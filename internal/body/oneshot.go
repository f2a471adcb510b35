package body

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

var errDetached = errors.New("respawn: read from the request body of an attempt that is over")

// A oneShot is a body that can be read once. It outlives the attempts that fail
// before reading it, and is closed exactly once.
type oneShot struct {
	body  io.ReadCloser
	first sendBody // most requests have one attempt, which costs no allocation of its own

	mu       sync.Mutex // guards the below; body is never read or closed under it
	holder   *sendBody  // of the attempt that may read and close it
	read     int64      // bytes of it
	taken    bool       // a holder may read it without Read
	at       int64      // the position that a file was seen at since then
	ended    bool       // for a holder that had not closed it
	readErr  error
	broke    bool // a Read of a holder that had not closed it failed
	released bool // the call is over: the holder's Close is the body's
	barred   bool // the next attempt has a body of its own
	closed   bool

	// Whether the transport waits for the body.
	lent    time.Time // to the holder
	reading bool
	last    time.Time     // the latest Read: when it returned, or began while reading
	spent   time.Duration // in the holder's Reads that have returned
}

// lend gives the body to a new attempt and takes it from the one before. It
// fails once a byte of it was read, a Read has failed, or it was closed.
func (o *oneShot) lend(now time.Time) (*sendBody, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !o.unreadLocked():
		return nil, false
	case o.holder == nil:
		o.first.shot = o
		o.holder = &o.first
	default:
		o.holder = &sendBody{shot: o}
	}
	o.lent, o.spent = now, 0
	return o.holder, true
}

func (o *oneShot) unread() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unreadLocked()
}

// unreadLocked: a Read that has not returned may still take a byte. net/http returns
// from RoundTrip while its writer is in one. An empty body whose end was seen goes again though it
// is closed: nobody has to read it.
func (o *oneShot) unreadLocked() bool {
	return o.read == 0 && !o.taken && !o.reading && o.readErr == nil && (!o.closed || o.ended)
}

// release ends the shield: nobody will send this body again. It is closed now if nobody holds it
// any more, else by its holder. Where the caller has an answer, nobody waits for that.
func (o *oneShot) release(answered bool) {
	o.mu.Lock()
	o.released = true
	orphan := !o.closed && (o.holder == nil || o.holder.done)
	o.closed = o.closed || orphan
	o.mu.Unlock()
	switch {
	case !orphan:
	case !answered:
		_ = o.body.Close()
	default:
		go o.bury()
	}
}

// bar keeps the holder from reading on. A transport may still read when it has returned from RoundTrip,
// and what GetBody gives next may be the same reader, rewound. A Read that is under way goes on.
func (o *oneShot) bar() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.barred = true
}

// bury closes the body where there is nobody to tell of a panic.
func (o *oneShot) bury() {
	defer func() { _ = recover() }()
	_ = o.body.Close()
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

// mineLocked reports whether the attempt of b may read the body.
func (b *sendBody) mineLocked() bool { return b.shot.holder == b && !b.done && !b.shot.barred }

func (b *sendBody) Read(p []byte) (int, error) {
	o := b.shot
	o.mu.Lock()
	mine, empty := b.mineLocked(), o.ended && o.read == 0
	if mine && !empty {
		o.reading, o.last = true, time.Now()
	}
	o.mu.Unlock()
	switch {
	case !mine:
		return 0, errDetached
	case empty:
		return 0, io.EOF // it may be closed by now
	}
	n, err := o.body.Read(p)
	o.mu.Lock()
	now := time.Now()
	o.spent += now.Sub(o.last)
	o.reading, o.last = false, now
	o.read += int64(max(n, 0))
	o.ended = o.ended || err == io.EOF && !b.done
	if err != nil && err != io.EOF {
		o.readErr, o.broke = err, o.broke || !b.done
	}
	o.mu.Unlock()
	return n, err
}

// Close is the transport's: net/http closes a body that it never read when a dial fails. It
// reaches the caller's body once that is not to be read any more. While a Read is under way, that
// is so, and Close is what ends the Read: HTTP/2 waits for its writer before it returns.
func (b *sendBody) Close() error {
	o := b.shot
	o.mu.Lock()
	b.done = true
	final := o.holder == b && (o.released || o.read > 0 || o.taken || o.ended || o.readErr != nil || o.reading)
	o.mu.Unlock()
	if final {
		return o.close()
	}
	return nil
}

// shieldOf is the shield of the body that an attempt has; nil: there is none.
func shieldOf(sent *http.Request) *sendBody {
	switch b := sent.Body.(type) {
	case *sendBody:
		return b
	case *fileBody:
		return b.sendBody
	}
	return nil
}

// Broke reports whether the caller's body could not be read, so that an attempt ended for
// that. It does not go by the attempt's error: a wrapper may keep no more of the body's than
// the text, and a body that the transport has closed, since the connection broke, may fail
// with the very error that the connection has.
func Broke(sent *http.Request) bool {
	b := shieldOf(sent)
	if b == nil {
		return false
	}
	b.shot.mu.Lock()
	defer b.shot.mu.Unlock()
	return b.shot.broke
}

// MayBe reports whether err may be the error of the caller's body, whatever type it has: if
// the body broke, or gave this very error.
func MayBe(sent *http.Request, err error) bool {
	b := shieldOf(sent)
	if b == nil {
		return false
	}
	b.shot.mu.Lock()
	defer b.shot.mu.Unlock()
	return b.shot.broke || b.shot.readErr != nil && errors.Is(err, b.shot.readErr)
}

// Touched reports whether a byte of the body was read, or may have been, as far as that is looked at.
func Touched(sent *http.Request) bool {
	b := shieldOf(sent)
	if b == nil {
		return false
	}
	b.shot.mu.Lock()
	defer b.shot.mu.Unlock()
	return b.shot.read > 0 || b.shot.taken
}

// Misfits reports whether the caller's body has turned out to be shorter or longer than its
// request says, as far as that is looked at.
func Misfits(sent *http.Request) bool {
	b := shieldOf(sent)
	if b == nil || sent.ContentLength <= 0 {
		return false // the length is unknown
	}
	b.shot.mu.Lock()
	defer b.shot.mu.Unlock()
	if b.shot.taken {
		return false
	}
	return b.shot.read > sent.ContentLength || b.shot.ended && b.shot.read < sent.ContentLength
}

// IsQuiet reports whether nobody reads the body of an attempt that is over, nor has read it, nor will. A
// body that is read may change its request's Trailer (net/http/request.go).
func IsQuiet(sent *http.Request) bool {
	if b, ok := sent.Body.(*sendBody); ok {
		b.shot.mu.Lock()
		defer b.shot.mu.Unlock()
		return b.done && !b.shot.reading && b.shot.read == 0
	}
	switch unwrapped(sent.Body).(type) {
	case *fileBody, *os.File, *bytes.Reader, *bytes.Buffer, *strings.Reader:
		return true // none of these knows its request
	}
	return !Has(sent)
}

// Begun reports whether some of a body in memory was read, which no shield observes. It is
// for attempts that never had a connection, as far as is known: a transport may still read the
// body of any other attempt after RoundTrip has returned (http.RoundTripper), and a reader in
// memory has no lock.
func Begun(sent *http.Request) bool {
	if !Has(sent) {
		return false
	}
	switch b := unwrapped(sent.Body).(type) {
	case *bytes.Reader, *bytes.Buffer, *strings.Reader:
		return int64(b.(interface{ Len() int }).Len()) < sent.ContentLength
	}
	return false
}

// LastRead is when a Read of the body has last returned, as far as that is looked at;
// zero if there was none. reading: one is under way, which began then. A file that is sent straight
// from its disk was read when its position was last seen to have moved.
func LastRead(sent *http.Request) (at time.Time, reading bool) {
	b := shieldOf(sent)
	if b == nil {
		return time.Time{}, false
	}
	if f, ok := sent.Body.(*fileBody); ok {
		f.look()
	}
	o := b.shot
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last, o.reading
}

// Awaited reports whether the attempt was kept waiting by the caller's body: a Read of
// it has not returned, or its Reads took half of the time that the attempt had the body.
func Awaited(sent *http.Request) bool {
	b := shieldOf(sent)
	if b == nil {
		return false
	}
	o := b.shot
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reading || o.spent > 0 && 2*o.spent >= time.Since(o.lent)
}
