package build

import (
	"errors"
	"strings"
)

// A kindError names its own error.type, as semconv's ErrorType asks for.
type kindError struct{ kind, text string }

// NewKindError returns an error of that kind.
func NewKindError(kind, text string) error { return &kindError{kind, text} }
func (e *kindError) Error() string         { return e.text }
func (e *kindError) ErrorType() string     { return e.kind }

// Why a product is no fresh transport, or why there is none.
var (
	errTimeout = NewKindError("factory_timeout", "the factory took longer than WithRecreateTimeout allows")
	errStuck   = NewKindError("factory_stuck", "earlier calls of the factory have not returned: make it heed its context")
	// ErrExited is the error of a factory that ends its goroutine.
	ErrExited = NewKindError("factory_exited", "the factory ended its goroutine (runtime.Goexit)")
	errNil    = NewKindError("factory_nil", "the factory returned a nil transport and no error")
	errReused = NewKindError("factory_reused", "the factory returned a transport that is in service already, a client of this package, or a wrapper around one: return a new transport each time")
	errShared = NewKindError("factory_shared", "the factory returned http.DefaultTransport, or a wrapper around it: that one belongs to the whole process, so use a clone of it")
	errEnded  = NewKindError("factory_ended", "the factory returned a transport that has ended already")
)

// Fault returns the kind of the fault that this package found in a factory or its product;
// "" for an error of the factory's own.
func Fault(err error) string {
	if p, ok := errors.AsType[*PanicError](err); ok {
		return p.ErrorType()
	}
	if k, ok := errors.AsType[*kindError](err); ok && strings.HasPrefix(k.kind, "factory_") {
		return k.kind
	}
	return ""
}
