package respawn_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/names"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// What respawn is for, in four stories. The rules one by one are in test/.

// start makes the client under test and closes it at the end.
func start(t *testing.T, base http.RoundTripper, p *testkit.Probe, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	if p != nil {
		logger = p.Logger()
		opts = append(opts, respawn.WithTracerProvider(p.TracerProvider()), respawn.WithMeterProvider(p.MeterProvider()))
	}
	ownNames := func(c *config.Config) error { c.Names = new(names.Registry); return nil }
	rt, err := respawn.New(base, append(opts, respawn.WithLogger(logger), ownNames)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rt.Close()) })
	return rt
}

// A transport that is dead for good is replaced by one that is well, and the
// request that met it first is answered.
func TestDeadForGoodThenWell(t *testing.T) {
	for _, tt := range []struct {
		name, trigger string
		err           error
		method        string
		body          func() io.Reader
	}{
		{"GET, dial error", "connection_refused", testkit.Refused(), http.MethodGet, nil},
		{"GET, closed error", "connection_closed", net.ErrClosed, http.MethodGet, nil},
		{"POST with GetBody", "connection_refused", testkit.Refused(), http.MethodPost, func() io.Reader { return strings.NewReader("hello") }},
		{"POST with a one-shot body", "connection_refused", testkit.Refused(), http.MethodPost,
			func() io.Reader { return io.MultiReader(strings.NewReader("hello")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testkit.NewProbe(t)
				base, fresh := testkit.Dead(tt.err), &testkit.Stub{}
				f := testkit.Builds(func() http.RoundTripper { return fresh })
				rt := start(t, base, p, respawn.WithFactory(f.Make))

				var body io.Reader
				if tt.body != nil {
					body = tt.body()
				}
				resp, err := rt.RoundTrip(testkit.Request(t.Context(), tt.method, "http://a.test/", body))
				require.NoError(t, err)
				sent, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())

				assert.Equal(t, 200, resp.StatusCode)
				if body != nil {
					assert.Equal(t, "hello", string(sent), "the whole body arrived")
				}
				synctest.Wait()
				assert.EqualValues(t, 4, base.Calls.Load(), "three failures, and the control")
				assert.EqualValues(t, 1, fresh.Calls.Load(), "the trial")
				assert.EqualValues(t, 1, f.Calls.Load())
				assert.Equal(t, map[string]int{tt.trigger + " promoted": 1}, p.Outcomes())
				assert.Empty(t, rt.Health().Streaks, "the table is empty when all is well")
			})
		})
	}
}

// A literal port of the LiteLLM fix to goroutines makes up to 1,000 sessions
// here and leaks 999.
func TestOneStormOneRecreation(t *testing.T) {
	for _, takes := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 2 * time.Second} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				a := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					time.Sleep(time.Millisecond)
					_, _ = io.WriteString(w, "well")
				}))
				tunnel := &testnet.Dialer{Network: n}
				tunnel.End(errors.New("session shutdown")) // as yamux says it
				base := n.HTTP1()
				base.DialContext = tunnel.DialContext
				f := testkit.Builds(func() http.RoundTripper { time.Sleep(takes); return n.HTTP1() })
				p := testkit.NewProbe(t)
				rt := start(t, base, p, respawn.WithFactory(f.Make))

				var wg sync.WaitGroup
				var failed atomic.Int64
				for range 1000 {
					wg.Go(func() {
						if status, err := testkit.Get(t.Context(), rt, "http://a.test/"); err != nil || status != 200 {
							failed.Add(1)
						}
					})
				}
				wg.Wait()
				synctest.Wait()
				assert.Zero(t, failed.Load(), "failed GETs")
				assert.EqualValues(t, 1, f.Calls.Load(), "factory calls")
				assert.Equal(t, map[string]int{"dial_error promoted": 1}, p.Outcomes())
				assert.EqualValues(t, 2, rt.Health().Generation)
				assert.Zero(t, rt.Health().InFlight)
				rt.CloseIdleConnections()
				require.NoError(t, rt.Close())
				time.Sleep(10 * time.Second) // the sweeps
				assert.Zero(t, a.Open(), "connections left")
			})
		})
	}
}

// While the upstream is down and the transport is fine, trials cost the upstream a
// dial now and then, and others nothing.
func TestUpstreamDownTransportFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
		a, b := n.Serve("a.test:80", ok), n.Serve("b.test:80", ok)
		p := testkit.NewProbe(t)
		var builds []time.Duration
		begin := time.Now()
		rt := start(t, n.HTTP1(), p,
			respawn.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(7 * time.Second) }),
			respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
				builds = append(builds, time.Since(begin))
				return n.HTTP1(), nil
			}))

		_, err := testkit.Get(t.Context(), rt, "http://b.test/")
		require.NoError(t, err)
		a.Refuse()
		costs := map[int]int{} // dials per request to A
		for range 600 {
			before := a.Dials()
			_, err := testkit.Get(t.Context(), rt, "http://a.test/")
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			costs[a.Dials()-before]++
			status, err := testkit.Get(t.Context(), rt, "http://b.test/")
			require.NoError(t, err)
			require.Equal(t, 200, status)
			time.Sleep(100 * time.Millisecond)
		}

		synctest.Wait()
		assert.Equal(t, []time.Duration{
			0, 7 * time.Second, 14 * time.Second, 21 * time.Second, 28 * time.Second,
			35 * time.Second, 42 * time.Second, 49 * time.Second, 56 * time.Second,
		}, builds, "builds follow the backoff")
		assert.Equal(t, map[int]int{
			5: 1,   // the first: three failures, the control and the trial
			3: 8,   // one in service, the control and the trial
			1: 591, // the steady state
		}, costs)
		assert.EqualValues(t, 1, rt.Health().Generation, "not one swap")
		assert.Equal(t, map[string]int{"connection_refused rejected": 9}, p.Outcomes())
		assert.Equal(t, 1, b.Dials(), "B's connection is the one from before")

		a.Heal()
		status, err := testkit.Get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err, "the first request after A is back")
		assert.Equal(t, 200, status)
		assert.EqualValues(t, 1, rt.Health().Generation, "an answer ends the outage with no swap")
		assert.Empty(t, rt.Health().Streaks)
		synctest.Wait()
		assert.Len(t, p.Logged("recovered"), 1)
	})
}

// A transport that reports that it has ended is replaced before a request is
// lost on it.
func TestToldByTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := &testkit.SessionStub{}
		f := testkit.Builds(func() http.RoundTripper { time.Sleep(time.Millisecond); return &testkit.SessionStub{} })
		rt := start(t, base, p, respawn.WithFactory(f.Make))
		_, err := testkit.Get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		base.End(errors.New("connection closed"))

		// Not even POSTs that could never be replayed are lost, and they do not
		// wait for one another's recreation.
		var wg sync.WaitGroup
		begin := time.Now()
		for range 50 {
			wg.Go(func() {
				once := io.MultiReader(strings.NewReader("once"))
				status, err := testkit.Do(rt, testkit.Request(t.Context(), http.MethodPost, "http://a.test/", once))
				assert.NoError(t, err)
				assert.Equal(t, 200, status)
			})
		}
		wg.Wait()
		synctest.Wait()
		assert.Equal(t, time.Millisecond, time.Since(begin), "the factory's time, once")
		assert.EqualValues(t, 1, base.Calls.Load(), "no request reached the ended transport")
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.Equal(t, map[string]int{"transport_ended promoted": 1}, p.Outcomes())
		assert.Len(t, p.Warnings(), 1, "the trip and its outcome are one event")
	})
}
