package evidence

import (
	"errors"
	"net"
)

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
