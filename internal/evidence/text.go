package evidence

import (
	"slices"
	"strings"
)

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
	textClosing   // a GOAWAY that ended the connection
	textStream    // the server reset this stream
	textRequest   // the request is malformed
	textResponse  // the response is
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
	case strings.HasPrefix(s, "http2: server sent GOAWAY and closed the connection"):
		return textClosing
	case strings.HasPrefix(s, "stream error: stream ID "):
		return textStream
	case hasAnyPrefix(s, ofRequests):
		return textRequest
	case hasAnyPrefix(s, ofResponses):
		return textResponse
	}
	return textNone
}

// ofRequests begin the errors of net/http about a request that it does not send
// (net/http/transport.go, roundTrip).
var ofRequests = []string{
	"http: nil Request.URL", "http: nil Request.Header", "http: no Host in request URL",
	"unsupported protocol scheme ", "net/http: invalid method ", "net/http: invalid header field ",
	"net/http: invalid trailer field ", "http: invalid Host header",
}

// ofResponses begin the errors of net/http about an answer that it cannot read
// (net/http/response.go, transfer.go, h2_bundle.go).
var ofResponses = []string{
	"malformed HTTP ", "malformed MIME header", "net/http: server response headers exceeded ",
	"http2: response header list larger than advertised limit", "http: message cannot contain multiple Content-Length headers",
	"bad Content-Length ", "unsupported transfer encoding: ", "too many transfer encodings",
}

func hasAnyPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}
