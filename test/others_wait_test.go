package test

import (
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// During an outage nobody's wait is doubled by what others try: only who is tried, or
// asked for the candidate, takes longer than its dial and a second.
func TestNobodysWaitIsDoubledInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const dialTimeout = 5 * time.Second
		timeout := &net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}
		var onCandidates atomic.Int64
		slow := func(asked *atomic.Int64) http.RoundTripper {
			return testkit.RoundTripperFunc(func(*http.Request) (*http.Response, error) {
				asked.Add(1)
				time.Sleep(dialTimeout)
				return nil, timeout
			})
		}
		f := testkit.Builds(func() http.RoundTripper { return slow(&onCandidates) })
		rt := start(t, slow(new(atomic.Int64)), respawn.WithFactory(f.Make), every(8*time.Second))
		_, err := get(t.Context(), rt, "http://a.test/") // trips, and the first trial is refused
		require.Same(t, timeout, err)

		var wg sync.WaitGroup
		var waits []time.Duration
		var mu sync.Mutex
		onCandidates.Store(0)
		built := f.Calls.Load()
		for range 200 {
			wg.Go(func() {
				begin := time.Now()
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.Same(t, timeout, err)
				mu.Lock()
				waits = append(waits, time.Since(begin))
				mu.Unlock()
			})
			time.Sleep(200 * time.Millisecond)
		}
		wg.Wait()
		trials := int(onCandidates.Load() + f.Calls.Load() - built)
		require.NotZero(t, trials)
		slices.Sort(waits)
		assert.LessOrEqual(t, waits[len(waits)-1-trials], dialTimeout+time.Second, "%d trials, %v", trials, waits)
		assert.LessOrEqual(t, waits[len(waits)-1], 2*dialTimeout+time.Second)
		t.Logf("%d trials, %v", trials, waits[150:])
	})
}
