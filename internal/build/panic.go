package build

import (
	"fmt"
	"runtime"
	"strings"
)

// A PanicError is a panic of the factory.
type PanicError struct {
	value any
	stack string
}

func (e *PanicError) Error() string     { return fmt.Sprintf("the factory panicked: %v", e.value) }
func (e *PanicError) ErrorType() string { return "factory_panic" }

// Stack returns where the factory panicked, without any value.
func (e *PanicError) Stack() string { return e.stack }

// stackTrace is where the caller is, from the inside out. Unlike debug.Stack it
// leaves out the arguments: those of a factory can be keys.
func stackTrace() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var trace strings.Builder
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		fmt.Fprintf(&trace, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
	}
	return trace.String()
}
