package evidence

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// chain composes an error from the bytes: each one wraps or joins what the
// ones before it made.
func chain(recipe []byte) error {
	var err error = errors.New("root")
	for _, b := range recipe {
		switch b % 24 {
		case 0:
			err = &net.OpError{Op: "dial", Err: err}
		case 1:
			err = &net.OpError{Op: "read", Err: err}
		case 2:
			err = &net.OpError{Op: "remote error", Err: err}
		case 3:
			err = &net.DNSError{Err: "x", IsNotFound: b > 128}
		case 4:
			err = os.NewSyscallError("connect", syscall.Errno(b))
		case 5:
			err = fmt.Errorf("wrapped: %w", err)
		case 6:
			err = errors.Join(err, io.EOF)
		case 7:
			err = context.DeadlineExceeded
		case 8:
			err = context.Canceled
		case 9:
			err = net.ErrClosed
		case 10:
			err = &tls.CertificateVerificationError{Err: err}
		case 11:
			err = &url.Error{Op: "Get", URL: "http://user:secret@a.test/", Err: err}
		case 12:
			err = errors.New("http2: client connection lost")
		case 13:
			err = errors.New("stream error: stream ID 3; REFUSED_STREAM")
		case 14:
			err = syscall.EMFILE
		case 15:
			err = syscall.ECONNRESET
		case 16:
			err = errors.Join()
		case 17:
			err = &net.OpError{Op: "connect", Err: nil} // not even fit to print
		case 18:
			err = errors.Join(nil, errors.New("session shut down"), err)
		case 19:
			err = x509.HostnameError{Certificate: &x509.Certificate{}, Host: "user:secret@a.test"}
		case 20:
			err = fmt.Errorf("%w, then %w", err, os.ErrDeadlineExceeded)
		case 21:
			err = http2.StreamError{StreamID: uint32(b), Code: http2.ErrCode(b)}
		case 22:
			err = &net.DNSError{Err: "server misbehaving", IsTemporary: true, UnwrapErr: err}
		case 23:
			err = (*wrapsNothing)(nil)
		}
	}
	return err
}

// wrapsNothing can be unwrapped to no error at all.
type wrapsNothing struct{}

func (*wrapsNothing) Error() string { return "" }
func (*wrapsNothing) Unwrap() error { return nil }

// The classifier never panics, never blames the transport for what its caller
// did, and names only kinds.
func FuzzClassify(f *testing.F) {
	for _, seed := range []string{"", "\x00", "\x09\x00", "\x05\x0b\x01", "\x0e\x00", "\x03\x00\x05", "\x0a\x02", "\x10", "\x07\x01", "\x11\x12\x14", "\x16\x15", "\x17\x05"} {
		for phase := range byte(5) {
			f.Add([]byte(seed), phase)
		}
	}
	triggers := map[string]bool{
		TriggerRefused: true, TriggerReset: true, TriggerClosed: true, TriggerDialTimeout: true, TriggerDialError: true,
		TriggerName: true, TriggerTLS: true, TriggerOther: true,
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	late, done := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer done()
	f.Fuzz(func(t *testing.T, recipe []byte, reached byte) {
		err := chain(recipe[:min(len(recipe), 32)])
		if err == nil { // joined of nothing: no RoundTripper returns it
			return
		}
		w := &Watch{Context: context.Background(), start: time.Unix(-1, 0), phase: Phase(reached % 5)}
		if w.phase == Unwatched {
			w.Context = nil
		}
		classify := func(ctx context.Context) Verdict {
			return Classify(mustRequest(context.WithValue(ctx, watchKey{}, w), http.MethodGet, "http://a.test/", nil), err)
		}
		if v := classify(canceled); v != Neutral {
			t.Errorf("%T of a caller that has gone is a %v", err, v)
		}
		if v := classify(late); v != Stall && (v != Neutral || w.Reached() != Queued) {
			t.Errorf("%T at the caller's deadline, phase %d, is a %v", err, w.Reached(), v)
		}
		v := classify(context.Background())
		if v == Ended {
			t.Errorf("%T: no error says that for certain", err)
		}
		if v != Neutral && (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) {
			t.Errorf("%T: local exhaustion is a %v", err, v)
		}
		if trigger := TriggerOf(err); !triggers[trigger] {
			t.Errorf("%T: trigger %q is not in the closed set", err, trigger)
		}
	})
}
