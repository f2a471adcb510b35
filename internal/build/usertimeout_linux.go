package build

import "syscall"

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7), which package syscall does not have
// everywhere.
const tcpUserTimeout = 0x12

// setUserTimeout is a net.Dialer's Control. A kernel that does not have the option
// is no reason not to connect.
func setUserTimeout(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(UserTimeout.Milliseconds()))
	})
}
