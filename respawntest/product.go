package respawntest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/generation"
)

var errHangs = errors.New("the factory does not return")

// A product is the outcome of one call of the factory.
type product struct {
	label     string // of what the factory and the transport have started
	transport http.RoundTripper
	err       error
	panicked  bool
	late      bool               // it came after its context had ended
	deadline  time.Time          // of that context, if the factory looked at it
	end       context.CancelFunc // ends that context

	retired bool
	mu      sync.Mutex
	broke   string // the first of the transport's methods that panicked, or ended its goroutine
}

// callAsRespawn calls the factory under a context as respawn's: it has a deadline, and
// ends when the factory has returned.
func callAsRespawn(factory respawn.Factory) *product {
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	deadline, _ := ctx.Deadline()
	seen := &deadlineSeen{Context: ctx}
	p := callUnder(seen, cancel, factory)
	if seen.seen.Load() {
		p.deadline = deadline
	}
	return p
}

// callAsControl calls the factory under a context that ends only with the product's end,
// or when the factory has taken too long.
func callAsControl(factory respawn.Factory) *product {
	ctx, cancel := context.WithCancel(context.Background())
	defer time.AfterFunc(buildLimit, cancel).Stop()
	return callUnder(ctx, cancel, factory)
}

// A deadlineSeen context knows whether anybody has looked at its deadline.
type deadlineSeen struct {
	context.Context
	seen atomic.Bool
}

func (c *deadlineSeen) Deadline() (time.Time, bool) {
	c.seen.Store(true)
	return c.Context.Deadline()
}

// callUnder waits for the factory a little longer than its context allows.
func callUnder(ctx context.Context, cancel context.CancelFunc, factory respawn.Factory) *product {
	p := &product{label: newLabel(), err: build.ErrExited, end: cancel}
	done := make(chan struct{})
	go labeled(ctx, p.label, func(ctx context.Context) {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				p.err, p.panicked = fmt.Errorf("the factory panicked: %v", v), true
			}
		}()
		p.transport, p.err = factory(ctx)
	})
	select {
	case <-done:
		return p
	case <-ctx.Done():
	}
	select {
	case <-done:
		p.late = true
		return p
	case <-time.After(grace):
		return &product{err: errHangs, end: cancel}
	}
}

// ask sends a GET to each of the urls through the transport.
func (p *product) ask(urls []string) (answers, error) { return ask(p.label, p.transport, urls) }

// retire parts with the transport in respawn's own way, once, and reports whether that
// returned.
func (p *product) retire() bool {
	if p.retired {
		return true
	}
	p.retired = true
	p.end()
	time.Sleep(settle) // HTTP/2 takes a connection for idle only a moment after its last answer
	g := generation.New(p.transport, 0)
	// What Close starts is the transport's, too.
	go labeled(context.Background(), p.label, func(context.Context) { g.Retire(0, p) })
	select {
	case <-g.Closed():
		return true
	case <-time.After(grace):
		return false
	}
}

// Drained implements [generation.Heir].
func (p *product) Drained() {}

// Gone implements [generation.Heir].
func (p *product) Gone() {}

// Broke implements [generation.Heir].
func (p *product) Broke(method string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broke == "" {
		p.broke = method
	}
}

// broken returns the first method that broke; "" if none has.
func (p *product) broken() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broke
}
