package evidence

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/respawnhttp/respawn/internal/body"
)

// hasNoSuchPort reports whether err says that the port of u can be none, which url.Parse lets
// pass. Package net says so of the port alone, and of whole addresses where the fault is that
// of a dialer: its own local address, a proxy's or the family that it is kept to (net/lookup.go,
// LookupPort; net/ipsock.go and dial.go).
func hasNoSuchPort(u *url.URL, err error) bool {
	addr, ok := errors.AsType[*net.AddrError](err)
	return ok && u != nil && addr.Addr != "" && addr.Addr == u.Port()
}

// isMalformed reports whether req is one that net/http begins to write over HTTP/1 and then
// refuses. net/http ends the connection for that, too, and which of the two RoundTrip returns
// is chance (net/http/transport.go, persistConn.roundTrip), so the error cannot tell. It has
// to be found out once more: only the head can be wrong here, and what the body did is told
// by package body.
func isMalformed(req *http.Request) bool {
	if req.URL == nil {
		return false // net/http has said so, and any other transport may do without
	}
	head := req.WithContext(context.Background()) // whose hooks are not told of this
	head.Host = "any"                             // net/http writes one that it refuses as none
	if !body.IsQuiet(req) {
		head.Trailer = nil // it was written before the body was read
	}
	if body.Has(req) {
		head.Body, head.ContentLength = io.NopCloser(strings.NewReader("x")), -1
	}
	return head.Write(io.Discard) != nil
}
