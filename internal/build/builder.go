// Package build makes fresh transports: it calls factories safely, and clones
// what net/http made. What is in service is its user's to know.
package build

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// A Builder calls a factory, whatever that does. It is safe for concurrent use;
// its fields are read-only.
type Builder struct {
	Factory func(context.Context) (http.RoundTripper, error)
	Limit   time.Duration // of one call

	// InService reports whether a product is not fresh. Discard ends one that
	// came too late, or has ended already.
	InService func(product http.RoundTripper) bool
	Discard   func(product http.RoundTripper)

	calls atomic.Int32 // that have not returned
}

// maxStuck bounds the goroutines that a factory which ignores its context can
// hold.
const maxStuck = 8

// Build calls the factory under its time limit, and returns what can be put in
// service.
func (b *Builder) Build(ctx context.Context) (http.RoundTripper, error) {
	if b.calls.Add(1) > maxStuck {
		b.calls.Add(-1)
		return nil, errStuck
	}
	ctx, cancel := context.WithTimeoutCause(ctx, b.Limit, errTimeout)
	defer cancel()
	made := make(chan http.RoundTripper)
	err := errExited // written before made is closed
	go func() {
		defer b.calls.Add(-1)
		defer close(made)
		var product http.RoundTripper
		if product, err = callFactory(ctx, b.Factory); err != nil {
			return
		}
		if err = b.inspect(product); err != nil {
			return // not ours: nothing to close
		}
		if ended(product) {
			err = ErrEnded
			b.Discard(product)
			return
		}
		select {
		case made <- product:
		case <-ctx.Done():
			b.Discard(product)
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

// inspect refuses products that would be closed under somebody else's feet.
func (b *Builder) inspect(product http.RoundTripper) error {
	switch {
	case IsNil(product):
		return errNil
	case SameInstance(product, http.DefaultTransport):
		return errShared
	case b.InService(product):
		return errReused
	}
	return nil
}

// ended reports whether the product itself says that it is of no use.
func ended(product http.RoundTripper) bool {
	e, ok := product.(interface{ Err() error })
	return ok && e.Err() != nil
}
