package evidence

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
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
		for seed := range uint64(20) {
			d := rand.New(rand.NewPCG(seed, uint64(c.number)))
			op, network := []string{"dial", "read", "write"}[d.IntN(3)], []string{"tcp", "tcp4", "tcp6"}[d.IntN(3)]
			err := wrapped(d, &net.OpError{Op: op, Net: network, Err: os.NewSyscallError(c.call, c.number)})
			assert.Equal(t, c.kind, kindOn("windows", err), "draw %d: %s from %s", seed, c.name, c.call)
			assert.Empty(t, kindOn("linux", err), "draw %d: %s from %s", seed, c.name, c.call)
		}
	}
}

// kindOn is the kind of err on that system.
func kindOn(goos string, err error) string {
	s := systemOf(goos)
	switch {
	case isAny(err, s.refused):
		return "refused"
	case isAny(err, s.reset):
		return "reset"
	case isAny(err, s.timedOut):
		return "timed out"
	case s.isExhausted(err):
		return "exhausted"
	}
	return ""
}

// wrapped draws what an error is wrapped in by those through whom it comes.
func wrapped(d *rand.Rand, err error) error {
	recipe := make([]byte, d.IntN(5))
	for i := range recipe {
		recipe[i] = byte(d.IntN(256))
	}
	return wrap(err, recipe)
}

// A resolver keeps the text alone of its own dial, and a dialer that tries several ways joins
// what became of them: all of it is looked at.
func TestEverySpellingOfNoPortsLeftIsLocal(t *testing.T) {
	resolver := func(text string) error {
		return &net.DNSError{Err: text, Name: "a.test", IsTimeout: true, IsTemporary: true}
	}
	call := func(network, call string, errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError(call, errno)}
	}
	unix := systemOf("linux")
	for name, tt := range map[string]struct {
		err   error
		local bool
	}{
		"a resolver over UDP, as Linux says it": {resolver("dial udp 10.0.0.2:53: connect: " + syscall.EAGAIN.Error()), true},
		"a resolver over TCP":                   {resolver("dial tcp 10.0.0.2:53: connect: " + syscall.EADDRNOTAVAIL.Error()), true},
		"a resolver that binds":                 {resolver("dial udp 10.0.0.1:1024->10.0.0.2:53: bind: " + syscall.EADDRINUSE.Error()), true},
		"a dial over UDP":                       {call("udp", "connect", syscall.EAGAIN), true},
		"the second of two resolvers":           {errors.Join(resolver("server misbehaving"), resolver("dial tcp 10.0.0.2:53: connect: "+syscall.EADDRNOTAVAIL.Error())), true},
		"the second of two dials":               {errors.Join(call("tcp", "connect", syscall.ECONNREFUSED), call("tcp", "bind", syscall.EADDRINUSE)), true},
		"a resolver of the C library":           {resolver("Memory allocation failure"), true},
		"that of musl":                          {resolver("Out of memory"), true},
		"a server that is out of memory":        {resolver("server misbehaving: Out of memory"), false},
		"busy over TCP":                         {resolver("dial tcp 10.0.0.2:53: connect: " + syscall.EAGAIN.Error()), false},
		"a read over UDP":                       {resolver("read udp 10.0.0.1:1024->10.0.0.2:53: read: " + syscall.EAGAIN.Error()), false},
		"an address that cannot be bound":       {resolver("dial udp 10.0.0.1:0->10.0.0.2:53: bind: " + syscall.EADDRNOTAVAIL.Error()), false},
		"a resolver that is refused":            {resolver("dial udp 10.0.0.2:53: connect: " + syscall.ECONNREFUSED.Error()), false},
		"no text":                               {resolver(""), false},
		"an OpError of nothing":                 {&net.OpError{Op: "dial"}, false},
	} {
		assert.Equal(t, tt.local, unix.isExhausted(tt.err), name)
		for seed := range uint64(20) {
			err := wrapped(rand.New(rand.NewPCG(seed, 12)), tt.err)
			assert.Equal(t, tt.local, unix.isExhausted(err), "%s, draw %d: %#v", name, seed, err)
		}
	}
}
