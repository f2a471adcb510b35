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
	textRequest   // the request is malformed, or its body is not as long as it says
	textResponse  // the response is malformed, or too large
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
	case s == "http2: Transport received Server's graceful shutdown GOAWAY",
		strings.HasPrefix(s, "http2: Transport received GOAWAY from server ErrCode:"): // the same of stream 1, with an error code (setGoAway)
		return textGoAway
	case strings.HasPrefix(s, "http2: server sent GOAWAY and closed the connection"):
		return textClosing
	case strings.HasPrefix(s, "stream error: stream ID "):
		if strings.HasSuffix(s, "; received from peer") {
			return textStream
		}
		return textResponse // net/http itself ended the stream, since it cannot read the answer
	case hasAnyPrefix(s, ofRequests):
		return textRequest
	case hasAnyPrefix(s, ofResponses):
		return textResponse
	}
	return textNone
}

// ofRequests begin the errors of net/http about a request that it does not send, or not to
// its end.
var ofRequests = []string{
	// net/http/transport.go, roundTrip
	"http: nil Request.URL", "http: nil Request.Header", "http: no Host in request URL",
	"unsupported protocol scheme ", "net/http: invalid method ", "net/http: invalid header field ",
	"net/http: invalid trailer field ",
	// net/http/request.go and transfer.go, write: on HTTP/1 the rest is only found there
	"http: invalid Host header", "net/http: can't write control character in Request.URL", "http: Request.ContentLength=",
	"http: ContentLength=", "invalid Trailer key ",
	// net/http/internal/httpcommon, EncodeHeaders: on HTTP/2, within an error that begins "http2: "
	"invalid Host header", "invalid request :path ", "invalid Upgrade request header: ",
	"invalid Transfer-Encoding request header: ", "invalid Connection request header: ",
	"request header list larger than peer's advertised limit",
	// net/http/h2_bundle.go, writeRequestBody
	"http2: request body larger than specified content length",
}

// ofResponses begin the errors of net/http about an answer that it cannot read
// (net/http/response.go, transfer.go). Those of HTTP/2 end the stream (saysText).
var ofResponses = []string{
	"malformed HTTP ", "malformed MIME header", "net/http: server response headers exceeded ",
	"http2: response header list larger than advertised limit", "http: message cannot contain multiple Content-Length headers",
	"bad Content-Length ", "invalid empty Content-Length ", "bad trailer key ", "unsupported transfer encoding: ",
	"too many transfer encodings",
	"http2: frame too large", // as an answer in HTTP/1 reads; it ends the connection
}

func hasAnyPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}
