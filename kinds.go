package respawn

// A Trigger says what spoke against a transport. It is the kind of a failure, and of
// the recreation that it led to: respawn.trigger in traces, metrics and logs. The
// constants are all the values there are; "" is none.
type Trigger string

const (
	// Several attempts in a row ended like this; the last one names it.
	TriggerConnectionRefused   Trigger = "connection_refused"
	TriggerConnectionReset     Trigger = "connection_reset"
	TriggerConnectionClosed    Trigger = "connection_closed"
	TriggerDialTimeout         Trigger = "dial_timeout"
	TriggerDialError           Trigger = "dial_error" // an error of the dialer's own
	TriggerNameResolutionError Trigger = "name_resolution_error"
	TriggerTLSError            Trigger = "tls_error"
	// TriggerStall is deadlines that passed without an answer.
	TriggerStall Trigger = "stall"
	// TriggerSilence is requests that have waited without an answer, and still do.
	TriggerSilence Trigger = "silence"
	// TriggerTransportEnded is a transport that said so itself.
	TriggerTransportEnded Trigger = "transport_ended"
	// TriggerStart is a client without a transport yet: New(nil, WithFactory(f)).
	TriggerStart Trigger = "start"
	// TriggerMaxAge is [WithMaxAge].
	TriggerMaxAge Trigger = "max_age"
	// TriggerManual is [RecoveringRoundTripper.Recreate].
	TriggerManual Trigger = "manual"
	// TriggerOther is errors that have no kind.
	TriggerOther Trigger = "_OTHER"
)

// An Outcome is how a recreation ended: respawn.outcome in traces and metrics.
type Outcome string

const (
	OutcomePromoted Outcome = "promoted" // the fresh transport is in service
	OutcomeRejected Outcome = "rejected" // the one before stays
)

// An ErrorType says why a fresh transport was rejected: error.type in traces,
// metrics and logs. It is one of the constants or, where the fresh transport failed as
// the one before, the name of a [Trigger], as ErrorType(TriggerTLSError). "" is none.
type ErrorType string

const (
	// ErrorTypeUpstreamSlow: after stalls the fresh transport answered, and was no
	// faster.
	ErrorTypeUpstreamSlow ErrorType = "upstream_slow"
	// ErrorTypeTrialTimeout: it did not prove itself in time.
	ErrorTypeTrialTimeout ErrorType = "trial_timeout"

	// It was called off, which says nothing against it.

	ErrorTypeCurrentRecovered ErrorType = "current_recovered" // the transport in service answered
	ErrorTypeUntried          ErrorType = "untried"           // nobody was left to try it
	ErrorTypeSuperseded       ErrorType = "superseded"        // a newer one was asked for
	ErrorTypeGivenUp          ErrorType = "given_up"          // by whoever called Recreate
	ErrorTypeClosed           ErrorType = "closed"            // the client was

	// The factory gave none.

	ErrorTypeFactoryError   ErrorType = "factory_error"   // an error without a kind
	ErrorTypeFactoryTimeout ErrorType = "factory_timeout" // it took longer than WithRecreateTimeout
	ErrorTypeFactoryStuck   ErrorType = "factory_stuck"   // earlier calls have not returned
	ErrorTypeFactoryExited  ErrorType = "factory_exited"  // it ended its goroutine
	ErrorTypeFactoryPanic   ErrorType = "factory_panic"
	ErrorTypeFactoryNil     ErrorType = "factory_nil"
	ErrorTypeFactoryReused  ErrorType = "factory_reused" // its product is in service, or wraps what is
	ErrorTypeFactoryShared  ErrorType = "factory_shared" // its product is http.DefaultTransport, or wraps it
	ErrorTypeFactoryEnded   ErrorType = "factory_ended"  // its product had ended already

	// The factory's own attempts ended like this.

	ErrorTypeFactoryConnectionRefused   ErrorType = "factory_connection_refused"
	ErrorTypeFactoryConnectionReset     ErrorType = "factory_connection_reset"
	ErrorTypeFactoryConnectionClosed    ErrorType = "factory_connection_closed"
	ErrorTypeFactoryDialTimeout         ErrorType = "factory_dial_timeout"
	ErrorTypeFactoryDialError           ErrorType = "factory_dial_error"
	ErrorTypeFactoryNameResolutionError ErrorType = "factory_name_resolution_error"
	ErrorTypeFactoryTLSError            ErrorType = "factory_tls_error"
)

// An OutageEnd is what ended an outage. "" is nothing yet.
type OutageEnd string

const (
	// OutageEndSwap: a fresh transport was answered.
	OutageEndSwap OutageEnd = "swap"
	// OutageEndUpstreamReturned: the transport that it began on was, after fresh ones
	// had failed, too.
	OutageEndUpstreamReturned OutageEnd = "upstream_returned"
	// OutageEndCurrentRecovered: the same, and no fresh one had failed.
	OutageEndCurrentRecovered OutageEnd = "current_recovered"
	// OutageEndForgotten: nobody asked any more. It is known to have lasted until
	// somebody last did.
	OutageEndForgotten OutageEnd = "forgotten"
	// OutageEndClosed: the client was.
	OutageEndClosed OutageEnd = "closed"
)
