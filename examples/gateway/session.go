package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// errSessionClosed is what aiohttp says of a session that somebody has closed.
var errSessionClosed = errors.New("session is closed")

// A session is the transport that a long-lived client has under it: a pool of
// connections which run through a tunnel. It can die in two ways that no
// request brings back: it is closed, which it says itself, or its tunnel is
// gone, which shows only when it dials.
type session struct {
	pool   *http.Transport
	tunnel *tunnel
	closed atomic.Bool
}

// sessionConfig is what all sessions of one client have in common.
type sessionConfig struct {
	roots     *x509.CertPool // nil: the system's
	firstByte time.Duration  // how long an answer's headers may take; 0: as long as the caller waits
}

func newSession(cfg sessionConfig) *session {
	t := newTunnel()
	return &session{
		tunnel: t,
		pool: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           t.DialContext,
			TLSClientConfig:       &tls.Config{RootCAs: cfg.roots},
			ForceAttemptHTTP2:     true, // a DialContext of one's own turns it off
			MaxIdleConns:          300,
			MaxIdleConnsPerHost:   50,
			IdleConnTimeout:       120 * time.Second,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: cfg.firstByte,
			// Pings find a dead connection too, only later: 15 s after
			// its last frame.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
		},
	}
}

// RoundTrip implements [http.RoundTripper].
func (s *session) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.closed.Load() {
		if req.Body != nil {
			_ = req.Body.Close() // RoundTrip must, on errors too
		}
		return nil, errSessionClosed
	}
	return s.pool.RoundTrip(req)
}

// Err returns why the session is of no more use, and nil as long as it is of
// some. respawn asks before each request, so none is lost on a closed session.
func (s *session) Err() error {
	if s.closed.Load() {
		return errSessionClosed
	}
	return nil
}

// CloseIdleConnections is what respawn retires a session with first.
func (s *session) CloseIdleConnections() { s.pool.CloseIdleConnections() }

// Close ends the session with its tunnel and its connections. respawn calls it
// when the last request on a retired session is done.
func (s *session) Close() error {
	s.closed.Store(true)
	s.pool.CloseIdleConnections()
	s.tunnel.shutdown()
	return nil
}

// sessions builds sessions and remembers the latest, which is the one that is
// in service or about to be: faults need to know whom to hit.
type sessions struct {
	cfg    sessionConfig
	latest atomic.Pointer[session]
}

func (s *sessions) next() *session {
	fresh := newSession(s.cfg)
	s.latest.Store(fresh)
	return fresh
}

// build is the [respawn.Factory]. It rebuilds everything down to the tunnel: a
// clone of the pool would keep the dead dialer.
func (s *sessions) build(context.Context) (http.RoundTripper, error) { return s.next(), nil }
