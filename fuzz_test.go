package respawn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
)

// chain composes an error from the bytes: each one wraps or joins what the
// ones before it made.
func chain(recipe []byte) error {
	var err error = errors.New("root")
	for _, b := range recipe {
		switch b % 17 {
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
		}
	}
	return err
}

// The classifier never panics, never blames the transport for what its caller
// did, and names only kinds.
func FuzzDefaultClassifier(f *testing.F) {
	for _, seed := range []string{"", "\x00", "\x09\x00", "\x05\x0b\x01", "\x0e\x00", "\x03\x00\x05", "\x0a\x02", "\x10", "\x07\x01"} {
		f.Add([]byte(seed))
	}
	triggers := map[string]bool{
		triggerRefused: true, triggerReset: true, triggerClosed: true, triggerDialTimeout: true,
		triggerName: true, triggerTLS: true, triggerOther: true,
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	f.Fuzz(func(t *testing.T, recipe []byte) {
		err := chain(recipe[:min(len(recipe), 32)])
		if v := DefaultClassifier(mustRequest(canceled, http.MethodGet, "http://a.test/", nil), err); v != Neutral {
			t.Errorf("%v of a caller that has gone is a %v", err, v)
		}
		v := DefaultClassifier(mustRequest(context.Background(), http.MethodGet, "http://a.test/", nil), err)
		if v == Ended {
			t.Errorf("%v: no error says that for certain", err)
		}
		if v != Neutral && (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) {
			t.Errorf("%v: local exhaustion is a %v", err, v)
		}
		if trigger := triggerOf(err); err != nil && !triggers[trigger] {
			t.Errorf("%v: trigger %q is not in the closed set", err, trigger)
		}
	})
}
