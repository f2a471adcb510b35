package evidence

import (
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// A system has the errors that one operating system's network calls fail with. The
// tables are data, so that their tests run on every system.
type system struct {
	refused, reset, timedOut []syscall.Errno

	// This machine is out of files, buffers or memory, whatever call failed.
	exhausted []syscall.Errno
	// The same in the words of getaddrinfo, which has a number of its own for it (EAI_MEMORY).
	outOfMemory []string
	// Out of ports, where it was connect or bind that failed.
	noPortToConnect, noPortToBind []syscall.Errno
	// The same of connect on these networks alone: the backlog of a unix socket is full, which
	// connect does not wait for, or Linux has no port left to bind a UDP socket to.
	busySocket []syscall.Errno
	busyOn     []string // how their names begin
	connect    []string // the names of the call
}

// unix is every system but Windows (POSIX, connect and bind).
var unix = system{
	refused:         []syscall.Errno{syscall.ECONNREFUSED},
	reset:           []syscall.Errno{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED},
	timedOut:        []syscall.Errno{syscall.ETIMEDOUT},
	exhausted:       []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM},
	outOfMemory:     []string{"Memory allocation failure", "Out of memory"}, // gai_strerror of glibc and the BSDs; of musl
	noPortToConnect: []syscall.Errno{syscall.EADDRNOTAVAIL, syscall.EADDRINUSE},
	noPortToBind:    []syscall.Errno{syscall.EADDRINUSE},
	busySocket:      []syscall.Errno{syscall.EAGAIN},
	busyOn:          []string{"unix", "udp"},
	connect:         []string{"connect"},
}

// windows has numbers of its own (Windows Sockets Error Codes): package syscall's
// constants of the same names are invented there, and Winsock never returns them.
var windows = system{
	refused:         []syscall.Errno{10061},
	reset:           []syscall.Errno{10054, 10053, 10052},
	timedOut:        []syscall.Errno{10060},
	exhausted:       []syscall.Errno{10024, 10055, 8},
	noPortToConnect: []syscall.Errno{10048, 10049},
	noPortToBind:    []syscall.Errno{10048},
	connect:         []string{"connect", "connectex"},
}

// here is the system that this process runs on.
func here() *system { return systemOf(runtime.GOOS) }

func systemOf(goos string) *system {
	if goos == "windows" {
		return &windows
	}
	return &unix
}

// isAny reports whether err is one of those.
func isAny(err error, errnos []syscall.Errno) bool {
	return slices.ContainsFunc(errnos, func(e syscall.Errno) bool { return errors.Is(err, e) })
}

// isExhausted reports whether this machine had run out of a resource that the attempt
// needed. A fresh transport would need even more of it.
func (s *system) isExhausted(err error) bool {
	return isAny(err, s.exhausted) || s.hasNoRoom(err, "")
}

// hasNoRoom looks for a call that was out of ports, and for what a resolver says of its own
// calls, in all that err wraps. network is the one that was dialed, as far as is known: the
// innermost error's counts, since that of a proxy's own dial says "tcp" whatever way the proxy
// is reached (net/http/transport.go, dialConn).
func (s *system) hasNoRoom(err error, network string) bool {
	switch e := err.(type) {
	case *net.OpError:
		network = e.Net
	case *net.DNSError:
		if s.saysExhausted(e.Err) { // mostly it keeps no more than the text
			return true
		}
	case *os.SyscallError:
		return slices.ContainsFunc(s.local(e.Syscall, network), func(errno syscall.Errno) bool { return errors.Is(e.Err, errno) })
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return s.hasNoRoom(e.Unwrap(), network)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return s.hasNoRoom(err, network) })
	}
	return false
}

// local returns the errors of call on network that say that this machine is out of ports or
// of room. Another address to bind is gone for good, which a fresh dialer may cure.
func (s *system) local(call, network string) []syscall.Errno {
	switch {
	case call == "bind":
		return s.noPortToBind
	case !slices.Contains(s.connect, call):
		return nil
	case hasAnyPrefix(network, s.busyOn):
		return slices.Concat(s.noPortToConnect, s.busySocket)
	}
	return s.noPortToConnect
}

// saysExhausted reports whether the text of a failed dial ends in the system's words for it,
// or in the name of a call and the words for what that call is out of.
func (s *system) saysExhausted(text string) bool {
	ends := func(before string, errnos []syscall.Errno) bool {
		return slices.ContainsFunc(errnos, func(e syscall.Errno) bool { return strings.HasSuffix(text, before+e.Error()) })
	}
	network := "" // and what follows
	if i := strings.LastIndex(text, "dial "); i >= 0 {
		network = text[i+len("dial "):]
	}
	return ends("", s.exhausted) || slices.Contains(s.outOfMemory, text) || slices.ContainsFunc(append([]string{"bind"}, s.connect...), func(call string) bool {
		return ends(" "+call+": ", s.local(call, network))
	})
}
