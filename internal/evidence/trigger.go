package evidence

import (
	"errors"
	"io"
	"net"

	"github.com/respawnhttp/respawn/internal/core"
)

// The values of respawn.trigger that an attempt's end may give. The core adds its own.
const (
	TriggerRefused     = "connection_refused"
	TriggerReset       = "connection_reset"
	TriggerClosed      = "connection_closed"
	TriggerDialTimeout = "dial_timeout"
	TriggerDialError   = "dial_error"
	TriggerName        = "name_resolution_error"
	TriggerTLS         = "tls_error"
	TriggerStall       = "stall"
	TriggerEnded       = core.TransportEnded
	TriggerOther       = "_OTHER"
)

// TriggerOf names the kind of a failure. It never reads anything of an error
// but its kind, so it is safe to export.
func TriggerOf(err error) string {
	switch {
	case isA[*net.DNSError](err):
		return TriggerName
	case isTLS(err), saysText(err) == textHandshakeTimeout:
		return TriggerTLS
	case isAny(err, here().refused):
		return TriggerRefused
	case isAny(err, here().reset), saysText(err) == textStream:
		return TriggerReset
	case isDial(err) && isTimeout(err): // ETIMEDOUT among them
		return TriggerDialTimeout
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, io.ErrClosedPipe), isAny(err, here().timedOut), saysText(err) == textConnectionLost, saysText(err) == textNotEstablished:
		return TriggerClosed
	case isDial(err):
		return TriggerDialError
	}
	return TriggerOther
}

// Trigger is TriggerOf for an attempt. Where it was still waiting for a dial, an error of
// no known kind is the dialer's own.
func (w *Watch) Trigger(err error) string {
	switch {
	case w.Reached() != Dialing || TriggerOf(err) != TriggerOther:
		return TriggerOf(err)
	case isTimeout(err):
		return TriggerDialTimeout
	}
	return TriggerDialError
}
