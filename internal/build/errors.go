package build

// A kindError names its own error.type, as semconv's ErrorType asks for.
type kindError struct{ kind, text string }

func newKindError(kind, text string) error { return &kindError{kind, text} }
func (e *kindError) Error() string         { return e.text }
func (e *kindError) ErrorType() string     { return e.kind }

// Why a product is no fresh transport, or why there is none.
var (
	errTimeout = newKindError("factory_timeout", "the factory took longer than WithRecreateTimeout allows")
	errStuck   = newKindError("factory_stuck", "earlier calls of the factory have not returned: make it heed its context")
	errExited  = newKindError("factory_exited", "the factory ended its goroutine (runtime.Goexit)")
	errNil     = newKindError("factory_nil", "the factory returned a nil transport and no error")
	errReused  = newKindError("factory_reused", "the factory returned a transport that is in service already: return a new one each time")
	errShared  = newKindError("factory_shared", "the factory returned http.DefaultTransport, which belongs to the whole process: return a clone of it")
	// ErrEnded is what a transport gets that says itself that it is of no use.
	ErrEnded = newKindError("factory_ended", "the factory returned a transport that has ended already")
)
