package generation

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A request that was let in is never on a transport that is being closed.
func TestNobodyEntersARetiredGeneration(t *testing.T) {
	var closing atomic.Bool
	for range 200 {
		closing.Store(false)
		g := New(nil, 0)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					s := g.Enter(&http.Request{})
					if s == nil {
						return
					}
					if closing.Load() {
						t.Error("entered a generation that had drained")
					}
					s.Leave()
				}
			})
		}
		drained := make(chan struct{})
		g.drain(func() { closing.Store(true); close(drained) })
		<-drained
		wg.Wait()
		assert.Zero(t, g.InFlight())
	}
}

// Each request leaves by the stripe that it came by, so no share is ever
// negative, which is how a retired generation is known.
func TestNoShareIsNegative(t *testing.T) {
	g := New(nil, 0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if s := g.Enter(&http.Request{}); s != nil {
					s.Leave()
				}
			}
		})
	}
	g.drain(func() {})
	wg.Wait()
	for i := range g.stripes {
		assert.EqualValues(t, closedStripe, g.stripes[i].n.Load())
	}
	assert.Nil(t, g.Enter(&http.Request{}))
}
