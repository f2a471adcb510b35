package evidence

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
)

// CallerGone reports whether the caller has given up, and whether it was its
// deadline. The clock is asked as well as the context: a custom dialer and
// http.Client.Timeout (net/http/client.go, setRequestCancel) both return
// before the context knows that its deadline has passed.
func CallerGone(req *http.Request) (gone, late bool) {
	ctx := req.Context()
	switch err := ctx.Err(); {
	case errors.Is(err, context.DeadlineExceeded):
		return true, true
	case err != nil:
		return true, false
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return true, true
	}
	select {
	case <-LegacyCancel(req):
		return true, false
	default:
		return false, false
	}
}

// LegacyCancel is the channel that http.Client.Timeout still uses with every
// RoundTripper that is no *http.Transport (net/http/client.go,
// setRequestCancel).
func LegacyCancel(req *http.Request) <-chan struct{} {
	//lint:ignore SA1019 a RoundTripper has to honor it as long as net/http sets it
	return req.Cancel
}

// DropLegacyCancel lets go of the channel: req goes on without its caller.
func DropLegacyCancel(req *http.Request) {
	//lint:ignore SA1019 see LegacyCancel
	req.Cancel = nil
}

// isFiles reports whether err is that of the file that is the body of req: net/http reads it without
// anybody looking on. An error of a read names the file. That of sendfile does not, and it may
// as well be the connection's: then it is of a kind that a connection has.
func isFiles(req *http.Request, err error) bool {
	file := body.File(req)
	if file == nil {
		return false
	}
	if read, ok := errors.AsType[*fs.PathError](err); ok {
		return read.Path == file.Name()
	}
	call, ok := errors.AsType[*os.SyscallError](err)
	return ok && call.Syscall == "sendfile" && TriggerOf(err) == TriggerOther
}

// heed notes if the caller's own hook of trace refuses a 1xx response, which is how a caller
// bounds them: net/http then ends the attempt, and says that the connection broke.
func (w *Watch) heed(trace *httptrace.ClientTrace) {
	got := trace.Got1xxResponse
	if got == nil {
		return
	}
	trace.Got1xxResponse = func(code int, header textproto.MIMEHeader) error {
		err := got(code, header)
		if err != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.refused = true
		}
		return err
	}
}

// refusedByCaller reports whether the caller's own hook ended the attempt.
func (w *Watch) refusedByCaller() bool {
	if !w.Watched() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}
