package testkit

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// RoundTripperFunc is a RoundTripper made of a function.
type RoundTripperFunc func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f RoundTripperFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A Stub is a RoundTripper that keeps the contract of http.RoundTripper: it
// answers as Answer does, or fails with the error that was set, having closed
// the request's body. The zero Stub answers at once.
type Stub struct {
	// Delay is how long the stub waits before it answers or fails. It is set
	// before the first request.
	Delay time.Duration
	// Calls, IdleCloses and Closes count RoundTrip, CloseIdleConnections and Close.
	Calls, IdleCloses, Closes atomic.Int64

	err atomic.Pointer[error]
}

// Dead returns a Stub that fails every request with err.
func Dead(err error) *Stub {
	s := &Stub{}
	s.Fail(err)
	return s
}

// Fail makes the stub fail every later request with err. A nil err makes it
// answer again.
func (s *Stub) Fail(err error) {
	if err == nil {
		s.err.Store(nil)
		return
	}
	s.err.Store(&err)
}

// RoundTrip answers or fails, after the delay. A request whose context or
// Cancel channel ends during the delay fails with what net/http would return.
func (s *Stub) RoundTrip(req *http.Request) (*http.Response, error) {
	s.Calls.Add(1)
	if s.Delay > 0 {
		select {
		case <-time.After(s.Delay):
		case <-req.Context().Done():
			CloseBody(req)
			return nil, context.Cause(req.Context())
		case <-legacyCancel(req):
			CloseBody(req)
			return nil, errors.New("net/http: request canceled")
		}
	}
	if err := s.err.Load(); err != nil {
		CloseBody(req)
		return nil, *err
	}
	return Answer(req)
}

// CloseIdleConnections counts the call.
func (s *Stub) CloseIdleConnections() { s.IdleCloses.Add(1) }

// Close counts the call.
func (s *Stub) Close() error {
	s.Closes.Add(1)
	return nil
}

// legacyCancel returns the request's Cancel channel, which http.Client still
// sets for every transport that is not net/http's own.
func legacyCancel(req *http.Request) <-chan struct{} {
	//lint:ignore SA1019 a RoundTripper has to honor it as long as net/http sets it
	return req.Cancel
}

// A SessionStub is a Stub that can say that it has ended for good, as
// http.ClientConn does. The zero SessionStub is alive.
type SessionStub struct {
	Stub
	ended atomic.Pointer[error]
}

// Err returns what the session ended with, or nil while it is alive.
func (s *SessionStub) Err() error {
	if err := s.ended.Load(); err != nil {
		return *err
	}
	return nil
}

// End ends the session: Err and every later request return err.
func (s *SessionStub) End(err error) {
	s.ended.Store(&err)
	s.Fail(err)
}

// Answer returns a 200 whose body is the request's. It reads and closes the
// request's body, whose error it returns.
func Answer(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			CloseBody(req)
			return nil, err
		}
		CloseBody(req)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(sent))), Request: req,
	}, nil
}
