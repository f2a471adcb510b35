package test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/goleak"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// A program that ends after Close has closed its transport, and the ones before it.
func TestWithNothingInFlightTheTransportIsClosedWhenCloseReturns(t *testing.T) {
	overDraws(t, 30, func(t *testing.T, d draw) {
		made := []*testkit.Stub{{}}
		rt := start(t, made[0], append(d.options(), respawn.WithFactory(testkit.Builds(func() http.RoundTripper {
			made = append(made, &testkit.Stub{})
			return made[len(made)-1]
		}).Make))...)
		var open []io.Closer
		for range d.IntN(5) {
			for range 1 + d.IntN(3) {
				resp, err := rt.RoundTrip(request(t.Context(), oneOf(d, "GET", "POST"), "http://a.test/", nil))
				require.NoError(t, err)
				open = append(open, resp.Body)
			}
			swapInFlight(t, rt, "http://a.test/")
			time.Sleep(d.between(0, time.Minute))
		}
		d.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
		for _, o := range open {
			require.NoError(t, o.Close()) // each but the last transport waits for its second sweep
			time.Sleep(d.between(0, 50*time.Millisecond))
		}
		begin := time.Now()
		if d.chance(0.5) {
			require.NoError(t, rt.Shutdown(t.Context()))
		} else {
			require.NoError(t, rt.Close())
		}
		assert.Zero(t, time.Since(begin))
		for i, stub := range made {
			assert.EqualValues(t, 1, stub.Closes.Load(), "transport %d of %d", i+1, len(made))
		}
		sweepsPass()
		for i, stub := range made {
			assert.EqualValues(t, 1, stub.Closes.Load(), "once: transport %d of %d", i+1, len(made))
		}
	})
}

func TestCloseDoesNotWaitForWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.Stub{}
		rt := start(t, base, respawn.WithFactory(stubs().Make))
		resp, err := rt.RoundTrip(request(t.Context(), "GET", "http://a.test/", nil))
		require.NoError(t, err)
		begin := time.Now()
		require.NoError(t, rt.Close())
		assert.Zero(t, time.Since(begin))
		assert.Zero(t, base.Closes.Load())
		require.NoError(t, resp.Body.Close())
		sweepsPass()
		assert.EqualValues(t, 1, base.Closes.Load())
	})
}

// A hangingClose is a transport whose Close returns when it may.
type hangingClose struct {
	testkit.Stub
	hang chan struct{}
}

func (h *hangingClose) Close() error {
	<-h.hang
	return h.Stub.Close()
}

func TestATransportWhoseCloseHangsIsLeftBehindAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &hangingClose{hang: make(chan struct{})}
		rt := start(t, base, respawn.WithFactory(stubs().Make))
		begin := time.Now()
		require.NoError(t, rt.Close())
		assert.Equal(t, time.Second, time.Since(begin))
		require.NoError(t, rt.Close())
		assert.Equal(t, time.Second, time.Since(begin), "the second Close has nothing to wait for")
		close(base.hang)
		sweepsPass()
	})
}

// Shutdown waits for what is in flight on the transport in service and on those before
// it, and for the transports' own Close; or for the end of its context. It can be
// called as often as one likes, at the same time, and after Close.
func TestShutdownWaitsForDrainsAndForTheTransportsOwnClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, next := &testkit.Stub{}, &hangingClose{hang: make(chan struct{})}
		rt := start(t, base, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return next }).Make))
		older, err := rt.RoundTrip(request(t.Context(), "GET", "http://a.test/", nil))
		require.NoError(t, err)
		swapInFlight(t, rt, "http://a.test/")
		newer, err := rt.RoundTrip(request(t.Context(), "GET", "http://a.test/", nil))
		require.NoError(t, err)

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		assert.ErrorIs(t, rt.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(t, time.Minute, time.Since(begin))
		_, err = get(t.Context(), rt, "http://a.test/")
		assert.ErrorIs(t, err, respawn.ErrClosed, "it has closed the client all the same")
		_, err = io.ReadAll(newer.Body)
		assert.NoError(t, err, "and cut nothing")

		require.NoError(t, rt.Close())
		var returned atomic.Int32
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				assert.NoError(t, rt.Shutdown(t.Context()))
				returned.Add(1)
			})
		}
		time.Sleep(time.Minute)
		assert.Zero(t, returned.Load(), "the older transport drains, the newer one's Close hangs")
		require.NoError(t, older.Body.Close())
		time.Sleep(time.Minute)
		assert.EqualValues(t, 1, base.Closes.Load())
		assert.Zero(t, returned.Load(), "the newer one's Close hangs")
		close(next.hang)
		wg.Wait()
		assert.EqualValues(t, 1, next.Closes.Load())
		assert.NoError(t, rt.Shutdown(ctx), "nothing is left to wait for")
	})
}

func TestShutdownIsBoundedByTheDrainLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.Stub{}
		rt := start(t, base, respawn.WithFactory(stubs().Make), respawn.WithDrainTimeout(time.Minute))
		_, err := rt.RoundTrip(request(t.Context(), "GET", "http://a.test/", nil))
		require.NoError(t, err)
		begin := time.Now()
		require.NoError(t, rt.Shutdown(t.Context()))
		assert.InDelta(t, time.Minute, time.Since(begin), float64(time.Second))
		assert.EqualValues(t, 1, base.Closes.Load())
	})
}

