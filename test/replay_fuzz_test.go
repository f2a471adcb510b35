package test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// isReplayable is net/http's own rule, as net/http/request.go has it, for a
// request whose body can be had again.
func isReplayable(method string, header http.Header) bool {
	switch method {
	case "", "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	_, key := header["Idempotency-Key"]
	_, xkey := header["X-Idempotency-Key"]
	return key || xkey
}

// A fate is what becomes of one attempt, with the truth about it that the
// client cannot see.
type fate struct {
	hooks  []string
	read   int  // bytes of the body, or all of it if negative
	sent   bool // the server may have processed it
	err    error
	answer bool
}

var (
	errSession = errors.New("session shut down")
	fates      = []fate{
		{err: testkit.Refused()},
		{hooks: []string{"GetConn"}, err: testkit.Refused()},
		{hooks: []string{"GetConn"}, err: io.EOF},
		{hooks: []string{"GetConn", "GotConn"}, sent: true, err: errReset},
		{hooks: []string{"GetConn", "GotConn"}, read: 3, sent: true, err: errReset},
		{hooks: []string{"GetConn", "GotConn"}, read: -1, sent: true, err: io.EOF},
		{hooks: []string{"GetConn", "GotConn", "GetConn"}, read: -1, sent: true, err: testkit.Refused()},
		{hooks: []string{"GetConn", "GotConn"}, read: -1, sent: true, err: errReset},
		{read: -1, sent: true, err: io.EOF},
		{read: 3, sent: true, err: errSession},
		{sent: true, err: errReset},
		{hooks: []string{"GetConn", "GotConn"}, read: -1, sent: true, answer: true},
		{read: 3, err: testkit.Refused()}, // of a body that was on its way
		{sent: true, answer: true},        // early: it has not read the body
	}
)

func isDialError(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// A fakeWire plays fates to one attempt after another, on whichever transport they
// are made, and notes what the server may have got.
type fakeWire struct {
	t        *testing.T
	script   []byte
	attempts int
	mayHave  int // attempts that may have been processed
	errs     []error
}

func (w *fakeWire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.attempts++
	f := fates[len(fates)-1]
	if len(w.script) > 0 {
		f, w.script = fates[int(w.script[0])%len(fates)], w.script[1:]
	}
	hasBody := req.Body != nil && req.Body != http.NoBody
	// An error of a dial after something was sent is only seen through by who
	// watches: it is what a RoundTripper does that fails over by itself.
	watched := httptrace.ContextClientTrace(req.Context()) != nil
	if f.sent && (!isDialError(f.err) || watched) || hasBody && f.read != 0 {
		w.mayHave++
	}
	tell(req, f.hooks...)
	if hasBody {
		switch {
		case f.read < 0:
			got, err := io.ReadAll(req.Body)
			assert.NoError(w.t, err)
			assert.Equal(w.t, payload, string(got), "an attempt must have the whole body")
		case f.read > 0:
			_, err := io.ReadFull(req.Body, make([]byte, f.read))
			assert.NoError(w.t, err)
		}
	}
	testkit.CloseBody(req)
	if f.answer {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	}
	w.errs = append(w.errs, f.err)
	return nil, f.err
}

// What may have been processed is never sent twice, unless net/http's own rule
// allows it; nothing is sent more often than the threshold allows; every
// attempt has the whole body; every body is closed exactly once; the caller
// gets the transport's own answer or error, and its request back as it was.
func FuzzReplay(f *testing.F) {
	file := filepath.Join(f.TempDir(), "body")
	require.NoError(f, os.WriteFile(file, []byte(payload), 0o600))
	for body := range byte(5) {
		f.Add("POST", byte(0), body, byte(0), byte(3), []byte{0, 0, 3, 11})
		f.Add("GET", byte(1), body, byte(1), byte(1), []byte{2, 5, 0, 8})
		f.Add("PUT", byte(2), body, byte(2), byte(2), []byte{0, 12})
		f.Add("POST", byte(0), body, byte(3), byte(3), []byte{0, 6, 11})
		f.Add("get", byte(4), body, byte(12), byte(4), []byte{9, 4, 1, 1, 1})
	}
	f.Fuzz(func(t *testing.T, method string, header, body, mode, threshold byte, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			w := &fakeWire{t: t, script: script}
			threshold := 1 + int(threshold%5)
			replay := respawn.Replay(mode % 3)
			opts := []respawn.Option{respawn.WithThreshold(threshold), respawn.WithReplay(replay), every(time.Second)}
			most := min(threshold, 3) + 2 + 1 // one that cannot trip is not counted
			switch mode / 3 % 4 {
			case 0:
				opts = append(opts, respawn.WithFactory(fails))
			case 1:
				opts = append(opts, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return testkit.RoundTripperFunc(w.RoundTrip), nil }))
			case 2:
				opts = append(opts, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return testkit.RoundTripperFunc(w.RoundTrip), nil }),
					respawn.WithWaitForReady(time.Minute))
				most *= 1 + 60 // one round a second
			case 3:
				opts = append(opts, respawn.WithFactory(fails), respawn.WithFallback(testkit.RoundTripperFunc(w.RoundTrip)))
				most++
			}
			rt := start(t, testkit.RoundTripperFunc(w.RoundTrip), opts...)

			req := request(t.Context(), http.MethodGet, "http://a.test/", nil)
			req.Method, req.Header = method, http.Header{}
			for i, key := range []string{"Idempotency-Key", "X-Idempotency-Key", "Idempotency-Keys", "idempotency-key"} {
				if header>>i&1 == 1 {
					req.Header[key] = make([]string, header>>4&1)
				}
			}
			var sent bodies
			if kind := int(body) % (len(bodyKinds) + 1); kind < len(bodyKinds) {
				bodyKinds[kind].set(req, &sent)
			} else {
				opened, err := os.Open(file)
				require.NoError(t, err)
				defer opened.Close()
				req.Body = opened
			}
			before := freeze(req)

			resp, err := rt.RoundTrip(req)

			synctest.Wait()
			allowed := replay == respawn.ReplayIdempotent && isReplayable(method, req.Header)
			if !allowed {
				assert.LessOrEqual(t, w.mayHave, 1, "what may have been processed was sent again")
			}
			if replay == respawn.ReplayNever {
				assert.Equal(t, 1, w.attempts)
			} else {
				assert.LessOrEqual(t, w.attempts, most)
			}
			if err == nil {
				assert.Same(t, req, resp.Request)
			} else {
				assert.Contains(t, w.errs, err, "the transport's own error")
				assert.Nil(t, resp)
			}
			before.assertUntouched(t)
			sent.assertClosedOnce(t)
			assert.Zero(t, rt.Health().InFlight)
		})
	})
}
