package test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A host that trips by silence has had no failure that was counted, and is named all the
// same, as is one whose recreation has not ended yet.
func TestHostMetricsNameAHostThatIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		hangs := func(ctx context.Context) (http.RoundTripper, error) { <-ctx.Done(); return nil, ctx.Err() }
		rt := start(t, staysSilent(nil), append(observed(p), respawn.WithFactory(hangs), respawn.WithHostMetrics(),
			respawn.WithRecreateTimeout(time.Hour))...)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _, _ = get(ctx, rt, "http://dead.test/") }()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, rt.Health().OpenOutages, 1)
		assert.Equal(t, map[string]int64{"": 0, " dead.test 80": 1}, points(p, "respawn.authority.tripped"))
		assert.Equal(t, map[string]int64{
			" promoted": 0, " rejected": 0, " promoted dead.test 80": 0, " rejected dead.test 80": 0,
		}, points(p, "respawn.transport.recreations"))
		assert.Equal(t, map[string]int64{"": 0, " dead.test 80": 0}, points(p, "respawn.request.replays"))
		stalls, begun := points(p, "respawn.transport.failures")[" stall dead.test 80"]
		assert.True(t, begun, "so that the first stall to come is an increase")
		assert.Zero(t, stalls)
	})
}

// A host begins with its first failure, which no increase shows. All that comes later
// does: of another kind, a replay, a recreation.
func TestAllCountsOfAHostBeginWithItsFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) { return unsent(req) })
		rt := start(t, base, append(observed(p), respawn.WithFactory(fails), respawn.WithHostMetrics(), respawn.WithReplay(respawn.ReplayNever))...)
		before := points(p, "respawn.transport.failures")
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		after := points(p, "respawn.transport.failures")
		assert.Len(t, after, 2*len(before))
		for trigger := range before {
			n, begun := after[trigger+" a.test 80"]
			assert.True(t, begun, trigger)
			want := int64(0)
			if trigger == " connection_refused" {
				want = 1
			}
			assert.Equal(t, want, n, trigger)
		}
		assert.Equal(t, map[string]int64{"": 0, " a.test 80": 0}, points(p, "respawn.request.replays"))
		assert.Equal(t, map[string]int64{
			" promoted": 0, " rejected": 0, " promoted a.test 80": 0, " rejected a.test 80": 0,
		}, points(p, "respawn.transport.recreations"))
	})
}

// What the hosts have in common that are not told apart begins at 0, and is 0 again once
// none of them is down: a series that ends says nothing.
func TestHostMetricsOfTheOthersBeginAndEndAtZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		var well atomic.Bool
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if well.Load() {
				return testkit.Answer(req)
			}
			return nil, io.ErrUnexpectedEOF
		})
		rt := start(t, base, append(observed(p), respawn.WithThreshold(1), respawn.WithReplay(respawn.ReplayNever), respawn.WithFactory(fails), respawn.WithHostMetrics())...)
		all := func() {
			for i := range 33 {
				_, _ = get(t.Context(), rt, fmt.Sprintf("http://h%d.test/", i))
			}
			synctest.Wait()
		}
		all()
		assert.EqualValues(t, 1, points(p, "respawn.authority.tripped")[" _OTHER"])
		recreations := points(p, "respawn.transport.recreations")
		for _, outcome := range []string{" promoted", " rejected"} {
			n, ok := recreations[outcome+" _OTHER"]
			assert.True(t, ok, outcome)
			assert.Zero(t, n)
		}
		well.Store(true)
		all()
		tripped := points(p, "respawn.authority.tripped")
		assert.Len(t, tripped, 32+2)
		for host, n := range tripped {
			assert.Zero(t, n, host)
		}
	})
}

// A scheme of the user's own, such as that of a socket, has no default port. Telemetry
// then has no port, and not the number 0, as semantic conventions want it.
func TestWhatHasNoPortIsToldWithoutOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		factory := func(context.Context) (http.RoundTripper, error) { return testkit.Dead(testkit.Refused()), nil }
		rt := start(t, testkit.Dead(testkit.Refused()), append(observed(p), respawn.WithFactory(factory), respawn.WithHostMetrics())...)
		_, err := get(t.Context(), rt, "http+unix://run.sock/")
		require.Error(t, err)
		synctest.Wait()
		assert.Contains(t, points(p, "respawn.authority.tripped"), " run.sock")
		require.Len(t, p.Recreations(), 1)
		span := p.Recreations()[0]
		require.Len(t, span.Events(), 1)
		told := []map[string]any{testkit.Attributes(span.Attributes()), testkit.Attributes(span.Events()[0].Attributes)}
		for _, log := range p.Logs(func(l testkit.LogRecord) bool { return l.Attrs["server.address"] != nil }) {
			told = append(told, log.Attrs)
		}
		require.Greater(t, len(told), 2)
		for _, attrs := range told {
			assert.Equal(t, "run.sock", attrs["server.address"])
			assert.NotContains(t, attrs, "server.port")
		}
	})
}

// Nor does a host that is down have to wait for a logger until it has its name.
func TestASilentHostHasItsNameThoughALoggerBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, staysSilent(nil), append(observed(p), patient(5*time.Second), respawn.WithHostMetrics(), respawn.WithFactory(fails),
			respawn.WithLogger(slog.New(&heldHandler{Handler: p.Logger().Handler()})))...)
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		go func() { _, _ = get(ctx, rt, "http://a.test/") }()
		time.Sleep(20 * time.Second)
		require.Len(t, rt.Health().OpenOutages, 1)
		assert.Equal(t, map[string]int64{"": 0, " a.test 80": 1}, points(p, "respawn.authority.tripped"))
		leave()
		time.Sleep(time.Minute)
	})
}
