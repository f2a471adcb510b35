package generation

import (
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/testkit"
)

// faults are what a method of the user's may do instead of returning.
var faults = map[string]func(){"panic": func() { panic("oops") }, "Goexit": runtime.Goexit}

// An heirs notes what it is told.
type heirs struct {
	mu sync.Mutex
	heirsTold
}

type heirsTold struct {
	drained, gone int
	broke         []string
}

// told is what h was told so far.
func (h *heirs) told() (told heirsTold) {
	h.note(func() { told = h.heirsTold })
	return told
}

func (h *heirs) note(what func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what()
}

func (h *heirs) Drained()            { h.note(func() { h.drained++ }) }
func (h *heirs) Gone()               { h.note(func() { h.gone++ }) }
func (h *heirs) Broke(method string) { h.note(func() { h.broke = append(h.broke, method) }) }

func TestATransportWithNothingInFlightIsClosedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stub, h := &testkit.Stub{}, &heirs{}
		g := New(stub, 0)
		g.Retire(0, h)
		synctest.Wait()
		assert.EqualValues(t, 1, stub.IdleCloses.Load())
		assert.EqualValues(t, 1, stub.Closes.Load())
		assert.Equal(t, heirsTold{drained: 1, gone: 1}, h.told())
		<-g.Closed()
		time.Sleep(time.Hour)
		assert.EqualValues(t, 1, stub.Closes.Load(), "once")
	})
}

// After a drain the transport may have to see its last request's end first.
func TestATransportThatHasDrainedIsClosedALittleLaterOrWhenThatHurries(t *testing.T) {
	for _, hurry := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			stub, h := &testkit.Stub{}, &heirs{}
			g := New(stub, 0)
			s := g.EnterBy(1)
			g.Retire(0, h)
			synctest.Wait()
			assert.False(t, g.Hurry(), "something is in flight")
			assert.Zero(t, h.told().drained)
			s.Leave()
			synctest.Wait()
			assert.EqualValues(t, 1, stub.IdleCloses.Load())
			assert.Zero(t, stub.Closes.Load())
			if hurry {
				assert.True(t, g.Hurry())
			} else {
				time.Sleep(sweeps[0])
			}
			synctest.Wait()
			assert.EqualValues(t, 1, stub.Closes.Load())
			time.Sleep(time.Hour)
			assert.EqualValues(t, 1, stub.Closes.Load())
			assert.Equal(t, heirsTold{drained: 1, gone: 1}, h.told())
		})
	}
}

// A bare hides all methods of a RoundTripper but its own; an owner has a Close of its
// own, and a sweeper a CloseIdleConnections. All three say what they wrap.
type bare struct{ rt http.RoundTripper }

func (b *bare) RoundTrip(req *http.Request) (*http.Response, error) { return b.rt.RoundTrip(req) }
func (b *bare) WrappedRoundTripper() http.RoundTripper              { return b.rt }

type owner struct {
	bare
	closes atomic.Int32
}

func (o *owner) Close() error { o.closes.Add(1); return nil }

type sweeper struct {
	bare
	idles atomic.Int32
}

func (s *sweeper) CloseIdleConnections() { s.idles.Add(1) }

func TestRetirementReachesThroughWrappers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retire := func(rt http.RoundTripper) {
			New(rt, 0).Retire(0, &heirs{})
			time.Sleep(time.Minute)
		}
		stub := &testkit.Stub{}
		retire(&bare{&bare{stub}})
		assert.EqualValues(t, 1, stub.IdleCloses.Load())
		assert.EqualValues(t, 1, stub.Closes.Load())

		stub = &testkit.Stub{}
		o := &owner{bare: bare{&bare{stub}}}
		retire(&bare{o})
		assert.EqualValues(t, 1, o.closes.Load(), "the outermost Close")
		assert.Zero(t, stub.Closes.Load(), "which is to close what it wraps")
		assert.EqualValues(t, 1+len(sweeps), stub.IdleCloses.Load(), "it may not: the sweeps go on")

		stub = &testkit.Stub{}
		s := &sweeper{bare: bare{stub}}
		retire(s)
		assert.NotZero(t, s.idles.Load())
		assert.Zero(t, stub.IdleCloses.Load())
		assert.EqualValues(t, 1, stub.Closes.Load())

		circle := &bare{}
		circle.rt = circle
		retire(circle) // it ends
	})
}

// http.DefaultTransport belongs to the whole process, whatever it is, and whoever
// wraps it.
func TestTheDefaultTransportIsNeverClosed(t *testing.T) {
	was, stub := http.DefaultTransport, &testkit.Stub{}
	http.DefaultTransport = stub
	defer func() { http.DefaultTransport = was }()
	synctest.Test(t, func(t *testing.T) {
		s := &sweeper{bare: bare{stub}}
		for _, rt := range []http.RoundTripper{stub, &bare{stub}, s} {
			New(rt, 0).Retire(0, &heirs{})
			time.Sleep(time.Minute)
		}
		assert.Zero(t, stub.IdleCloses.Load())
		assert.Zero(t, stub.Closes.Load())
		assert.Zero(t, s.idles.Load(), "it would close the same pool")
	})
}

// A broken transport does something else than return from what closes it.
type broken struct {
	testkit.Stub
	end func()
}

func (b *broken) CloseIdleConnections() { b.end() }
func (b *broken) Close() error          { b.end(); return nil }

func TestATransportThatBreaksWhenItIsClosedIsContained(t *testing.T) {
	for name, end := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, g := &heirs{}, New(&broken{end: end}, 0)
				g.Retire(0, h)
				<-g.Closed()
				synctest.Wait()
				told := h.told()
				slices.Sort(told.broke) // each is told of aside
				assert.Equal(t, heirsTold{drained: 1, gone: 1, broke: []string{"Close", "CloseIdleConnections"}}, told)
			})
		})
	}
}

// Whoever leaves last does not wait for the transport.
func TestATransportThatHangsWhenItIsClosedHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		g := New(&broken{end: func() { <-hang }}, 0)
		s := g.EnterBy(1)
		g.Retire(0, &heirs{})
		s.Leave()
		require.Zero(t, g.InFlight())
		close(hang)
		time.Sleep(time.Minute)
	})
}
