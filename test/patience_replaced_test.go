package test

import (
	"context"
	"errors"
	"fmt"
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

// Transports are replaced by age faster than an authority answers, and nobody knows yet
// how long its answers take. Whether the others' requests go to the same authority, to
// another one, or there are none: what may be in two places has its answer when it would
// have had it without respawn. Nobody has proved that what was replaced is dead.
func TestASlowAnswerOutlastsTheTransportsThatAreReplacedByPlan(t *testing.T) {
	const slow, patience = time.Minute, 5 * time.Second
	for _, others := range []string{"", "http://a.test/", "http://b.test/"} {
		for _, deadline := range []time.Duration{0, 90 * time.Second} {
			t.Run(fmt.Sprintf("%s/%v", others, deadline), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					transport := func() http.RoundTripper {
						quick, late := answersAfter(0), answersAfter(slow)
						return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
							if req.URL.Path == "/slow" {
								return late.RoundTrip(req)
							}
							return quick.RoundTrip(req)
						})
					}
					rt := start(t, transport(), patient(patience), respawn.WithMaxAge(20*time.Second), respawn.WithFactory(testkit.Builds(transport).Make))
					ctx, cancel := context.WithCancel(t.Context())
					if deadline > 0 {
						ctx, cancel = context.WithTimeout(t.Context(), deadline)
					}
					defer cancel()
					begin := time.Now()
					var wg sync.WaitGroup
					wg.Go(func() {
						_, err := get(ctx, rt, "http://a.test/slow")
						assert.NoError(t, err)
						assert.Equal(t, slow, time.Since(begin))
					})
					for range 2 * slow / time.Second {
						if others != "" {
							_, err := get(t.Context(), rt, others)
							require.NoError(t, err)
						}
						time.Sleep(time.Second)
					}
					wg.Wait()
					require.Greater(t, int(rt.Health().Generation), 2)
					assert.Zero(t, rt.Health().InFlight, "what it was in besides is called back")
					sweepsPass()
					assert.Zero(t, rt.Health().Draining)
					rested(t, rt)
				})
			})
		}
	}
}

// What may not be in two places would lose a slow answer by moving. Its deadline ends its
// wait.
func TestWhatMayNotBeInTwoPlacesWaitsForItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func() http.RoundTripper { return answersAfter(time.Minute) }
		rt := start(t, slow(), patient(5*time.Second), respawn.WithFactory(testkit.Builds(slow).Make))
		ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second)
		defer cancel()
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			req := request(ctx, http.MethodPost, "http://a.test/", nil)
			req.Header.Set("Idempotency-Key", "1")
			_, err := testkit.Do(rt, req)
			assert.NoError(t, err)
			assert.Equal(t, time.Minute, time.Since(begin))
		})
		time.Sleep(time.Second)
		require.NoError(t, rt.Recreate(t.Context()))
		wg.Wait()
		rested(t, rt)
	})
}

