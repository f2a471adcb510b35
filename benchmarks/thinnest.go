package main

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// A thinnest is the least that can swap its transport without cutting anybody: a
// pointer to it, and a count of what is in flight on it, until the body's end. It
// recovers from nothing. It shows what the two counted steps alone cost here.
type thinnest struct{ current atomic.Pointer[counted] }

type counted struct {
	http.RoundTripper
	inFlight atomic.Int64
}

func newThinnest(base http.RoundTripper) http.RoundTripper {
	t := &thinnest{}
	t.current.Store(&counted{RoundTripper: base})
	return t
}

func (t *thinnest) RoundTrip(req *http.Request) (*http.Response, error) {
	c := t.current.Load()
	c.inFlight.Add(1)
	resp, err := c.RoundTripper.RoundTrip(req)
	if err != nil || resp.Body == http.NoBody {
		c.inFlight.Add(-1)
		return resp, err
	}
	resp.Body = &countedBody{ReadCloser: resp.Body, on: c}
	return resp, nil
}

func (t *thinnest) Close() error {
	closeTransport(t.current.Load().RoundTripper)
	return nil
}

type countedBody struct {
	io.ReadCloser
	on   *counted
	left atomic.Bool
}

func (b *countedBody) Close() error {
	err := b.ReadCloser.Close()
	if !b.left.Swap(true) {
		b.on.inFlight.Add(-1)
	}
	return err
}

// A plainWatch does what it takes to tell afterwards whether a request had a connection, the
// plain way: a copy of the request, since the caller's is not to be touched, under a context
// with two hooks. What the hooks see is thrown away.
type plainWatch struct{ base http.RoundTripper }

func newPlainWatch(base http.RoundTripper) http.RoundTripper { return plainWatch{base} }

func (t plainWatch) RoundTrip(req *http.Request) (*http.Response, error) {
	var asked, had atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { had.Store(true) },
	})
	return t.base.RoundTrip(req.WithContext(ctx))
}

func (t plainWatch) Close() error {
	closeTransport(t.base)
	return nil
}
