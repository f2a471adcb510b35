package respawn

// A Trigger says what counted against a transport. It is the kind of a failure, and of
// the recreation that the failure led to: respawn.trigger in traces, metrics and logs.
// The constants are its only values; "" means none.
type Trigger string

const (
	// Several attempts in a row failed; the kind of the last failure is the trigger.
	TriggerConnectionRefused   Trigger = "connection_refused"
	TriggerConnectionReset     Trigger = "connection_reset"
	TriggerConnectionClosed    Trigger = "connection_closed"
	TriggerDialTimeout         Trigger = "dial_timeout"
	TriggerDialError           Trigger = "dial_error" // an error that the dialer itself made
	TriggerNameResolutionError Trigger = "name_resolution_error"
	TriggerTLSError            Trigger = "tls_error"
	// TriggerStall: several deadlines passed without an answer.
	TriggerStall Trigger = "stall"
	// TriggerSilence: several waits in a row, of one request or of more, lasted longer
	// than the patience, without an answer.
	TriggerSilence Trigger = "silence"
	// TriggerTransportEnded: the transport itself reported that it had ended.
	TriggerTransportEnded Trigger = "transport_ended"
	// TriggerStart: the client had no transport yet, as after New(nil, WithFactory(f)).
	TriggerStart Trigger = "start"
	// TriggerMaxAge: the transport reached its age, see [WithMaxAge].
	TriggerMaxAge Trigger = "max_age"
	// TriggerManual: somebody called [RecoveringRoundTripper.Recreate].
	TriggerManual Trigger = "manual"
	// TriggerOther: several attempts failed with errors of no known kind.
	TriggerOther Trigger = "_OTHER"
)

// An Outcome is how a recreation ended: respawn.outcome in traces and metrics.
type Outcome string

const (
	OutcomePromoted Outcome = "promoted" // the fresh transport is in service
	OutcomeRejected Outcome = "rejected" // the transport in service stays
)

// An ErrorType says why a fresh transport was rejected: error.type in traces, metrics
// and logs. It is one of the constants or, if the fresh transport failed as the one
// before did, the value of a [Trigger], such as ErrorType(TriggerTLSError). "" means
// none.
type ErrorType string

const (
	// ErrorTypeUpstreamSlow: the authority had stalled, and the fresh transport
	// answered no faster than the one in service.
	ErrorTypeUpstreamSlow ErrorType = "upstream_slow"
	// ErrorTypeTrialTimeout: the fresh transport did not prove itself in time.
	ErrorTypeTrialTimeout ErrorType = "trial_timeout"

	// The recreation was called off, which says nothing against the fresh transport.

	ErrorTypeCurrentRecovered ErrorType = "current_recovered" // the transport in service answered
	ErrorTypeUntried          ErrorType = "untried"           // no request proved or refuted the fresh transport
	ErrorTypeSuperseded       ErrorType = "superseded"        // a newer fresh transport was asked for
	ErrorTypeGivenUp          ErrorType = "given_up"          // the caller of Recreate gave up
	ErrorTypeClosed           ErrorType = "closed"            // the client was closed

	// The factory gave no usable transport.

	ErrorTypeFactoryError   ErrorType = "factory_error"   // the factory's error has no known kind
	ErrorTypeFactoryTimeout ErrorType = "factory_timeout" // the factory took longer than WithRecreateTimeout
	ErrorTypeFactoryStuck   ErrorType = "factory_stuck"   // too many earlier calls of the factory have not returned
	ErrorTypeFactoryExited  ErrorType = "factory_exited"  // the factory ended its goroutine
	ErrorTypeFactoryPanic   ErrorType = "factory_panic"
	ErrorTypeFactoryNil     ErrorType = "factory_nil"
	ErrorTypeFactoryReused  ErrorType = "factory_reused" // the factory's product is in service, or another client, or wraps one of these
	ErrorTypeFactoryShared  ErrorType = "factory_shared" // the factory's product is http.DefaultTransport, or wraps it
	ErrorTypeFactoryEnded   ErrorType = "factory_ended"  // the factory's product had ended already

	// The factory failed with an error of this kind.

	ErrorTypeFactoryConnectionRefused   ErrorType = "factory_connection_refused"
	ErrorTypeFactoryConnectionReset     ErrorType = "factory_connection_reset"
	ErrorTypeFactoryConnectionClosed    ErrorType = "factory_connection_closed"
	ErrorTypeFactoryDialTimeout         ErrorType = "factory_dial_timeout"
	ErrorTypeFactoryDialError           ErrorType = "factory_dial_error"
	ErrorTypeFactoryNameResolutionError ErrorType = "factory_name_resolution_error"
	ErrorTypeFactoryTLSError            ErrorType = "factory_tls_error"
)

// An OutageEnd says what ended an outage. "" means that nothing has ended it yet.
type OutageEnd string

const (
	// OutageEndSwap: a request was answered on a fresh transport. If the transport itself
	// had ended, the swap alone ended the outage.
	OutageEndSwap OutageEnd = "swap"
	// OutageEndUpstreamReturned: a request was answered on a transport that had failed
	// in the outage, after fresh transports had failed, too.
	OutageEndUpstreamReturned OutageEnd = "upstream_returned"
	// OutageEndCurrentRecovered: a request was answered on the transport that the outage
	// began on, and no fresh transport had failed.
	OutageEndCurrentRecovered OutageEnd = "current_recovered"
	// OutageEndForgotten: nobody asked the authority any more. The outage's known end
	// is the time of the last request.
	OutageEndForgotten OutageEnd = "forgotten"
	// OutageEndClosed: the client was closed.
	OutageEndClosed OutageEnd = "closed"
)
