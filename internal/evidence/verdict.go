package evidence

import (
	"errors"
	"net"
	"net/http"
	"net/textproto"

	"github.com/respawnhttp/respawn/internal/body"
)

// A Verdict says what an error of one attempt tells about the transport. Its
// values are those of respawn.Verdict, where they are documented.
type Verdict int

const (
	Neutral Verdict = iota
	Failure
	Stall
	Ended
)

// Classify says what ended an attempt. Whether that counts against its transport is decided
// in internal/core/streak.go. Classify goes by the types of errors. For errors without a
// known type, such as those of custom dialers, it goes by how far the attempt got, which it
// takes from req's context. The first line that applies decides:
//
//	the caller has gone before an answer, by its deadline   Stall; Neutral if the attempt waited for a
//	                                                        place in its own pool, for the caller's body,
//	                                                        or began after the deadline
//	the caller has gone otherwise                           Neutral
//	out of files, ports, buffers or memory                  Neutral
//	the caller's own body failed, or is not as long as the  Neutral
//	 request says, as far as it is observed (NeedsShield in
//	 internal/body/kind.go) or is a file (isFiles), or its
//	 own hook refused a 1xx response, if the attempt is
//	 watched
//	the request is malformed, or the answer, as net/http    Neutral
//	 says (saysText in text.go)
//	the server sent GOAWAY and closed the connection        Neutral
//	there is no such host                                   Neutral
//	no connection could be made                             Failure
//	net/http's ResponseHeaderTimeout, another's timeout     Stall
//	the request is malformed, as malformed.go finds         Neutral
//	the connection broke, or the stream                     Failure
//	anything else                                           Failure; it cannot trip if nobody watched
func Classify(req *http.Request, err error) Verdict {
	if err == nil {
		return Neutral
	}
	w := watchOf(req)
	switch gone, late := CallerGone(req); {
	case late && (w.beganLate(req) || w.Reached() == Queued || body.Awaited(req)):
		return Neutral
	case late:
		return Stall
	case gone:
		return Neutral
	}
	if here().isExhausted(err) || body.Broke(req) || body.Misfits(req) || isFiles(req, err) || w.refusedByCaller() {
		return Neutral
	}
	switch saysText(err) {
	case textHeaderTimeout:
		return Stall
	case textClosing, textRequest, textResponse:
		return Neutral
	}
	if isA[textproto.ProtocolError](err) || hasNoSuchPort(req.URL, err) {
		return Neutral
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return Neutral // the name is wrong, not the way to it
	}
	if isOwnTimeout(err) && w.Reached() != Dialing {
		return Stall // the caller still has time, so a wrapper around the transport set this deadline, or a dialer
	}
	if !isDial(err) && isMalformed(req) {
		return Neutral
	}
	return Failure
}

// isOwnTimeout reports whether err is a timeout of no known kind: of a dialer that says no more, of
// a wrapper around the transport, or of a connection.
func isOwnTimeout(err error) bool {
	return isTimeout(err) && !isDial(err) && TriggerOf(err) == TriggerOther && saysText(err) == textNone
}

// Untyped reports whether err says nothing by itself, and nobody watched the attempt. Such
// an error may be the request's own fault: it is only a reason to watch the next attempts.
// A timeout says more: somebody has waited.
func Untyped(w *Watch, err error) bool {
	return !w.Watched() && !isDial(err) && !isTimeout(err) && TriggerOf(err) == TriggerOther && saysText(err) == textNone
}

// Unseen reports whether err is a timeout, and nobody saw what the attempt was waiting for: it may
// have been a dialer, and then nothing of the request was sent.
func Unseen(w *Watch, err error) bool { return !w.Watched() && isOwnTimeout(err) }