// Somebody ends what waits in two places, or both of them end it: nothing is left over,
// and its caller has the error of where it was sent last.
func TestWhatWaitsInTwoPlacesEndsOnce(t *testing.T) {
	const patience = 5 * time.Second
	errFresh := errors.New("fresh")
	for _, tt := range []struct {
		name  string
		fresh http.RoundTripper
		end   func(rt *respawn.RecoveringRoundTripper, cancel context.CancelFunc)
		want  error
		opts  []respawn.Option
	}{
		{"its caller leaves", staysSilent(nil), func(_ *respawn.RecoveringRoundTripper, cancel context.CancelFunc) { cancel() }, context.Canceled, nil},
		{"both fail", testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			time.Sleep(30 * time.Second)
			return nil, errFresh
		}), nil, errFresh, nil},
		{"drained", staysSilent(nil), func(_ *respawn.RecoveringRoundTripper, cancel context.CancelFunc) {
			time.Sleep(5 * time.Minute)
			cancel()
		}, context.Canceled, []respawn.Option{respawn.WithDrainTimeout(time.Minute)}},
		{"closed", staysSilent(nil), func(rt *respawn.RecoveringRoundTripper, cancel context.CancelFunc) {
			_ = rt.Close()
			time.Sleep(time.Minute)
			cancel()
		}, context.Canceled, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := append([]respawn.Option{patient(patience), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return tt.fresh }).Make)}, tt.opts...)
				rt := start(t, staysSilent(nil), opts...)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var wg sync.WaitGroup
				wg.Go(func() {
					_, err := get(ctx, rt, "http://a.test/")
					assert.ErrorIs(t, err, tt.want)
				})
				time.Sleep(time.Second)
				require.NoError(t, rt.Recreate(t.Context()))
				time.Sleep(5*patience - 11*time.Second + time.Millisecond)
				require.EqualValues(t, 2, rt.Health().InFlight)
				if tt.end != nil {
					tt.end(rt, cancel)
				}
				wg.Wait()
				rested(t, rt)
			})
		})
	}
}

// An answer comes where the request was left behind, while the request itself waits for
// the next candidate: its caller has it at once.
func TestAnAnswerFromBehindEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 28 * time.Second
		factory := testkit.NewFactory(func(ctx context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				return testkit.Dead(testkit.Refused()), nil
			}
			return hangs(ctx)
		})
		rt := start(t, answersAfter(slow), patient(5*time.Second), respawn.WithThreshold(1), respawn.WithFactory(factory.Make))
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := get(t.Context(), rt, "http://a.test/")
			assert.NoError(t, err)
			assert.Equal(t, slow, time.Since(begin))
		})
		time.Sleep(time.Second)
		require.NoError(t, rt.Recreate(t.Context()))
		time.Sleep(slow - time.Since(begin) - time.Second)
		require.EqualValues(t, 2, factory.Calls.Load(), "the next candidate is being built")
		wg.Wait()
		rested(t, rt)
	})
}

// What was left behind is out of the count at once where its call goes to the fallback,
// however long that takes.
func TestWhatWasLeftBehindIsOutBeforeTheFallbackAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuses := testkit.Builds(func() http.RoundTripper { return testkit.Dead(testkit.Refused()) })
		rt := start(t, staysSilent(nil), patient(5*time.Second), respawn.WithFactory(refuses.Make), respawn.WithFallback(answersAfter(10*time.Second)))
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := get(t.Context(), rt, "http://a.test/")
			assert.NoError(t, err)
			assert.Equal(t, 35*time.Second, time.Since(begin), "three silences, and the fallback")
		})
		time.Sleep(time.Second)
		require.NoError(t, rt.Recreate(t.Context()))
		time.Sleep(15 * time.Second)
		synctest.Wait()
		assert.Equal(t, 26*time.Second, time.Since(begin))
		assert.Zero(t, rt.Health().InFlight)
		wg.Wait()
	})
}

// However many transports are replaced meanwhile, a request that waits is in three places at
// most: in the first one, in service, and by a copy on the candidate. When transports are
// replaced is drawn at random, so a single incident may not need all three.
func TestWhoIsLeftBehindIsInThreePlacesAtMost(t *testing.T) {
	const slow, patience = 3 * time.Minute, 5 * time.Second
	transport := func() http.RoundTripper { return answersAfter(slow) }
	places := 0
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			rt := start(t, transport(), patient(patience), respawn.WithMaxAge(20*time.Second), respawn.WithFactory(testkit.Builds(transport).Make))
			begin := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
				assert.Equal(t, slow, time.Since(begin))
			})
			for range slow/time.Second - 1 {
				time.Sleep(time.Second)
				places = max(places, int(rt.Health().InFlight))
			}
			wg.Wait()
			require.Greater(t, int(rt.Health().Generation), 3)
			sweepsPass()
			rested(t, rt)
		})
	}
	assert.Equal(t, 3, places)
}
