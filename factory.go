package respawn

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// A Factory builds a fresh transport, down to its dialer, tunnel or
// certificates. It is called by one goroutine at a time per recreation, never
// under a lock, and gets a context that carries the recreation's span and ends
// when the factory returns or after [WithRecreateTimeout]: the transport must
// not depend on it.
//
// A factory that fails, hangs, panics or returns nil costs nothing but the
// attempt: the current transport stays. It must return a new transport every
// time; one that is already in service, or [http.DefaultTransport], is
// refused. A returned transport belongs to respawn, which retires it with
// CloseIdleConnections and, if it has one, Close.
type Factory func(ctx context.Context) (http.RoundTripper, error)

var (
	errFactoryTimeout = newKindError("factory_timeout", "the factory took longer than WithRecreateTimeout allows")
	errFactoryStuck   = newKindError("factory_stuck", "earlier calls of the factory have not returned: make it heed its context")
	errFactoryExited  = newKindError("factory_exited", "the factory ended its goroutine (runtime.Goexit)")
	errFactoryNil     = newKindError("factory_nil", "the factory returned a nil transport and no error")
	errFactoryReused  = newKindError("factory_reused", "the factory returned a transport that is in service already: return a new one each time")
	errFactoryShared  = newKindError("factory_shared", "the factory returned http.DefaultTransport, which belongs to the whole process: return a clone of it")
	errFactoryEnded   = newKindError("factory_ended", "the factory returned a transport that has ended already")
)

// A panicError is a panic of the factory.
type panicError struct {
	value any
	stack string // never with a value in it
}

func (e *panicError) Error() string     { return fmt.Sprintf("the factory panicked: %v", e.value) }
func (e *panicError) ErrorType() string { return "factory_panic" }

// maxStuck bounds the goroutines that a factory which ignores its context can
// hold.
const maxStuck = 8

// produce calls the factory under its time limit. A product that comes too
// late is closed.
func (rt *RecoveringRoundTripper) produce(ctx context.Context) (*generation, error) {
	if rt.producing.Add(1) > maxStuck {
		rt.producing.Add(-1)
		return nil, errFactoryStuck
	}
	ctx, cancel := context.WithTimeoutCause(ctx, rt.cfg.RecreateTimeout, errFactoryTimeout)
	defer cancel()
	made := make(chan *generation)
	err := errFactoryExited // written before made is closed
	go func() {
		defer rt.producing.Add(-1)
		defer close(made)
		var product http.RoundTripper
		if product, err = callFactory(ctx, rt.factory); err != nil {
			return
		}
		if err = rt.inspect(product); err != nil {
			return // not ours: nothing to close
		}
		g := newGeneration(product, rt.cfg.DrainTimeout)
		if err = g.fit(); err != nil {
			rt.retire(g)
			return
		}
		select {
		case made <- g:
		case <-ctx.Done():
			rt.retire(g)
		}
	}()
	select {
	case g, ok := <-made:
		if !ok {
			return nil, err
		}
		return g, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func callFactory(ctx context.Context, f Factory) (product http.RoundTripper, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, stackTrace()}
		}
	}()
	return f(ctx)
}

// stackTrace is where the caller is, from the inside out. Unlike debug.Stack it
// leaves out the arguments: those of a factory can be keys.
func stackTrace() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var trace strings.Builder
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		fmt.Fprintf(&trace, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
	}
	return trace.String()
}

// inspect refuses products that would be closed under somebody else's feet.
func (rt *RecoveringRoundTripper) inspect(product http.RoundTripper) error {
	switch {
	case isNil(product):
		return errFactoryNil
	case sameInstance(product, http.DefaultTransport):
		return errFactoryShared
	case sameInstance(product, rt), sameInstance(product, rt.cfg.Fallback), rt.inService(product):
		return errFactoryReused
	}
	return nil
}

func (rt *RecoveringRoundTripper) inService(product http.RoundTripper) bool {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if g := rt.current.Load(); g != nil && sameInstance(product, g.transport) {
		return true
	}
	if r := rt.running; r != nil && r.candidate != nil && sameInstance(product, r.candidate.transport) {
		return true // a late product of a call that hung
	}
	for g := range rt.retired {
		if sameInstance(product, g.transport) {
			return true
		}
	}
	return false
}

// newDefaultTransport has the pool of the session whose outage started this
// package (LiteLLM: 300 connections, 50 per host, keep-alive 120 s).
func newDefaultTransport() *http.Transport {
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

// cloneTransport is Clone without its two traps, both about HTTP/2.
func cloneTransport(t *http.Transport) *http.Transport {
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
