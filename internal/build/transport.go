package build

import (
	"net"
	"net/http"
	"time"
)

// DefaultTransport has the pool of the session whose outage started this
// package (LiteLLM: 300 connections, 50 per host, keep-alive 120 s).
func DefaultTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          300,
		MaxIdleConnsPerHost:   50,
		IdleConnTimeout:       120 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// CloneTransport is Clone without its two traps, both about HTTP/2.
func CloneTransport(t *http.Transport) *http.Transport {
	clone := t.Clone() // first: it also completes t.TLSNextProto
	switch _, shared := clone.TLSNextProto["h2"]; {
	case shared:
		// x/net's http2.ConfigureTransports was here. Its entries lead to the
		// connection pool of t: the clone would dial, throw the connection
		// away and use the dead one. All of them go, since net/http enables
		// HTTP/2 by itself only where there is no map at all.
		clone.TLSNextProto = nil
		clone.ForceAttemptHTTP2 = true
	case clone.TLSNextProto == nil && t.TLSNextProto["h2"] != nil:
		// net/http enabled HTTP/2 on t by itself, which left a TLSClientConfig
		// that offers it; the clone would take that for a custom one, offer
		// HTTP/2 and not speak it (golang/go#79418).
		clone.ForceAttemptHTTP2 = true
	}
	return clone
}
