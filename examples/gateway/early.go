package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// early lets next answer before it has read its request, as an upstream may:
// with a 401 to a long prompt, say.
//
// An HTTP/1 server reads what is left of a short request before it writes the
// answer's header, while the transport is still sending that to the upstream,
// which resets the stream. The other way that net/http has,
// EnableFullDuplex, is worse where anything is left: the server panics at the
// connection's next request ("invalid concurrent Body.Read call"), or closes
// the connection, which the caller learns from losing that request. An answer
// that ends its connection is neither waited for nor in anybody's way.
//
// A caller that waits for leave to send its body (Expect: 100-continue) has it
// at once. The server would give it at the body's first Read, but not after the
// answer's header: where that came first, the transport's Read would wait for
// the caller, who waits for the end of the answer, which waits for that Read.
func early(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.ProtoMajor != 1 || req.Body == http.NoBody {
			next.ServeHTTP(w, req) // HTTP/2 needs none of that
			return
		}
		if req.ProtoAtLeast(1, 1) && strings.EqualFold(req.Header.Get("Expect"), "100-continue") {
			w.WriteHeader(http.StatusContinue)
		}
		body := &inbound{ReadCloser: req.Body}
		// The server goes by the type of its own request's body.
		req = req.WithContext(context.WithValue(req.Context(), inboundKey{}, body))
		req.Body = body
		next.ServeHTTP(&earlyWriter{w, body}, req)
	})
}

// An inbound is a caller's request's body that knows whether it was read.
type inbound struct {
	io.ReadCloser
	read atomic.Bool // to its end
}

type inboundKey struct{}

func (b *inbound) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.read.Store(true)
	}
	return n, err
}

// maxDrain is what net/http itself reads of a request, at most.
const maxDrain = 256 << 10

// drainInbound reads what is left of a short request, so that its connection
// can be used again. Nobody else may be reading it.
func drainInbound(req *http.Request) {
	if body, ok := req.Context().Value(inboundKey{}).(*inbound); ok {
		_, _ = io.CopyN(io.Discard, body, maxDrain) // body knows how far that got
	}
}

type earlyWriter struct {
	http.ResponseWriter
	body *inbound
}

// WriteHeader must be called: all that write answers here do.
func (w *earlyWriter) WriteHeader(status int) {
	if status >= http.StatusOK && !w.body.read.Load() {
		w.Header().Set("Connection", "close")
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (w *earlyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
