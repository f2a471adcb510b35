// Package build makes fresh transports: it calls factories safely, and clones
// net/http's transports. Its caller says which transports are in service.
package build

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// A Builder calls a factory, and copes with whatever the factory does. It is safe for
// concurrent use; its fields are read-only.
type Builder struct {
	Factory func(context.Context) (http.RoundTripper, error)
	Limit   time.Duration // of one call

	// InService reports whether a product is not fresh, or wraps a transport that is not.
	// Discard closes a product that came too late or has ended already.
	InService func(product http.RoundTripper) bool
	Discard   func(product http.RoundTripper)

	calls atomic.Int32 // calls that have not returned
}

// maxStuck bounds the goroutines that a factory which ignores its context can
// hold.
const maxStuck = 8

// Build calls the factory under its time limit, and returns a transport that can be put
// in service.
func (b *Builder) Build(ctx context.Context) (http.RoundTripper, error) {
	if b.calls.Add(1) > maxStuck {
		b.calls.Add(-1)
		return nil, errStuck
	}
	ctx, cancel := context.WithTimeoutCause(ctx, b.Limit, errTimeout)
	defer cancel()
	made := make(chan http.RoundTripper)
	err := ErrExited // written before made is closed
	go func() {
		defer b.calls.Add(-1)
		defer close(made)
		var fresh http.RoundTripper // ours, and not handed on yet
		defer func() {
			if fresh != nil {
				b.Discard(fresh)
			}
		}()
		product, fault := callFactory(ctx, b.Factory)
		if fault == nil {
			fault = b.inspect(product)
		}
		if err = fault; err != nil {
			return // not ours: nothing to close
		}
		fresh, err = product, ErrExited // should the product's Err end this goroutine
		if ended(product) {
			err = errEnded
			return
		}
		select {
		case made <- product:
			fresh = nil
		case <-ctx.Done():
		}
	}()
	select {
	case product, ok := <-made:
		if !ok {
			return nil, err
		}
		return product, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func callFactory(ctx context.Context, f func(context.Context) (http.RoundTripper, error)) (product http.RoundTripper, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, stackTrace()}
		}
	}()
	return f(ctx)
}

// inspect refuses products that somebody else uses, since respawn would close them.
// That goes for the transports that a product wraps, too.
func (b *Builder) inspect(product http.RoundTripper) error {
	switch {
	case IsNil(product):
		return errNil
	case Shares(product, http.DefaultTransport):
		return errShared
	case b.InService(product):
		return errReused
	}
	return nil
}

// ended reports whether the product itself says that it has ended.
func ended(product http.RoundTripper) bool {
	e, ok := product.(interface{ Err() error })
	return ok && SaysEnded(e)
}

// SaysEnded asks a transport whether it has ended, by the Err method that
// [http.ClientConn] has. A transport that panics has not said so.
func SaysEnded(t interface{ Err() error }) (ended bool) {
	defer func() { _ = recover() }()
	return t.Err() != nil
}
