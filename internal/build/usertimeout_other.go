//go:build !linux

package build

import "syscall"

// setUserTimeout does nothing: the option is Linux's.
func setUserTimeout(_, _ string, _ syscall.RawConn) error { return nil }
