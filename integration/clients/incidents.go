package clients

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// call asks once, and once more on the same connection, if the library can.
func call(t *testing.T, c Client, w *World) {
	rt := w.Respawn()
	calls := w.Adopt(rt)
	require.NoError(t, calls.Call(t.Context()))
	require.NoError(t, calls.Call(t.Context()))
	dials := 1
	if c.OneShot {
		dials = 2
	}
	assert.Equal(t, dials, w.Dials())
	w.End(rt)
}

// streamAcrossRecreate replaces the transport while an answer is read from it.
func streamAcrossRecreate(t *testing.T, c Client, w *World) {
	rt := w.Respawn()
	calls := w.Adopt(rt)
	if calls.Stream == nil {
		t.Skip("the library has no streams")
	}
	var whole []string
	require.NoError(t, calls.Stream(t.Context(), func(piece string) { whole = append(whole, piece) }))
	require.Greater(t, len(whole), 1, "pieces")

	var pieces []string
	require.NoError(t, calls.Stream(t.Context(), func(piece string) {
		if pieces = append(pieces, piece); len(pieces) > 1 {
			return
		}
		require.NoError(t, rt.Recreate(t.Context()))
		require.Equal(t, 1, rt.Health().Draining, "the stream is not on the retired transport")
		assert.NoError(t, calls.Call(t.Context()), "a call during the stream")
	}))
	assert.Equal(t, whole, pieces, "the pieces with a Recreate after the first")
	assert.EqualValues(t, 2, rt.Health().Generation)
	w.End(rt)
}

// deadDialer ends the tunnel under the dialer, so that every dial fails until somebody
// lays a new tunnel. Respawn must lose no call and, whatever the library's retries do,
// spend no more dials on the dead tunnel than one request without retries needs.
func deadDialer(t *testing.T, c Client, w *World) {
	bare := w.Adopt(w.Transport())
	require.NoError(t, bare.Call(t.Context()))
	w.KillTunnel()
	before := w.Dials()
	for range 3 {
		require.Error(t, bare.Call(t.Context()), "the fault is not real")
	}
	assert.Equal(t, 3*c.attempts(), w.Dials()-before, "dials for 3 calls without respawn")

	rt := w.Respawn(respawn.WithFactory(w.Factory))
	calls := w.Adopt(rt)
	require.NoError(t, calls.Call(t.Context()))
	w.KillTunnel()
	before = w.Dials()
	start := time.Now()
	for i := range 3 {
		require.NoError(t, calls.Call(t.Context()), "call %d", i)
	}
	assert.Less(t, time.Since(start), time.Second)
	live := 1
	if c.OneShot {
		live = 3
	}
	assert.LessOrEqual(t, w.Dials()-before, deadDials+live, "dials for 3 calls with respawn")
	assert.EqualValues(t, 2, rt.Health().Generation)
	w.End(rt)
}

// deadDials is how often one request dials in vain until respawn has a new transport: as
// often as trips an authority, once more where a tunnel's own error could come from
// anywhere and nobody watched the attempt, and once for the control.
const deadDials = 3 + 1 + 1

// blackHole loses the connections that exist, and nobody is told. Calls with a deadline
// follow each other. Without respawn all of them fail over HTTP/2, for a quarter of an
// hour; over HTTP/1 the one fails that had the connection, since net/http closes that.
func blackHole(t *testing.T, c Client, w *World) {
	const deadline, most = 2 * time.Second, 30
	lost := func(rt http.RoundTripper) (n int) {
		calls := w.Adopt(rt)
		require.NoError(t, calls.Call(t.Context()))
		w.Host.BlackHoleConnections()
		for range most {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			if calls.Call(ctx) != nil {
				n++
			}
			cancel()
		}
		return n
	}
	switch bare := lost(w.Transport()); {
	case c.OneShot:
		require.Zero(t, bare, "lost without respawn")
	case c.ClosesIdle:
		require.NotZero(t, bare, "lost without respawn") // once the call's stream is away
	case c.Plain:
		require.Equal(t, 1, bare, "lost without respawn")
	default:
		require.Equal(t, most, bare, "lost without respawn")
	}
	w.Host.Reset()

	rt := w.Respawn()
	n := lost(rt)
	t.Logf("%d calls lost with respawn", n)
	assert.LessOrEqual(t, n, stalls+1, "lost with respawn")
	if !c.Plain && !c.ClosesIdle && !c.OneShot {
		assert.EqualValues(t, 2, rt.Health().Generation)
	}
	w.End(rt)
}

