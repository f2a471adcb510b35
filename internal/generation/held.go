package generation

import (
	"context"
	"io"
	"net/http"
)

// A Held is the body of an attempt that has a context of its own, and the attempt's
// hold on that. It is a part of something else, so that it costs no allocation.
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

// Read lets go of the context at the body's end: that of a body which is never closed would
// stay with the caller's, and that may last as long as the program.
func (h *Held) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if err != nil {
		h.leave()
	}
	return n, err
}

// Close closes the body, and the request has left.
func (h *Held) Close() error {
	out := h.left.Load()
	defer h.leave()
	return closing(out, h.ReadCloser.Close())
}

// closing returns the error of a body's Close. If the request was out before, so may its
// context have been let go of: where Close looks at that, the caller is not told.
func closing(out bool, err error) error {
	if out && err == context.Canceled {
		return nil
	}
	return err
}
