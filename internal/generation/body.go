package generation

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
)

// Track hooks the response body to count the request out. after runs then,
// too; it may be nil, and must bear to run twice. http.NoBody is handed on as
// the very value it is, and a nil body from a RoundTripper that breaks its
// contract stays nil.
func (s *Stripe) Track(resp *http.Response, after func()) *http.Response {
	if resp == nil || resp.Body == nil || resp.Body == http.NoBody {
		s.Leave()
		if after != nil {
			after()
		}
		return resp
	}
	// An upgraded connection (101) can be written to.
	if w, ok := resp.Body.(io.Writer); ok {
		s.trackDuplex(resp, w, after)
		return resp
	}
	if after != nil {
		resp.Body = &heldBody{ReadCloser: resp.Body, release: after}
	}
	resp.Body = &countedBody{ReadCloser: resp.Body, stripe: s}
	return resp
}

// A countedBody is what a response costs on the healthy path: one allocation of 32
// bytes.
type countedBody struct {
	io.ReadCloser
	stripe *Stripe
	left   atomic.Bool
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.leave()
	}
	return n, err
}

func (b *countedBody) Close() error {
	err := b.ReadCloser.Close()
	b.leave()
	return err
}

// leave looks before it swaps: Close mostly follows the end, and a load costs
// next to nothing.
func (b *countedBody) leave() {
	if !b.left.Load() && !b.left.Swap(true) {
		b.stripe.Leave()
	}
}

// A heldBody keeps what WithDrainTimeout needs for as long as it is read.
type heldBody struct {
	io.ReadCloser
	release func()
}

func (h *heldBody) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if err == io.EOF {
		h.release()
	}
	return n, err
}

func (h *heldBody) Close() error {
	defer h.release()
	return h.ReadCloser.Close()
}

// trackDuplex is Track for an upgraded connection: it is in flight until Close,
// whatever a Read says, and keeps its other half.
func (s *Stripe) trackDuplex(resp *http.Response, w io.Writer, after func()) {
	d := &duplexBody{countedBody: countedBody{ReadCloser: resp.Body, stripe: s}, Writer: w}
	resp.Body = d
	if cw, ok := w.(interface{ CloseWrite() error }); ok {
		resp.Body = &halfCloseBody{duplexBody: d, closeWriter: cw}
	}
	if s.gen.cut == nil {
		return
	}
	// Nothing else would end it: its request's context no longer does.
	stop := context.AfterFunc(s.gen.cut, func() { _ = d.countedBody.Close(); after() })
	d.release = func() { stop(); after() }
}

type duplexBody struct {
	countedBody
	io.Writer
	release func() // nil without WithDrainTimeout
}

func (d *duplexBody) Read(p []byte) (int, error) { return d.ReadCloser.Read(p) }

func (d *duplexBody) Close() error {
	if d.release != nil {
		defer d.release()
	}
	return d.countedBody.Close()
}

type halfCloseBody struct {
	*duplexBody
	closeWriter interface{ CloseWrite() error }
}

func (h *halfCloseBody) CloseWrite() error { return h.closeWriter.CloseWrite() }
