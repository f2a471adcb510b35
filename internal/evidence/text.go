package evidence

import "strings"

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
