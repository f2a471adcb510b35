package testkit

import (
	"net"
	"os"
	"syscall"
)

// Refused returns the error of a dial to an address where nobody listens.
func Refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// ConnReset returns the error of a read from a connection that the peer has reset.
func ConnReset() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

// DialTimeout returns the error of a net.Dialer whose Timeout has passed.
func DialTimeout() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
}
