package evidence

import (
	"errors"
	"net"
	"net/http"

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

// Classify goes by the types of errors; for those that have none, as the errors
// of custom dialers, by how far the attempt got, which it takes from req's context.
func Classify(req *http.Request, err error) Verdict {
	if err == nil {
		return Neutral
	}
	phase := WatchOf(req).Reached()

	// The caller first: once it has given up, errors say nothing else.
	switch gone, late := CallerGone(req); {
	case late && phase < Answered:
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
	if isDial(err) || TriggerOf(err) != TriggerOther {
		return Failure
	}

	switch phase {
	case Refused:
		return Neutral // net/http did not even look for a connection
	case Dialing:
		return Failure // no connection was to be had, whatever the dialer calls it
	}
	if isTimeout(err) {
		return Stall // the caller still has time, so a wrapper around the transport set this deadline
	}
	switch phase {
	case Unwatched:
		return Failure // look closer: attempts after a failure are watched
	case Silent:
		// A RoundTripper that fires no httptrace: an SDK's dead session and
		// a request it refuses look the same. A false alarm costs one
		// candidate per backoff interval, a missed one an outage.
		return Failure
	}
	return Neutral // conservatively
}