// stalls is how many silent requests trip an authority. Of requests that can be sent only
// once, one more asks the transport in service: it is the control.
const stalls = 3

// upstreamDown refuses every connection for as long as ten calls take. A fresh transport
// does not help, and what respawn adds must not grow with the library's retries: the
// attempts that trip the authority, once, and at the backoff's pace a candidate, with a
// dial for its trial and one for the control.
func upstreamDown(t *testing.T, c Client, w *World) {
	down := func(rt http.RoundTripper) (dials int, took time.Duration) {
		calls := w.Adopt(rt)
		require.NoError(t, calls.Call(t.Context()))
		w.Host.Refuse()
		w.Host.Reset()
		synctest.Wait()
		before, start := w.Dials(), time.Now()
		for range 10 {
			require.Error(t, calls.Call(t.Context()))
		}
		dials, took = w.Dials()-before, time.Since(start)
		w.Host.Heal()
		require.NoError(t, calls.Call(t.Context()), "after the incident")
		return dials, took
	}
	bare, _ := down(w.Transport())
	assert.Equal(t, 10*c.attempts(), bare, "dials without respawn")
	w.Host.Reset()

	rt := w.Respawn()
	dials, took := down(rt)
	trials := rt.Health().Rejections
	t.Logf("%d dials without respawn, %d with it, of which %d are trials", bare, dials, trials)
	assert.LessOrEqual(t, trials, mostTrials(took))
	assert.LessOrEqual(t, dials-bare, deadDials-1+2*trials, "dials that respawn adds")
	assert.EqualValues(t, 1, rt.Health().Generation, "a swap does not help")
	w.End(rt)
}

// mostTrials is how many trials the default backoff allows while an outage lasts: if each
// interval is as short as its jitter can make it.
func mostTrials(outage time.Duration) int {
	n := 1
	for interval := 500 * time.Millisecond; outage >= interval/2; n++ {
		outage -= interval / 2
		interval = min(interval*3/2, 30*time.Second)
	}
	return n
}

// idleElsewhere asks an upstream that is down, while a connection to another host is idle.
func idleElsewhere(t *testing.T, c Client, w *World) {
	base := w.Transport()
	base.IdleConnTimeout = 0
	other := w.Network.Serve("other.test:80", Hello)
	rt := w.respawnAbove(base)
	require.NoError(t, Get(&http.Client{Transport: rt}, "http://other.test").Call(t.Context()))
	require.Equal(t, 1, other.Connections())
	calls := w.Adopt(rt)
	w.Host.Refuse()
	require.Error(t, calls.Call(t.Context()))
	synctest.Wait()
	assert.Equal(t, c.ClosesIdle, other.Connections() == 0, "ClosesIdle")
	w.End(rt)
}

// closed asks a client that has been closed: respawn's error reaches the caller, after
// as many attempts as the library makes of any other.
func closed(t *testing.T, c Client, w *World) {
	rt := w.Respawn()
	counted := &counter{RoundTripper: rt}
	calls := w.Adopt(counted)
	require.NoError(t, calls.Call(t.Context()))
	w.End(rt)
	counted.n.Store(0)
	err := calls.Call(t.Context())
	require.Error(t, err)
	if c.HidesErrors {
		assert.NotErrorIs(t, err, respawn.ErrClosed, "HidesErrors is not true")
	} else {
		assert.ErrorIs(t, err, respawn.ErrClosed)
	}
	assert.EqualValues(t, c.attempts(), counted.n.Load(), "attempts")
}
