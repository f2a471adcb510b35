package evidence

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"syscall"
	"testing"
)

// wrap wraps err as callers of net find it: the recipe is read from the inside out.
func wrap(err error, recipe []byte) error {
	for _, b := range recipe[:min(len(recipe), 16)] {
		switch b % 5 {
		case 0:
			err = &net.OpError{Op: "dial", Net: "tcp", Err: err}
		case 1:
			err = &url.Error{Op: "Get", URL: "http://a.test/", Err: err}
		case 2:
			err = fmt.Errorf("tunnel: %w", err)
		case 3:
			err = errors.Join(errors.New("first"), err)
		case 4:
			err = &net.DNSError{Err: "lookup", Name: "a.test", UnwrapErr: err}
		}
	}
	return err
}

// An errno of any system, from any call, in any wrapping, or as a text alone: what is
// exhaustion is found, and what speaks of the other end is never taken for it.
func FuzzErrno(f *testing.F) {
	systems := []string{"linux", "darwin", "freebsd", "windows"}
	networks := []string{"tcp", "unix", "udp"}
	calls := []string{"socket", "connect", "connectex", "bind", "read", "write", "accept"}
	for goos := range systems {
		s := systemOf(systems[goos])
		for _, errnos := range [][]syscall.Errno{s.exhausted, s.refused, s.reset, s.timedOut, s.noPortToConnect, s.noPortToBind, s.busySocket} {
			for _, errno := range errnos {
				for call := range calls {
					f.Add(uint(errno), byte(goos), byte(call), []byte{0, 2}, byte(call))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, number uint, goos, call byte, recipe []byte, network byte) {
		errno := syscall.Errno(number)
		if errno == 0 { // no error
			return
		}
		s := systemOf(systems[int(goos)%len(systems)])
		name := calls[int(call)%len(calls)]
		over := networks[int(network)%len(networks)]
		inner := &net.OpError{Op: "dial", Net: over, Err: os.NewSyscallError(name, errno)}

		in := func(errnos []syscall.Errno) bool { return slices.Contains(errnos, errno) }
		connects := name == "connect" || name == "connectex" && s == &windows
		want := in(s.exhausted) ||
			connects && (in(s.noPortToConnect) || over != "tcp" && in(s.busySocket)) ||
			name == "bind" && in(s.noPortToBind)
		if got := s.isExhausted(wrap(inner, recipe)); got != want {
			t.Errorf("%s of %d over %s is local: %t, want %t", name, number, over, got, want)
		}
		if in(s.refused) || in(s.timedOut) || in(s.reset) {
			if s.isExhausted(wrap(inner, recipe)) {
				t.Errorf("%s of %d speaks of the other end", name, number)
			}
		}

		// The resolver keeps the text, which ends in the system's words.
		text := "dial " + over + " 192.0.2.53:53: " + os.NewSyscallError(name, errno).Error()
		told := want || slices.ContainsFunc(s.exhausted, func(e syscall.Errno) bool { return e.Error() == errno.Error() })
		if got := s.isExhausted(&net.DNSError{Err: text, Name: "a.test"}); got != told && errno.Error() != "" {
			t.Errorf("the resolver's %q is local: %t, want %t", text, got, told)
		}
		if s.isExhausted(&net.DNSError{Err: text + " and more", Name: "a.test"}) {
			t.Errorf("%q", text)
		}
	})
}
