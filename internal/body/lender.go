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
	req  *http.Request // the caller's, never changed
	look bool          // attempts get the body through a shield
	shot *oneShot      // shields a body that cannot be had twice; nil if there is none
	lent bool          // an attempt has had the body
}

// NewLender returns the Lender of req's body. It is for one goroutine at a time.
func NewLender(req *http.Request, r Replay) Lender {
	l := Lender{req: req, look: r.NeedsShield(req)}
	if l.look && req.GetBody == nil {
		l.shot = &oneShot{body: req.Body}
	}
	return l
}

// Lent notes that an attempt has had the caller's own request.
func (l *Lender) Lent() { l.lent = true }

// Lend returns the request for one attempt: the caller's own, or a copy with a
// body that can be read. It is false if there is none any more.
func (l *Lender) Lend() (*http.Request, bool) {
	if !Has(l.req) || !l.look && !l.lent {
		l.lent = true
		return l.req, true
	}
	req := new(http.Request)
	if !l.LendUnder(l.req.Context(), req, time.Now()) {
		return nil, false
	}
	return req, true
}

// LendUnder is Lend for an attempt that has a context of its own and begins now. It makes
// the one copy that such an attempt needs, in sent, which may be a part of something
// else, so that it costs no allocation.
func (l *Lender) LendUnder(ctx context.Context, sent *http.Request, now time.Time) bool {
	body, ok := l.body(now)
	if !ok {
		return false
	}
	*sent = *l.req.WithContext(ctx)
	sent.Body = body
	return true
}

// body returns what the next attempt reads.
func (l *Lender) body(now time.Time) (io.ReadCloser, bool) {
	switch {
	case !Has(l.req):
		l.lent = true
		return l.req.Body, true
	case l.shot != nil:
		return l.shot.lend(now)
	}
	body := l.req.Body
	if l.lent {
		var err error
		if body, err = l.again(); err != nil {
			return nil, false // the transport's error is the one that the caller can do more with
		}
	}
	l.lent = true
	if !l.look {
		return body, true
	}
	shield := &oneShot{body: body, released: true} // its holder's Close is the body's
	return shield.lend(now)
}

var errNoBody = errors.New("respawn: GetBody panicked")

// again asks GetBody. One that panics has no body to give.
func (l *Lender) again() (body io.ReadCloser, err error) {
	defer func() {
		if recover() != nil {
			err = errNoBody
		}
	}()
	return l.req.GetBody()
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

// Settle leaves the caller's body closed, or to the transport to close.
func (l *Lender) Settle() {
	switch {
	case l.shot != nil:
		l.shot.release()
	case !l.lent && l.req.Body != nil:
		_ = l.req.Body.Close()
	}
}
