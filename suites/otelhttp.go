package main

// otelHTTP names the tests of otelhttp that tell respawn from a bare transport.
var otelHTTP = map[string]string{
	"TestTransportErrorStatus": "counts spans: nothing listens, and the recreation that is tried has a span beside the request's",
}
