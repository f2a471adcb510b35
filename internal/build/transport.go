package build

import (
	"net"
	"net/http"
	"time"
)

// How a transport of ours finds a connection that is dead.
const (
	// PingAfter and PingTimeout are client-go's: HTTP/2 asks after that much silence,
	// and gives up after that much more.
	PingAfter   = 30 * time.Second
	PingTimeout = 15 * time.Second
	// UserTimeout limits how long sent data may go without an acknowledgment, or the
	// peer's window may stay closed (TCP_USER_TIMEOUT, on Linux). It replaces the
	// number of keep-alive probes: if it were not longer than their idle time and
	// interval together, one lost probe would end a connection. It also cuts off a
	// peer that is alive but does not read, so it is much longer than that.
	UserTimeout = 60 * time.Second
)

// KeepAlive is how an idle connection is probed.
var KeepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// NewTransport has the pool of the session whose outage started this package
// (LiteLLM: 300 connections, 50 per host, keep-alive 120 s), and finds dead
// connections without anybody's deadline.
func NewTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAliveConfig: KeepAlive, Control: setUserTimeout}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          300,
		MaxIdleConnsPerHost:   50,
		IdleConnTimeout:       120 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: PingAfter, PingTimeout: PingTimeout},
	}
}
