package main

// netHTTP names the tests of net/http that tell respawn from a bare transport.
// Most count how often a GET is sent that fails: respawn sends it again.
var netHTTP = map[string]string{
	"TestCancelRequestWhenSharingConnection": "waits for ever: a GET whose connection was closed under it is sent again, and the server answers two requests only",
	"TestClientTimeout":                      "now and then, as with a wrapper that does nothing: looks for `Client.Timeout` in the error, which http.Client adds reliably only if its Transport is an *http.Transport; with any other its timer races the deadline that it sets; the error is a timeout either way",
	"TestClientTimeout_Headers":              "now and then, as with a wrapper that does nothing: as TestClientTimeout",
	"TestDontCacheBrokenHTTP2Conn":           "counts dials: a GET whose fresh connection broke is dialed for again",
	"TestOnProxyConnectResponse":             "counts dials: a GET that the proxy's CONNECT refused was never sent, and is sent again",
	"TestTransportAndServerSharedBodyRace":   "waits for ever: it calls CancelRequest of the transport below with the caller's *Request, and respawn sends a body that can be read once in a copy; CancelRequest is deprecated, and a RoundTripper has none",
	"TestTransportProxyConnectHeader":        "waits for ever: a GET whose CONNECT failed is sent again, and the server answers one CONNECT only",
	"TestTransportProxyGetConnectHeader":     "waits for ever: a GET whose CONNECT failed is sent again, and the server answers one CONNECT only",
}

// netHTTPHangs names those that wait for ever, which are run on their own.
var netHTTPHangs = []string{
	"TestCancelRequestWhenSharingConnection/h1",
	"TestTransportAndServerSharedBodyRace/h1",
	"TestTransportProxyConnectHeader/h1",
	"TestTransportProxyGetConnectHeader/h1",
}
