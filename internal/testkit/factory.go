package testkit

import (
	"context"
	"net/http"
	"sync/atomic"
)

// A Factory counts the transports that it is asked for.
type Factory struct {
	// Calls counts the calls of Make.
	Calls atomic.Int64

	build func(ctx context.Context, call int64) (http.RoundTripper, error)
}

// NewFactory returns a Factory that builds with build, whose calls are
// numbered from 1.
func NewFactory(build func(ctx context.Context, call int64) (http.RoundTripper, error)) *Factory {
	return &Factory{build: build}
}

// Builds returns a Factory that always succeeds.
func Builds(build func() http.RoundTripper) *Factory {
	return NewFactory(func(context.Context, int64) (http.RoundTripper, error) { return build(), nil })
}

// Fails returns a Factory that always fails with err.
func Fails(err error) *Factory {
	return NewFactory(func(context.Context, int64) (http.RoundTripper, error) { return nil, err })
}

// Make builds the next transport. Its method value is a respawn.Factory.
func (f *Factory) Make(ctx context.Context) (http.RoundTripper, error) {
	return f.build(ctx, f.Calls.Add(1))
}