// Shutdown leaves no connection and no goroutine of a transport without a Close.
func TestShutdownLeavesNothingOfARealTransport(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		defer verifyNone(t, goleak.IgnoreCurrent())
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }))
		server.EnableHTTP2 = h2
		server.StartTLS()
		rt := start(t, server.Client().Transport)
		for range 3 {
			_, err := get(t.Context(), rt, server.URL)
			require.NoError(t, err)
			require.NoError(t, rt.Recreate(t.Context()))
		}
		require.NoError(t, rt.Shutdown(t.Context()))
		server.Close()
	}
}

// releases is a product whose Close releases something of its own, and leaves the connections
// to CloseIdleConnections.
type releases struct{ *http.Transport }

func (releases) Close() error { return nil }

// HTTP/2 takes a connection for idle only a little after its last body was closed, so closing
// idle connections then misses it, and has to be done again though Close has been called since.
func TestShutdownLeavesNoConnectionOfABodyThatWasJustClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		host := n.ServeTLS("a.test:443", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/stream" {
				assert.NoError(t, http.NewResponseController(w).Flush())
				<-req.Context().Done()
			}
		}))
		rt := start(t, releases{n.HTTP2()}, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			return releases{n.HTTP2()}, nil
		}))
		resp, err := rt.RoundTrip(request(t.Context(), "GET", "https://a.test/stream", nil))
		require.NoError(t, err)
		swapInFlight(t, rt, "https://a.test/")
		require.NoError(t, resp.Body.Close())
		require.NoError(t, rt.Shutdown(t.Context()))
		sweepsPass()
		assert.Zero(t, host.Open())
	})
}

func TestTheZeroValueIsShutDown(t *testing.T) {
	var rt respawn.RecoveringRoundTripper
	rt.CloseIdleConnections()
	assert.NoError(t, rt.Shutdown(t.Context()))
	assert.NoError(t, rt.Close())
}

// Nothing that outlives a client keeps one in memory that its user has dropped: not
// the meter provider, not the timer of its max age, nor that of a drain. (A drain limit
// keeps what it is to cut, and that its client, until it has cut it.)
func TestDroppedClientsAreCollected(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("draw ", seed), func(t *testing.T) { dropped(t, draw{rand.New(rand.NewPCG(seed, 12))}) })
	}
}

// dropped makes clients of any options and with any use, and drops them.
func dropped(t *testing.T, d draw) {
	p := testkit.NewProbe(t)
	provider := &countingProvider{MeterProvider: p.MeterProvider()}
	clients := 100 + d.IntN(150)
	var collected atomic.Int32
	for range clients {
		drains := d.chance(0.05)
		opts := append(d.options(), respawn.WithMeterProvider(provider), respawn.WithLogger(p.Logger()),
			respawn.WithFactory(stubs().Make), respawn.WithRecreateTimeout(50*time.Millisecond))
		if d.chance(0.7) {
			opts = append(opts, respawn.WithMaxAge(d.between(time.Hour, 24*time.Hour)))
		}
		if !drains && d.chance(0.7) {
			opts = append(opts, respawn.WithDrainTimeout(d.between(time.Minute, time.Hour)))
		}
		if d.chance(0.3) {
			opts = append(opts, respawn.WithHostMetrics())
		}
		rt, err := respawn.New(&testkit.Stub{}, opts...)
		require.NoError(t, err)
		runtime.AddCleanup(rt, func(struct{}) { collected.Add(1) }, struct{}{})
		for range 1 + d.IntN(3) {
			_, err = testkit.Do(rt, request(t.Context(), oneOf(d, "GET", "POST"), "http://a.test/", nil))
			require.NoError(t, err)
		}
		if drains || d.chance(0.5) {
			_, err = rt.RoundTrip(request(t.Context(), "GET", "http://a.test/", nil)) // a body that is forgotten
			require.NoError(t, err)
		}
		if drains {
			require.NoError(t, rt.Recreate(t.Context()))
			require.Equal(t, 1, rt.Health().Draining)
		}
	}
	assert.EqualValues(t, clients, provider.made.Load())
	assert.Eventually(t, func() bool {
		runtime.GC()
		p.Metrics()
		return int(collected.Load()) == clients && provider.registered.Load() == 0
	}, 20*time.Second, 10*time.Millisecond)
	assert.EqualValues(t, clients, collected.Load())
	assert.Zero(t, provider.registered.Load(), "callbacks of theirs that the provider still has")
}

// A countingProvider counts the callbacks that are registered with it.
type countingProvider struct {
	metric.MeterProvider
	made, registered atomic.Int32 // ever, and now
}

func (p *countingProvider) Meter(name string, opts ...metric.MeterOption) metric.Meter {
	return &countingMeter{p.MeterProvider.Meter(name, opts...), p}
}

type countingMeter struct {
	metric.Meter
	provider *countingProvider
}

func (m *countingMeter) RegisterCallback(f metric.Callback, of ...metric.Observable) (metric.Registration, error) {
	r, err := m.Meter.RegisterCallback(f, of...)
	m.provider.made.Add(1)
	m.provider.registered.Add(1)
	return &countingRegistration{r, &m.provider.registered}, err
}

type countingRegistration struct {
	metric.Registration
	registered *atomic.Int32
}

func (r *countingRegistration) Unregister() error {
	r.registered.Add(-1)
	return r.Registration.Unregister()
}
