package respawn

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/respawnhttp/respawn/internal/build"
)

// A generation is one transport in service with the requests in flight on it.
// A request is in flight until its response body is closed or has been read to
// its end, where net/http too is done with the connection.
type generation struct {
	transport http.RoundTripper
	erring    interface{ Err() error } // the transport, if it can say that it has ended
	number    uint64                   // from 1; 0 while it is a candidate; written before it is published
	born      time.Time

	// The count of requests in flight is striped: one cache line shared by all
	// cores costs more than the rest of the healthy path. There are so many that
	// requests which run at once seldom share one.
	stripes [1 << stripeBits]stripe
	drained sync.Once
	onDrain func() // written before the stripes are closed

	cut    context.Context // ends at the drain limit; nil without WithDrainTimeout
	cutNow context.CancelFunc
}

// A stripe is a share of the count. Each request leaves by the stripe that it
// entered by, so no share is ever negative, and the sign is free to say that the
// generation is retired: what a request adds and what it must know are one
// atomic step. (A RoundTrip that panics on the healthy path never leaves, and
// keeps its generation draining: a defer there would cost every request more.)
type stripe struct {
	n   atomic.Int64 // + closedStripe once retired
	gen *generation
	_   [48]byte // a cache line each
}

const (
	stripeBits   = 6
	closedStripe = math.MinInt64
)

func newGeneration(transport http.RoundTripper, drainTimeout time.Duration) *generation {
	g := &generation{transport: transport, born: time.Now()}
	for i := range g.stripes {
		g.stripes[i].gen = g
	}
	g.erring, _ = transport.(interface{ Err() error })
	if drainTimeout > 0 {
		g.cut, g.cutNow = context.WithCancel(context.Background())
	}
	return g
}

// hasEnded reports whether the transport itself says that it is of no more
// use, as [http.ClientConn] does.
func (g *generation) hasEnded() bool { return g.erring != nil && g.erring.Err() != nil }

// fit is why a candidate cannot be put in service, or nil.
func (g *generation) fit() error {
	if g.hasEnded() {
		return build.ErrEnded
	}
	return nil
}

// enter counts a request in. It returns nil once the generation is retired. The
// request's address picks the stripe: requests under way at once have different
// ones, and Fibonacci hashing keeps neighbours apart. It is only read as a number,
// so that unsafe is safe here; package reflect costs 2 ns more for it.
func (g *generation) enter(req *http.Request) *stripe {
	hash := uint64(uintptr(unsafe.Pointer(req))) * 0x9E3779B97F4A7C15 // 2^64 / golden ratio
	s := &g.stripes[hash>>(64-stripeBits)]
	if s.n.Add(1) < 0 {
		s.leave()
		return nil
	}
	return s
}

// leave counts a request out; the last one of a retired generation closes up.
func (s *stripe) leave() {
	if s.n.Add(-1) < 0 {
		s.gen.closeIfDrained()
	}
}

func (g *generation) inFlight() int64 {
	var n int64
	for i := range g.stripes {
		n += g.stripes[i].n.Load() &^ closedStripe
	}
	return n
}

// closeIfDrained closes up if no request is left. Nobody can come in by a closed
// stripe, so one that was seen empty stays empty; who leaves last, or was turned
// away last, looks last.
func (g *generation) closeIfDrained() {
	for i := range g.stripes {
		if g.stripes[i].n.Load() != closedStripe {
			return
		}
	}
	g.drained.Do(g.onDrain)
}

// sweeps are the times after the drain at which idle connections are closed
// again: HTTP/2 marks a connection idle only after the last body's end was
// seen, and a dial that lost its caller pools its connection when it is done.
var sweeps = [...]time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second}

// retire lets no new request in, waits for those in flight without blocking,
// and then closes the transport. drained is called when the last one has left,
// gone when nothing is left to do.
// It must be called once, after another generation has been published.
func (g *generation) retire(drainTimeout time.Duration, drained, gone func()) {
	var limit *time.Timer
	if drainTimeout > 0 {
		limit = time.AfterFunc(drainTimeout, g.cutNow)
	}
	g.drain(func() {
		if limit != nil {
			limit.Stop()
			g.cutNow()
		}
		drained()
		g.sweep(0, gone)
	})
	// What is idle can go at once, if it is net/http's: http3 takes a
	// connection for idle whose headers have come, and would cut its body.
	if t, ok := g.transport.(*http.Transport); ok {
		closeIdle(t)
	}
}

// drain lets no new request in and calls then, once, when the last one in
// flight has left.
func (g *generation) drain(then func()) {
	g.onDrain = then
	for i := range g.stripes {
		g.stripes[i].n.Add(closedStripe)
	}
	g.closeIfDrained()
}

func (g *generation) sweep(i int, gone func()) {
	g.closeIdle()
	closer, closes := g.transport.(io.Closer)
	switch {
	case i > 0 && closes:
		_ = closer.Close() // nobody is left to tell
		gone()
	case i == len(sweeps):
		gone()
	default:
		time.AfterFunc(sweeps[i], func() { g.sweep(i+1, gone) })
	}
}

