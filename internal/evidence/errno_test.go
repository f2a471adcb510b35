package evidence

import (
	"net"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Winsock has numbers of its own (Windows Sockets Error Codes), for the same kinds of errors
// as Unix. On another system these numbers say nothing.
func TestWinsocksNumbersAreOfTheKindsThatUnixHas(t *testing.T) {
	for _, c := range []struct {
		name, call string
		number     syscall.Errno
		kind       string
	}{
		{"WSAECONNREFUSED", "connectex", 10061, "refused"},
		{"WSAECONNRESET", "wsarecv", 10054, "reset"},
		{"WSAECONNABORTED", "wsasend", 10053, "reset"},
		{"WSAETIMEDOUT", "connectex", 10060, "timed out"},
		{"WSAEMFILE", "socket", 10024, "exhausted"},
		{"WSAENOBUFS", "connectex", 10055, "exhausted"},
		{"WSAEADDRINUSE", "bind", 10048, "exhausted"},
		{"WSAEADDRINUSE", "connectex", 10048, "exhausted"},
		{"WSAEADDRNOTAVAIL", "connectex", 10049, "exhausted"},
		{"WSAEADDRNOTAVAIL", "bind", 10049, ""}, // gone for good, which a fresh dialer may cure
		{"WSAEADDRINUSE", "wsarecv", 10048, ""},
		{"WSAEHOSTUNREACH", "connectex", 10065, ""},
	} {
		err := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError(c.call, c.number)}
		kind := func(s *system) string {
			switch {
			case slices.Contains(s.refused, c.number):
				return "refused"
			case slices.Contains(s.reset, c.number):
				return "reset"
			case slices.Contains(s.timedOut, c.number):
				return "timed out"
			case s.isExhausted(err):
				return "exhausted"
			}
			return ""
		}
		assert.Equal(t, c.kind, kind(systemOf("windows")), "%s from %s", c.name, c.call)
		assert.Empty(t, kind(systemOf("linux")), "%s from %s", c.name, c.call)
	}
}
