package generation

import (
	"io"
	"net/http"
	"reflect"
	"sync/atomic"
)

// Track hooks the response body to count the request out: when it is at its end, has
// failed or is closed. Where there is no body to wait for the request is out at
// once, and the very value is handed on.
func (s *Stripe) Track(req *http.Request, resp *http.Response) *http.Response {
	if bodiless(req, resp) {
		s.Leave()
		return resp
	}
	if isUpgraded(req, resp) {
		resp.Body = upgraded(resp.Body, &seat{stripe: s})
		return resp
	}
	counted := &countedBody{ReadCloser: resp.Body, seat: seat{stripe: s}}
	resp.Body = duplex(counted, resp.Body, &counted.seat)
	return resp
}

// bodiless reports whether resp has no body to wait for, as its request's method, its
// status or its body's type says. An upgraded connection is always waited for, whatever the
// method was. The length that resp gives says nothing: a body may follow all the same. A
// value without a field, like http.NoBody and the empty body of HTTP/2, has no stream
// behind it.
func bodiless(req *http.Request, resp *http.Response) bool {
	if isEmpty(resp) {
		return true
	}
	switch resp.StatusCode {
	case http.StatusNoContent, http.StatusNotModified:
		return true
	case http.StatusSwitchingProtocols:
		return false
	}
	return req.Method == http.MethodHead
}

// isEmpty reports whether there is nothing behind the body of resp. That of a 204 or
// of HEAD may have a stream behind it all the same, as all have on HTTP/3.
func isEmpty(resp *http.Response) bool {
	if resp == nil || resp.Body == nil || resp.Body == http.NoBody {
		return true
	}
	return reflect.TypeOf(resp.Body).Size() == 0
}

// A seat is a request's place in the count.
type seat struct {
	stripe *Stripe
	left   atomic.Bool
}

// leave counts the request out. It may be called twice, and looks before it swaps:
// Close mostly follows the end, and a load costs next to nothing.
func (s *seat) leave() {
	if !s.left.Load() && !s.left.Swap(true) {
		s.stripe.Leave()
	}
}

// named leaves an error as it is.
func (s *seat) named(err error) error { return err }

// A countedBody is what a response costs on the healthy path: one allocation of 32
// bytes.
type countedBody struct {
	io.ReadCloser
	seat
}

// Read counts the request out at the body's end, and where the body's own Read does not return: it
// has panicked, or ended the goroutine, and whoever reads it need not come to close it.
func (b *countedBody) Read(p []byte) (n int, err error) {
	returned := false
	defer func() {
		if err != nil || !returned {
			b.leave()
		}
	}()
	n, err = b.ReadCloser.Read(p)
	returned = true
	return n, err
}

func (b *countedBody) Close() error {
	defer b.leave()
	return b.ReadCloser.Close()
}

// A place in the count that can be left, and that says what an error of the body is
// called.
type place interface {
	leave()
	named(error) error
}

// isUpgraded reports whether resp is an upgraded connection: it is in flight until
// Close, whatever a Read says. That a body can write says nothing: a buffer can, too.
func isUpgraded(req *http.Request, resp *http.Response) bool {
	return resp.StatusCode == http.StatusSwitchingProtocols || req.Method == http.MethodConnect && resp.StatusCode/100 == 2
}

// upgraded returns the body of an upgraded connection, which keeps its other half.
func upgraded(body io.ReadCloser, p place) io.ReadCloser { return duplex(&openBody{body, p}, body, p) }

// duplex returns tracked, which reads body, with the other half of body if there is one.
func duplex(tracked, body io.ReadCloser, p place) io.ReadCloser {
	w, ok := body.(io.Writer)
	if !ok {
		return tracked
	}
	both := duplexBody{tracked, p, w}
	if cw, ok := body.(interface{ CloseWrite() error }); ok {
		return &halfCloseBody{both, cw}
	}
	return &both
}

type openBody struct {
	io.ReadCloser
	place
}

func (o *openBody) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	return n, o.named(err)
}

func (o *openBody) Close() error {
	defer o.leave()
	return o.ReadCloser.Close()
}

type duplexBody struct {
	io.ReadCloser
	place
	w io.Writer
}

func (d *duplexBody) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	return n, d.named(err)
}

type halfCloseBody struct {
	duplexBody
	closeWriter interface{ CloseWrite() error }
}

func (h *halfCloseBody) CloseWrite() error { return h.named(h.closeWriter.CloseWrite()) }
