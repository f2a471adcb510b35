package body

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// A Lender gives the caller's body to one attempt after another, for as long as
// it can be had.
type Lender struct {
	req      *http.Request // the caller's, never changed
	look     bool          // attempts get the body through a shield
	shot     *oneShot      // shields a body that cannot be had twice; nil if there is none
	shield   *oneShot      // around what the latest attempt has, where GetBody gives the next one; nil if there is none
	lent     bool          // an attempt has had the body
	answered bool          // the caller has an answer
}

// NewLender returns the Lender of req's body. It is for one goroutine at a time.
func NewLender(req *http.Request, r Replay) Lender {
	l := Lender{req: req, look: r.NeedsShield(req)}
	if l.look && req.GetBody == nil {
		l.shot = &oneShot{body: req.Body}
	}
	return l
}

// Lent notes that an attempt has had the caller's own request, with its body as it is. No shield is put
// around that body any more: nobody saw what the attempt has read.
func (l *Lender) Lent() { l.lent, l.shot = true, nil }

// Lend returns the request for one attempt: the caller's own, or a copy with a
// body that can be read. If there is none any more, the error says why: GetBody's own,
// where it gave one.
func (l *Lender) Lend() (*http.Request, error) {
	if !Has(l.req) || !l.look && !l.lent {
		l.lent = true
		return l.req, nil
	}
	req := new(http.Request)
	if err := l.LendUnder(l.req.Context(), req, time.Now()); err != nil {
		return nil, err
	}
	return req, nil
}

// LendUnder is Lend for an attempt that has a context of its own and begins now. It makes
// the one copy that such an attempt needs, in sent, which may be a part of something
// else, so that it costs no allocation.
func (l *Lender) LendUnder(ctx context.Context, sent *http.Request, now time.Time) error {
	body, err := l.body(now)
	if err != nil {
		return err
	}
	*sent = *l.req.WithContext(ctx)
	sent.Body = body
	return nil
}

// body returns the body that the next attempt reads.
func (l *Lender) body(now time.Time) (io.ReadCloser, error) {
	switch {
	case !Has(l.req):
		l.lent = true
		return l.req.Body, nil
	case l.shot != nil:
		if body, ok := l.shot.lend(now); ok {
			return body.asSent(l.req.ContentLength), nil
		}
		return nil, errGone
	}
	body := l.req.Body
	if l.lent {
		if l.shield != nil {
			l.shield.bar()
		}
		var err error
		if body, err = l.again(); err != nil {
			return nil, err
		}
	}
	l.lent = true
	if !l.look {
		return body, nil
	}
	l.shield = &oneShot{body: body, released: true} // its holder's Close is the body's
	sent, _ := l.shield.lend(now)                   // nobody has read it yet
	return sent.asSent(l.req.ContentLength), nil
}

// Why a body cannot be had again, where GetBody does not say so itself.
var (
	errPanicked = errors.New("respawn: the request's GetBody panicked")
	errNil      = errors.New("respawn: the request's GetBody returned neither a body nor an error")
	errGone     = errors.New("respawn: the request's body is gone, and there is no GetBody")
)

// again asks GetBody. One that panics has no body to give.
func (l *Lender) again() (body io.ReadCloser, err error) {
	if l.req.GetBody == nil {
		return nil, errGone
	}
	defer func() {
		if recover() != nil {
			err = errPanicked
		}
	}()
	body, err = l.req.GetBody()
	if body == nil && err == nil {
		err = errNil
	}
	return body, err
}

// Restore gives the caller its own request back if resp names a copy of it: the
// one that was sent, or the one net/http makes of that (setupRewindBody).
func (l *Lender) Restore(resp *http.Response, sent *http.Request) *http.Response {
	return Restore(l.req, resp, sent)
}

// Restore is [Lender.Restore] for the caller's request req.
func Restore(req *http.Request, resp *http.Response, sent *http.Request) *http.Response {
	if resp != nil && resp.Request != nil && sent != req && resp.Request.URL == sent.URL {
		resp.Request = req
	}
	return resp
}

// Left reports whether the body can be had once more.
func (l *Lender) Left() bool {
	switch {
	case !Has(l.req) || l.req.GetBody != nil:
		return true
	case l.shot != nil:
		return l.shot.unread()
	}
	return !l.lent
}

// Close closes the body of a request that was lent and is not sent after all.
func Close(lent *http.Request) {
	if lent != nil && lent.Body != nil {
		_ = lent.Body.Close()
	}
}

// Answered notes that the caller has an answer. A Close of its body must not withhold that,
// by blocking or by a panic: an inbound request's body blocks until its client has sent it,
// which may wait for the very answer (Expect: 100-continue).
func (l *Lender) Answered() { l.answered = true }

// Settle leaves the caller's body closed, or to the transport to close, or where the caller
// has an answer to a goroutine of its own.
func (l *Lender) Settle() {
	switch {
	case l.shot != nil:
		l.shot.release(l.answered)
	case !l.lent && l.req.Body != nil:
		_ = l.req.Body.Close()
	}
}
