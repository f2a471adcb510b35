// Package generation manages one transport: it counts the requests in flight on it, and
// retires it.
package generation

import (
	"context"
	"errors"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/evidence"
)

// A Generation is one transport in service with the requests in flight on it.
// A request is in flight until its response body is closed, has failed, or has been
// read to its end, where net/http too is done with the connection.
type Generation struct {
	Transport http.RoundTripper
	Pool      evidence.Pool            // the innermost one that the transport shows
	erring    interface{ Err() error } // the transport, if it can say that it has ended
	ID        uint64                   // of the transport; the core's word for it
	Number    uint64                   // from 1; 0 while it is a candidate; written before it is published
	Born      time.Time

	// The count of requests in flight is striped: one cache line shared by all
	// cores costs more than the rest of the healthy path. There are so many that
	// requests which run at once seldom share one.
	stripes [1 << stripeBits]Stripe
	drained sync.Once
	onDrain func() // this, heir and quiet are written before the stripes are closed
	heir    Heir   // hears of the generation's end
	quiet   bool   // nothing was in flight when it was retired

	protocol atomic.Int64 // of its latest answer that was noted

	empty  atomic.Bool   // retired, and nothing is in flight any more
	shut   atomic.Bool   // the transport is being closed, or was
	closed chan struct{} // closed when it was

	cut    context.Context // ends at the drain limit; nil without WithDrainTimeout
	cutNow context.CancelFunc
}

// A Stripe is a share of the count. Each request leaves by the stripe that it
// entered by, so no share is ever negative, and the sign is free to say that the
// generation is retired: what a request adds and what it must know are one
// atomic step.
type Stripe struct {
	n   atomic.Int64 // + closedStripe once retired
	gen *Generation
	_   [48]byte // a cache line each
}

const (
	stripeBits   = 6
	closedStripe = math.MinInt64
)

// New returns a candidate for service; a drainTimeout that is not 0 makes its
// requests severable.
func New(transport http.RoundTripper, drainTimeout time.Duration) *Generation {
	g := &Generation{Transport: transport, Born: time.Now(), closed: make(chan struct{})}
	for i := range g.stripes {
		g.stripes[i].gen = g
	}
	build.Safely(func() {
		inner, _ := build.Outermost[*http.Transport](transport)
		g.Pool = evidence.PoolOf(inner)
	})
	g.erring, _ = transport.(interface{ Err() error })
	if drainTimeout > 0 {
		g.cut, g.cutNow = context.WithCancel(context.Background())
	}
	return g
}

// Ended reports whether the transport itself says that it has ended, as an
// [http.ClientConn] can.
func (g *Generation) Ended() bool { return g.erring != nil && build.SaysEnded(g.erring) }

// Enter counts a request in. It returns nil once the generation is retired. The
// request's address picks the stripe: requests under way at once have different
// ones, and Fibonacci hashing keeps neighbors apart. It is only read as a number,
// so that unsafe is safe here; package reflect costs 2 ns more for it.
func (g *Generation) Enter(req *http.Request) *Stripe {
	return g.EnterBy(uint64(uintptr(unsafe.Pointer(req))))
}

// EnterBy is Enter with a key of the caller's own, which should differ between requests
// that are under way at once.
func (g *Generation) EnterBy(key uint64) *Stripe {
	s := &g.stripes[key*0x9E3779B97F4A7C15>>(64-stripeBits)] // 2^64 / golden ratio
	if s.n.Add(1) < 0 {
		s.Leave()
		return nil
	}
	return s
}

// Leave counts a request out; the last one of a retired generation closes up.
func (s *Stripe) Leave() {
	if s.n.Add(-1) < 0 {
		s.gen.closeIfDrained()
	}
}

var errGone = errors.New("the transport did not return")

// RoundTrip sends a request that was counted in by s. It is counted out here unless
// there is a response: also where the transport panics or ends the goroutine.
func (g *Generation) RoundTrip(req *http.Request, s *Stripe) (resp *http.Response, err error) {
	err = errGone // if it does not return
	defer func() {
		if err != nil {
			s.Leave()
		}
	}()
	return g.Transport.RoundTrip(req)
}

// InFlight returns how many requests are in flight.
func (g *Generation) InFlight() int64 {
	var n int64
	for i := range g.stripes {
		n += g.stripes[i].n.Load() &^ closedStripe
	}
	return n
}

// closeIfDrained closes up if no request is left. Nobody can come in by a closed
// stripe, so one that was seen empty stays empty. The request that leaves last, or is
// turned away last, looks last.
func (g *Generation) closeIfDrained() {
	for i := range g.stripes {
		if g.stripes[i].n.Load() != closedStripe {
			return
		}
	}
	g.drained.Do(g.onDrain)
}
