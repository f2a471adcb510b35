package generation

import (
	"context"
	"io"
	"net/http"
)

// A Held is the body of an attempt that has a context of its own, and the attempt's
// hold on that. It is a part of something else, so that it costs no allocation. If a body
// is read to its end and not closed, its context lasts until the caller's ends.
type Held struct {
	io.ReadCloser
	heldSeat
}

// A heldSeat lets go of a context, too, when the request leaves.
type heldSeat struct {
	seat
	release context.CancelCauseFunc
}

func (s *heldSeat) leave() {
	s.seat.leave()
	s.release(context.Canceled)
}

// Track is [Stripe.Track] of a request without a body, whose context release ends.
func (h *Held) Track(s *Stripe, req *http.Request, resp *http.Response, release context.CancelCauseFunc) *http.Response {
	h.stripe, h.release = s, release
	switch {
	case isEmpty(resp):
		h.leave()
		return resp
	case bodiless(req, resp):
		h.seat.leave() // what is behind the body has the context until Close
	case isUpgraded(resp):
		resp.Body = upgraded(resp.Body, &h.heldSeat)
		return resp
	}
	h.ReadCloser = resp.Body
	resp.Body = h
	return resp
}

// Read counts the request out at the body's end. The context lasts until Close, which
// on HTTP/2 looks at it, and says so if it has ended.
func (h *Held) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	switch err {
	case nil:
	case io.EOF:
		h.seat.leave()
	default:
		h.leave()
	}
	return n, err
}

// Close closes the body, and the request has left.
func (h *Held) Close() error {
	defer h.leave()
	return h.ReadCloser.Close()
}
