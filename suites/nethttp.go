package main

// netHTTP names the tests of net/http that tell respawn from a bare transport.
// Each sends a GET that fails, which respawn sends again, or does what a
// wrapper cannot see.
var netHTTP = map[string]string{
	"TestCancelRequestWhenSharingConnection": "waits for ever: a GET whose connection was closed under it is sent again, and the server answers two requests only",
	"TestClientTimeout":                      "now and then (a pass-through wrapper fails it as often): looks for `Client.Timeout` in the error of a body that was cut, which http.Client adds reliably for an *http.Transport of its own only: with any other RoundTripper its timer races the deadline of the context; the error is a timeout either way",
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
