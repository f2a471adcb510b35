package testkit

import (
	"net"
	"os"
	"syscall"
)

// Refused returns what net/http returns when nobody listens.
func Refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// ConnReset returns what a read from a connection returns that the peer has
// reset.
func ConnReset() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

// DialTimeout returns what a net.Dialer returns whose Timeout has passed.
func DialTimeout() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
}
