package generation

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
)

// A Held is the body of an attempt that has a context of its own, and the attempt's
// hold on that. It is a part of something else, so that it costs no allocation.
type Held struct {
	io.ReadCloser
	heldSeat
	finished
}

// A finished body was closed at its end, for a reader that may never do so.
type finished struct {
	closed atomic.Bool // and its reader has not closed it
	fault  error       // of that
}

func (f *finished) finish(body io.Closer) {
	f.fault = body.Close()
	f.closed.Store(true)
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
	case isUpgraded(req, resp):
		resp.Body = upgraded(resp.Body, &h.heldSeat)
		return resp
	}
	h.ReadCloser = resp.Body
	resp.Body = duplex(h, resp.Body, &h.heldSeat)
	return resp
}

// Read closes the body at its end, and lets go of the context: that of a body that its reader
// never closes would stay with the caller's, which may last as long as the program. The body is
// closed first, since HTTP/2's Close waits for the end of the stream only while the context lasts.
func (h *Held) Read(p []byte) (int, error) {
	if h.closed.Load() {
		return 0, io.EOF
	}
	returned := false
	defer func() {
		if !returned { // as countedBody
			h.leave()
		}
	}()
	n, err := h.ReadCloser.Read(p)
	returned = true
	switch err {
	case nil:
	case io.EOF:
		h.seat.leave()
		defer h.leave()
		h.finish(h.ReadCloser)
	default:
		h.leave()
	}
	return n, err
}

// Close closes the body, and the request has left.
func (h *Held) Close() error {
	if h.closed.Swap(false) {
		return h.fault
	}
	defer h.leave()
	return h.ReadCloser.Close()
}
