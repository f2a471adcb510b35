package respawn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
)

// A Verdict says what an error of one attempt tells about the transport.
type Verdict int

const (
	// Neutral says nothing against the transport: the caller gave up, the
	// request itself is at fault, or this machine is out of files or ports.
	Neutral Verdict = iota
	// Failure speaks against the transport; [WithThreshold] of them in a row
	// trip the authority.
	Failure
	// Stall is a deadline that passed without a first response byte. Stalls
	// have a stricter rule of their own, [WithStallThreshold].
	Stall
	// Ended says that the transport will never work again. It trips at once.
	Ended
)

// String returns the verdict's name in lower case.
func (v Verdict) String() string {
	switch v {
	case Neutral:
		return "neutral"
	case Failure:
		return "failure"
	case Stall:
		return "stall"
	case Ended:
		return "ended"
	}
	return "unknown"
}

// A Classifier says what err, returned by a transport for req, tells about the
// transport. It is called once for each failed attempt, concurrently, on the
// caller's goroutine, and must not keep or change req, which may be a copy of
// the caller's. err is never nil.
type Classifier func(req *http.Request, err error) Verdict

// DefaultClassifier is the [Classifier] used without [WithClassifier]. It goes
// by the types of errors; for those that have none, as the errors of custom
// dialers, by how far the attempt got, which it takes from req's context: a
// classifier that wraps this one must hand on the req it was given.
func DefaultClassifier(req *http.Request, err error) Verdict {
	if err == nil {
		return Neutral
	}
	a := attemptOf(req)
	phase := a.reached()

	// The caller first: once it has given up, errors say nothing else.
	switch gone, late := callerGone(req); {
	case late && phase < phaseAnswered:
		return Stall
	case gone:
		return Neutral
	}

	if isLocalExhaustion(err) {
		return Neutral // a fresh transport would need even more of it
	}
	if body.Broke(req, err) {
		return Neutral // the caller's own reader failed
	}
	switch saysText(err) {
	case textHeaderTimeout:
		return Stall
	case textConnectionLost, textHandshakeTimeout, textNotEstablished, textNotUsable:
		return Failure
	case textStream:
		return Neutral // the server's word on this stream or connection; net/http dials again by itself
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return Neutral // the name is wrong, not the way to it
	}
	if isDial(err) || triggerOf(err) != triggerOther {
		return Failure
	}

	switch phase {
	case phaseRefused:
		return Neutral // net/http did not even look for a connection
	case phaseDialing:
		return Failure // no connection was to be had, whatever the dialer calls it
	}
	if isTimeout(err) {
		return Stall // the caller still has time, so a wrapper around the transport set this deadline
	}
	switch phase {
	case phaseUnwatched:
		return Failure // look closer: attempts after a failure are watched
	case phaseSilent:
		// A RoundTripper that fires no httptrace: an SDK's dead session and
		// a request it refuses look the same. A false alarm costs one
		// candidate per backoff interval, a missed one an outage.
		return Failure
	}
	return Neutral // conservatively
}

// callerGone reports whether the caller has given up, and whether it was its
// deadline. The clock is asked as well as the context: a custom dialer and
// http.Client.Timeout (net/http/client.go, setRequestCancel) both return
// before the context knows that its deadline has passed.
func callerGone(req *http.Request) (gone, late bool) {
	ctx := req.Context()
	switch err := ctx.Err(); {
	case errors.Is(err, context.DeadlineExceeded):
		return true, true
	case err != nil:
		return true, false
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return true, true
	}
	select {
	case <-legacyCancel(req):
		return true, false
	default:
		return false, false
	}
}

// legacyCancel is the channel that http.Client.Timeout still uses with every
// RoundTripper that is no *http.Transport (net/http/client.go,
// setRequestCancel).
func legacyCancel(req *http.Request) <-chan struct{} {
	//lint:ignore SA1019 a RoundTripper has to honour it as long as net/http sets it
	return req.Cancel
}

