package test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A transport is replaced for one authority, by hand or by age, and requests to others
// go on waiting on it. Where they are silent there for three patiences, what can be sent
// again moves: nobody else would ever notice that they wait on a transport that is dead.
func TestWhoIsSilentOnAReplacedTransportMoves(t *testing.T) {
	const patience = 5 * time.Second
	for _, tt := range []struct {
		name   string
		method string
		key    bool // has an Idempotency-Key
		moves  bool
		opts   []respawn.Option
	}{
		{"a GET", http.MethodGet, false, true, nil},
		{"a POST with a key", http.MethodPost, true, true, nil},
		{"a POST", http.MethodPost, false, false, nil},
		{"ReplayUnsent", http.MethodGet, false, false, []respawn.Option{respawn.WithReplay(respawn.ReplayUnsent)}},
		{"stalls off", http.MethodGet, false, false, []respawn.Option{respawn.WithStallThreshold(0, 0)}},
		{"patience off", http.MethodGet, false, false, []respawn.Option{respawn.WithPatience(0)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := start(t, staysSilent(nil), append([]respawn.Option{patient(patience), respawn.WithFactory(stubs().Make)}, tt.opts...)...)
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(time.Hour, cancel).Stop()
				begin := time.Now()
				var wg sync.WaitGroup
				req := request(ctx, tt.method, "http://a.test/", nil)
				if tt.key {
					req.Header.Set("Idempotency-Key", "1")
				}
				wg.Go(func() {
					_, err := testkit.Do(rt, req)
					if tt.moves {
						assert.NoError(t, err)
						assert.Equal(t, 5*patience, time.Since(begin), "two of them before the swap")
						return
					}
					assert.ErrorIs(t, err, context.Canceled)
				})
				time.Sleep(time.Second)
				require.NoError(t, rt.Recreate(t.Context()))
				require.Equal(t, 11*time.Second, time.Since(begin), "nobody has proved it")
				wg.Wait()
				rested(t, rt)
			})
		})
	}
}

// An answer that is slow on a replaced transport is waited for, where it is known how
// long answers take.
func TestASlowAnswerOnAReplacedTransportIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, answersAfter(time.Minute), patient(5*time.Second), respawn.WithFactory(stubs().Make))
		_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", nil))
		require.NoError(t, err) // two minutes are known now
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := testkit.Do(rt, request(t.Context(), http.MethodGet, "http://a.test/", nil))
			assert.NoError(t, err)
			assert.Equal(t, time.Minute, time.Since(begin))
		})
		synctest.Wait()
		require.NoError(t, rt.Recreate(t.Context()))
		wg.Wait()
	})
}
