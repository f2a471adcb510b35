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
	// Out of ports, where it was connect or bind that failed.
	noPortToConnect, noPortToBind []syscall.Errno
	// The backlog of a unix socket is full, which connect does not wait for.
	busySocket []syscall.Errno
	connect    []string // the names of the call
}

// unix is every system but Windows (POSIX, connect and bind).
var unix = system{
	refused:         []syscall.Errno{syscall.ECONNREFUSED},
	reset:           []syscall.Errno{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED},
	timedOut:        []syscall.Errno{syscall.ETIMEDOUT},
	exhausted:       []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM},
	noPortToConnect: []syscall.Errno{syscall.EADDRNOTAVAIL, syscall.EADDRINUSE},
	noPortToBind:    []syscall.Errno{syscall.EADDRINUSE},
	busySocket:      []syscall.Errno{syscall.EAGAIN},
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
	if isAny(err, s.exhausted) {
		return true
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return s.saysExhausted(dns.Err) // it keeps no more than the text
	}
	call, ok := errors.AsType[*os.SyscallError](err)
	switch {
	case !ok:
		return false
	case call.Syscall == "bind":
		return isAny(err, s.noPortToBind) // another address to bind is gone for good, which a fresh dialer may cure
	case slices.Contains(s.connect, call.Syscall):
		return isAny(err, s.noPortToConnect) || strings.HasPrefix(networkOf(err), "unix") && isAny(err, s.busySocket)
	}
	return false
}

// networkOf is the network that was dialed: the innermost error's. That of a proxy's own
// dial says "tcp" whatever way the proxy is reached (net/http/transport.go, dialConn).
func networkOf(err error) (network string) {
	for op, ok := errors.AsType[*net.OpError](err); ok; op, ok = errors.AsType[*net.OpError](op.Err) {
		network = op.Net
	}
	return network
}

// saysExhausted reports whether a text ends in the system's words for it.
func (s *system) saysExhausted(text string) bool {
	return slices.ContainsFunc(s.exhausted, func(e syscall.Errno) bool { return strings.HasSuffix(text, e.Error()) })
}
