package body

import (
	"io"
	"net/http"
	"os"
	"reflect"
)

// Has reports whether there is a body to send.
func Has(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// NeedsShield reports whether req has a one-shot body, which net/http would
// close when a dial fails without having read it.
func (r Replay) NeedsShield(req *http.Request) bool {
	return r != Never && Has(req) && req.GetBody == nil && !isFile(req.Body)
}

var (
	nopCloserType         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterToType = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)

// isFile reports whether net/http would find an *os.File in the body
// (net/http/transfer.go, unwrapBody) and use sendfile.
func isFile(r io.Reader) bool {
	if t := reflect.TypeOf(r); t == nopCloserType || t == nopCloserWriterToType {
		r, _ = reflect.ValueOf(r).Field(0).Interface().(io.Reader)
	}
	_, ok := r.(*os.File)
	return ok
}