func (g *generation) closeIdle() { closeIdle(g.transport) }

// closeIdle leaves http.DefaultTransport alone when it is base: its pool
// belongs to the whole process.
func closeIdle(rt http.RoundTripper) {
	if build.SameInstance(rt, http.DefaultTransport) {
		return
	}
	if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// track hooks the response body to count the request out. after runs then,
// too; it may be nil, and must bear to run twice. http.NoBody is handed on as
// the very value it is, and a nil body from a RoundTripper that breaks its
// contract stays nil.
func (s *stripe) track(resp *http.Response, after func()) *http.Response {
	if resp == nil || resp.Body == nil || resp.Body == http.NoBody {
		s.leave()
		if after != nil {
			after()
		}
		return resp
	}
	// An upgraded connection (101) can be written to.
	if w, ok := resp.Body.(io.Writer); ok {
		s.trackDuplex(resp, w, after)
		return resp
	}
	if after != nil {
		resp.Body = &heldBody{ReadCloser: resp.Body, release: after}
	}
	resp.Body = &countedBody{ReadCloser: resp.Body, stripe: s}
	return resp
}

// A countedBody is what a response costs on the healthy path: one allocation of 32
// bytes.
type countedBody struct {
	io.ReadCloser
	stripe *stripe
	left   atomic.Bool
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.leave()
	}
	return n, err
}

func (b *countedBody) Close() error {
	err := b.ReadCloser.Close()
	b.leave()
	return err
}

// leave looks before it swaps: Close mostly follows the end, and a load costs
// next to nothing.
func (b *countedBody) leave() {
	if !b.left.Load() && !b.left.Swap(true) {
		b.stripe.leave()
	}
}

// A heldBody keeps what WithDrainTimeout needs for as long as it is read.
type heldBody struct {
	io.ReadCloser
	release func()
}

func (h *heldBody) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if err == io.EOF {
		h.release()
	}
	return n, err
}

func (h *heldBody) Close() error {
	defer h.release()
	return h.ReadCloser.Close()
}

// trackDuplex is track for an upgraded connection: it is in flight until Close,
// whatever a Read says, and keeps its other half.
func (s *stripe) trackDuplex(resp *http.Response, w io.Writer, after func()) {
	d := &duplexBody{countedBody: countedBody{ReadCloser: resp.Body, stripe: s}, Writer: w}
	resp.Body = d
	if cw, ok := w.(interface{ CloseWrite() error }); ok {
		resp.Body = &halfCloseBody{duplexBody: d, closeWriter: cw}
	}
	if s.gen.cut == nil {
		return
	}
	// Nothing else would end it: its request's context no longer does.
	stop := context.AfterFunc(s.gen.cut, func() { _ = d.countedBody.Close(); after() })
	d.release = func() { stop(); after() }
}

type duplexBody struct {
	countedBody
	io.Writer
	release func() // nil without WithDrainTimeout
}

func (d *duplexBody) Read(p []byte) (int, error) { return d.ReadCloser.Read(p) }

func (d *duplexBody) Close() error {
	if d.release != nil {
		defer d.release()
	}
	return d.countedBody.Close()
}

type halfCloseBody struct {
	*duplexBody
	closeWriter interface{ CloseWrite() error }
}

func (h *halfCloseBody) CloseWrite() error { return h.closeWriter.CloseWrite() }

var errDrainLimit = errors.New("respawn: cut off, the transport was retired and its WithDrainTimeout has passed")

// severable derives the request that WithDrainTimeout can cut. The returned
// function must be called when the request is over.
func (g *generation) severable(req *http.Request) (*http.Request, func()) {
	ctx, cancel := context.WithCancelCause(req.Context())
	stop := context.AfterFunc(g.cut, func() { cancel(errDrainLimit) })
	return req.WithContext(ctx), func() {
		stop()
		cancel(context.Canceled)
	}
}

// retire lets g finish what is in flight, and closes it.
func (rt *RecoveringRoundTripper) retire(g *generation) {
	rt.mu.Lock()
	rt.retired[g] = time.Now()
	rt.mu.Unlock()
	g.retire(rt.cfg.DrainTimeout, func() { rt.drained(g) }, func() {
		rt.mu.Lock()
		delete(rt.retired, g)
		rt.mu.Unlock()
	})
}

// inService reports whether a factory's product is not fresh: it would be closed
// under somebody else's feet.
func (rt *RecoveringRoundTripper) inService(product http.RoundTripper) bool {
	if build.SameInstance(product, rt) || build.SameInstance(product, rt.cfg.Fallback) {
		return true
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if g := rt.current.Load(); g != nil && build.SameInstance(product, g.transport) {
		return true
	}
	if r := rt.running; r != nil && r.candidate != nil && build.SameInstance(product, r.candidate.transport) {
		return true // a late product of a call that hung
	}
	for g := range rt.retired {
		if build.SameInstance(product, g.transport) {
			return true
		}
	}
	return false
}
