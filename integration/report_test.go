package integration

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/internal/figures"
	"github.com/respawnhttp/respawn/respawntest"
)

// patience is how long a test waits for a condition that is sure to come. It is meant to end a
// broken test: no slow machine takes so long.
const patience = 20 * time.Second

// A report collects a test's figures. A test begins it before all else: its cleanup comes last
// then, when everything that the test has started should be gone.
type report struct {
	t *testing.T
	figures.Figures
	counts  []func() int64 // of the open connections
	clients int            // that are not closed yet
	said    map[kind]int   // failures that were logged
}

// begin starts the report of a scenario, which is named in the reader's words.
func begin(t *testing.T, scenario string) *report {
	r := &report{t: t, Figures: figures.Figures{Scenario: scenario}, said: map[kind]int{}}
	require.NoError(t, listen(t).Close()) // what the runtime opens for its first socket stays open
	goroutines, files := goleak.IgnoreCurrent(), openFiles(t)
	running := runtime.NumGoroutine()
	t.Cleanup(func() {
		var left error
		assert.Eventually(t, func() bool { left = goleak.Find(goroutines); return left == nil }, patience, 10*time.Millisecond,
			"goroutines are left over")
		if left != nil {
			r.Goroutines = max(1, runtime.NumGoroutine()-running)
		}
		var open []string
		if !assert.Eventually(t, func() bool { open = openFiles(t); return len(open) <= len(files) }, patience, 10*time.Millisecond) {
			t.Errorf("files are left over: %q; at first there were %q", open, files)
		}
		r.Files = max(0, len(open)-len(files))
		t.Log(r.Figures.String())
		assert.NoError(t, left)
		assert.NoError(t, r.Append())
	})
	return r
}

// noLeaks fails the test if it leaves goroutines behind. Call it before all else.
func noLeaks(t *testing.T) {
	t.Helper()
	atStart := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		var left error
		if !assert.Eventually(t, func() bool { left = goleak.Find(atStart); return left == nil }, patience, 10*time.Millisecond) {
			t.Error(left)
		}
	})
}

// start puts respawn on base. Its logs go to the test's, if it fails. When the
// test is over, the last client closed must leave no connection behind.
func (r *report) start(t *testing.T, base http.RoundTripper, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	rt, err := respawn.New(base, append([]respawn.Option{respawn.WithLogger(logger)}, opts...)...)
	require.NoError(t, err)
	r.clients++
	t.Cleanup(func() {
		assert.NoError(t, rt.Close())
		if r.clients--; r.clients > 0 {
			return
		}
		// Now, before servers and networks close what they have: that would
		// hide what the clients have left over.
		assert.Eventually(t, func() bool { r.Conns = r.open(); return r.Conns == 0 }, patience, time.Millisecond,
			"the clients are closed, but connections to the servers are open")
	})
	return rt
}

// connectionsTo lets the report look at a network's count of connections, too: no
// server learns that a client has closed one in the dark.
func (r *report) connectionsTo(h *respawntest.Host) {
	r.counts = append(r.counts, func() int64 { return int64(h.Connections()) })
}

// open is how many connections are open.
func (r *report) open() (n int64) {
	for _, count := range r.counts {
		n += count()
	}
	return n
}

// openFiles tells what this process has open, sockets among them.
func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		name, err := os.Readlink(filepath.Join("/dev/fd", e.Name()))
		if err != nil || strings.HasSuffix(name, "/fd") {
			continue // the directory that is being read
		}
		names = append(names, name)
	}
	return names
}

// keepsFailing shows that the fault is real: for the whole window not one GET
// gets through bare. Each has the deadline, and the next comes 10 ms later.
func (r *report) keepsFailing(c client, window time.Duration) {
	r.t.Helper()
	start := time.Now()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for time.Since(start) < window {
		if c.get() != nil {
			r.BareFailed++
		}
		r.BareSent++
		<-pause.C
	}
	r.BareWindow = time.Since(start)
	require.Equal(r.t, r.BareSent, r.BareFailed, "the bare transport recovers by itself: the fault is not real")
}

// takeBare fills in what a load on the bare transport has lost, for faults that
// end by themselves.
func (r *report) takeBare(loads ...*load) {
	for _, l := range loads {
		for _, o := range l.stop() {
			r.BareSent++
			if o.err != nil {
				r.BareFailed++
			}
		}
	}
}

// take fills in what the loads met and what respawn did about it.
func (r *report) take(curable time.Time, rt *respawn.RecoveringRoundTripper, loads ...*load) {
	r.t.Helper()
	for _, l := range loads {
		l.stop()
	}
	health := rt.Health()
	r.Built, r.Promoted = 1+health.Promotions+health.Rejections, health.Promotions
	for _, l := range loads {
		for _, o := range l.stop() {
			r.count(o, l.kind, curable)
		}
	}
	require.NotZero(r.t, r.Recovery, "no request that began after the fault was curable has succeeded")
}

func (r *report) count(o outcome, k kind, curable time.Time) {
	r.Sent++
	switch {
	case o.err == nil:
		if since := o.ended.Sub(curable); !o.began.Before(curable) && (r.Recovery == 0 || since < r.Recovery) {
			r.Recovery = since
		}
		return
	case errors.As(o.err, new(lateError)):
		r.Late++
	case errors.As(o.err, new(cutError)):
		r.Cut++
		return
	case !k.idempotent():
		r.Unsafe++
	}
	if !o.began.Before(curable) {
		r.FailedAfter++
	}
	r.Failed++
	if r.said[k]++; r.said[k] <= 3 {
		r.t.Logf("a %s failed %s after the fault was curable: %v", k, o.ended.Sub(curable), o.err)
	}
}

// withinStallRule asserts that an outage of stalls ended by respawn's default rule, which trips an
// authority by three stalls over at least a second. The first stall comes when one deadline has
// passed. The authority trips with the first stall that comes a second later or more, which takes at
// most one more deadline. The trial comes right then. This is told by how many deadlines passed, not
// by the clock: on a busy machine each takes longer.
func (r *report) withinStallRule(senders int, deadline time.Duration) {
	r.t.Helper()
	require.LessOrEqual(r.t, r.Failed, mostLate(senders, deadline), "each worker loses what it sends within the rule")
	require.GreaterOrEqual(r.t, r.Failed, 3, "fewer stalls than the rule asks for")
	require.Equal(r.t, r.Failed, r.Late, "a request failed before its deadline")
}

func stallRule(deadline time.Duration) time.Duration { return time.Second + 2*deadline }

// mostLate returns how many requests of that many senders can pass their deadlines in one black
// hole. It grants slack requests more to each sender, for a busy machine.
func mostLate(senders int, deadline time.Duration) int {
	return senders * (1 + int(stallRule(deadline)/deadline) + slack)
}
