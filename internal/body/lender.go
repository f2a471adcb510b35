package body

import "net/http"

// A Lender gives the caller's body to one attempt after another, for as long as
// it can be had.
type Lender struct {
	req  *http.Request // the caller's, never changed
	shot *oneShot      // shields a body that cannot be sent twice; nil if there is none
	lent bool          // an attempt has had the body
}

// NewLender returns the Lender of req's body. It is for one goroutine at a time.
func NewLender(req *http.Request, r Replay) Lender {
	l := Lender{req: req}
	if r.NeedsShield(req) {
		l.shot = &oneShot{body: req.Body}
	}
	return l
}

// Lent notes that an attempt has had the caller's own request.
func (l *Lender) Lent() { l.lent = true }

// Lend returns the request for one attempt: the caller's own, or a copy with a
// body that can be read. It is false if there is none any more.
func (l *Lender) Lend() (*http.Request, bool) {
	if l.shot == nil && (!l.lent || !Has(l.req)) {
		l.lent = true
		return l.req, true
	}
	req := l.req.WithContext(l.req.Context())
	if l.shot != nil {
		body, ok := l.shot.lend()
		if !ok {
			return nil, false
		}
		req.Body = body
		return req, true
	}
	body, err := l.req.GetBody()
	if err != nil {
		return nil, false // the transport's error is the one that the caller can do more with
	}
	req.Body = body
	return req, true
}

// Restore gives the caller its own request back if resp names a copy of it: the
// one that was sent, or the one net/http makes of that (setupRewindBody).
func (l *Lender) Restore(resp *http.Response, sent *http.Request) *http.Response {
	if resp != nil && resp.Request != nil && sent != l.req && resp.Request.URL == l.req.URL {
		resp.Request = l.req
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