func isLocalExhaustion(err error) bool {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return true
	}
	// In bind it is a LocalAddr that is gone, which a fresh dialer may cure.
	sys, ok := errors.AsType[*os.SyscallError](err)
	return ok && sys.Syscall == "connect" && sys.Err == syscall.EADDRNOTAVAIL
}

func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "dial" || op.Op == "proxyconnect")
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

// neverSent reports whether err by its type alone proves that no connection
// was got, so that nothing of the request can have reached anyone.
func neverSent(err error) bool {
	if isDial(err) || saysText(err) == textHandshakeTimeout || refusedStream(err) {
		return true
	}
	_, dns := errors.AsType[*net.DNSError](err)
	return dns
}

// refusedStream reports whether err says of an HTTP/2 connection that was got
// that it did not take the request, so that nobody has processed it.
func refusedStream(err error) bool {
	switch saysText(err) {
	case textNotEstablished, textNotUsable, textGoAway:
		return true
	}
	return false
}

// A text is an error of net/http that has no type of its own to go by.
type text int

const (
	textNone text = iota
	textHeaderTimeout
	textHandshakeTimeout
	textConnectionLost
	textNotEstablished
	textNotUsable // after a GOAWAY, or closed
	textGoAway    // which names an earlier stream as its last
	textStream
)

// saysText is the only place that reads an error's text. Each string is pinned
// to net/http by a test. Only the innermost errors are read: what wraps them
// has a type, and may not even be fit to print (an OpError without an Err).
func saysText(err error) text {
	switch e := err.(type) {
	case nil:
		return textNone
	case interface{ Unwrap() error }:
		return saysText(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if t := saysText(err); t != textNone {
				return t
			}
		}
		return textNone
	}
	switch s := err.Error(); {
	case s == "net/http: timeout awaiting response headers",
		s == "http2: timeout awaiting response headers":
		return textHeaderTimeout
	case s == "net/http: TLS handshake timeout":
		return textHandshakeTimeout
	case s == "http2: client connection lost":
		return textConnectionLost
	case s == "http2: client conn could not be established":
		return textNotEstablished
	case s == "http2: client conn not usable":
		return textNotUsable
	case s == "http2: Transport received Server's graceful shutdown GOAWAY":
		return textGoAway
	case strings.HasPrefix(s, "http2: server sent GOAWAY and closed the connection"),
		strings.HasPrefix(s, "stream error: stream ID "):
		return textStream
	}
	return textNone
}

// The closed set of values of respawn.trigger.
const (
	triggerRefused     = "connection_refused"
	triggerReset       = "connection_reset"
	triggerClosed      = "connection_closed"
	triggerDialTimeout = "dial_timeout"
	triggerName        = "name_resolution_error"
	triggerTLS         = "tls_error"
	triggerStall       = "stall"
	triggerEnded       = "transport_ended"
	triggerMaxAge      = "max_age"
	triggerManual      = "manual"
	triggerOther       = "_OTHER"
)

// triggerOf names the kind of a failure. It never reads anything of an error
// but its kind, so it is safe to export.
func triggerOf(err error) string {
	switch {
	case isA[*net.DNSError](err):
		return triggerName
	case isTLS(err), saysText(err) == textHandshakeTimeout:
		return triggerTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return triggerRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return triggerReset
	case isDial(err) && isTimeout(err): // ETIMEDOUT among them
		return triggerDialTimeout
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, io.ErrClosedPipe), errors.Is(err, syscall.ETIMEDOUT), saysText(err) == textConnectionLost, saysText(err) == textNotEstablished:
		return triggerClosed
	}
	return triggerOther
}

func isTLS(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "remote error" || op.Op == "local error") {
		return true // a TLS alert, crypto/tls/conn.go
	}
	return isA[*tls.CertificateVerificationError](err) || isA[tls.AlertError](err) ||
		isA[x509.UnknownAuthorityError](err) || isA[x509.HostnameError](err) || isA[x509.CertificateInvalidError](err)
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
