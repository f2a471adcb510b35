package test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// fourFail is an outage that ends with the fifth build, four seconds after the
// first.
func fourFail(t *testing.T, opts ...respawn.Option) (rt *respawn.RecoveringRoundTripper, f *testkit.Factory, p *testkit.Probe) {
	p = testkit.NewProbe(t)
	f = testkit.NewFactory(func(_ context.Context, n int64) (http.RoundTripper, error) {
		if n < 5 {
			return nil, errors.New("no route")
		}
		return &testkit.Stub{}, nil
	})
	opts = append(append(observed(p), opts...), respawn.WithFactory(f.Make), every(time.Second))
	return start(t, allDown(), opts...), f, p
}

func TestAllThatWaitForReadyAreAnsweredByThePromotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, f, p := fourFail(t, respawn.WithWaitForReady(30*time.Second))
		var wg sync.WaitGroup
		begin := time.Now()
		for range 100 {
			wg.Go(func() {
				status, err := get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
				assert.Equal(t, 200, status)
				assert.Equal(t, 4*time.Second, time.Since(begin))
			})
		}
		wg.Wait()
		synctest.Wait()
		assert.EqualValues(t, 5, f.Calls.Load())
		assert.Equal(t, map[string]int{"connection_refused rejected": 4, "connection_refused promoted": 1}, p.Outcomes())
		require.Len(t, p.Logged("recovered"), 1)
		assert.Equal(t, 4.0, p.Logged("recovered")[0].Attrs["respawn.outage.duration"])
	})
}

func TestAWaitForReadyEndsWithItsCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, _, _ := fourFail(t, respawn.WithWaitForReady(30*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := get(ctx, rt, "http://a.test/")
		require.Error(t, err)
		assert.Equal(t, 2500*time.Millisecond, time.Since(begin))
	})
}

func TestAWaitForReadyIsNoLongerThanItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, _, _ := fourFail(t, respawn.WithWaitForReady(1500*time.Millisecond))
		begin := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Equal(t, 1500*time.Millisecond, time.Since(begin))
	})
	synctest.Test(t, func(t *testing.T) { // nor where the policy has no pause
		f := testkit.NewFactory(func(context.Context, int64) (http.RoundTripper, error) {
			time.Sleep(time.Millisecond)
			return nil, testkit.Refused()
		})
		rt := start(t, allDown(), respawn.WithFactory(f.Make), respawn.WithThreshold(1), respawn.WithWaitForReady(time.Second),
			respawn.WithBackOff(func() backoff.BackOff { return &backoff.ZeroBackOff{} }))
		began := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Equal(t, time.Second+time.Millisecond, time.Since(began), "the first build, and the wait")
		assert.LessOrEqual(t, f.Calls.Load(), int64(3))
	})
	synctest.Test(t, func(t *testing.T) { // nor while a factory hangs that it has started
		f := testkit.NewFactory(func(ctx context.Context, n int64) (http.RoundTripper, error) {
			if n > 1 {
				<-ctx.Done()
			}
			return nil, errors.New("no route")
		})
		rt := start(t, allDown(), respawn.WithThreshold(1), every(time.Second), respawn.WithWaitForReady(2*time.Second), respawn.WithFactory(f.Make))
		began := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Equal(t, 2*time.Second, time.Since(began))
		assert.EqualValues(t, 2, f.Calls.Load())
	})
	synctest.Test(t, func(t *testing.T) { // nor the successor's of a transport that has ended
		base := &testkit.SessionStub{}
		base.End(testkit.Refused())
		f := testkit.NewFactory(func(ctx context.Context, n int64) (http.RoundTripper, error) {
			if n > 1 {
				<-ctx.Done()
			}
			return nil, errors.New("no route")
		})
		rt := start(t, base, every(time.Second), respawn.WithWaitForReady(2*time.Second), respawn.WithFactory(f.Make))
		began := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Equal(t, 2*time.Second, time.Since(began))
		assert.EqualValues(t, 2, f.Calls.Load())
	})
}

func TestWithoutWaitForReadyRequestsFailFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, _, _ := fourFail(t)
		begin := time.Now()
		for range 100 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
		}
		assert.Zero(t, time.Since(begin))
	})
}

func TestWhatMayNotBeSentAgainDoesNotWaitForReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, _, _ := fourFail(t, respawn.WithWaitForReady(30*time.Second), respawn.WithReplay(respawn.ReplayNever))
		begin := time.Now()
		for range 10 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
		}
		assert.Zero(t, time.Since(begin))
	})
}

// A trial costs no request what the transport in service would have served: who
// waits for ready asks that each second, whatever keeps a fresh one away.
func TestWhoWaitsForReadyAsksTheTransportInServiceEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := testkit.Dead(testkit.Refused())
		rt := start(t, base, every(time.Hour), respawn.WithWaitForReady(time.Hour),
			respawn.WithFactory(testkit.Fails(errors.New("no route")).Make))
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := get(t.Context(), rt, "http://a.test/")
			assert.NoError(t, err)
			assert.Equal(t, time.Minute, time.Since(begin))
		})
		time.Sleep(59*time.Second + 500*time.Millisecond)
		assert.EqualValues(t, 3+59, base.Calls.Load(), "the threshold, and one a second")
		base.Fail(nil)
		wg.Wait()
		assert.EqualValues(t, 1, rt.Health().Generation)
	})
}

// sending is one attempt, as transports see it.
type sending struct {
	at    time.Duration
	fresh bool
}

// A journal is what is sent, on transports that get no connection but for the
// mend-th that is built.
type journal struct {
	began time.Time
	mu    sync.Mutex
	all   []sending
}

func (j *journal) transport(fresh, works bool) http.RoundTripper {
	return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		j.mu.Lock()
		j.all = append(j.all, sending{time.Since(j.began), fresh})
		j.mu.Unlock()
		if works {
			return testkit.Answer(req)
		}
		return nil, testkit.Refused()
	})
}

func (j *journal) sent() []sending {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all
}

func journaled(t *testing.T, interval time.Duration, mend int64) (*respawn.RecoveringRoundTripper, *journal) {
	j := &journal{began: time.Now()}
	f := testkit.NewFactory(func(_ context.Context, n int64) (http.RoundTripper, error) { return j.transport(true, n == mend), nil })
	return start(t, j.transport(false, false), respawn.WithThreshold(3), every(interval),
		respawn.WithWaitForReady(10*time.Second), respawn.WithFactory(f.Make)), j
}

// rounds is what a lone request sends that waits for ready: to the transport in
// service once a second, and where a build is due, a control and a trial.
func rounds(seconds int, interval int) []sending {
	all := []sending{{}, {}, {}, {}, {fresh: true}} // the threshold, the control, the trial
	for s := 1; s <= seconds; s++ {
		at := time.Duration(s) * time.Second
		all = append(all, sending{at: at})
		if s%interval == 0 {
			all = append(all, sending{at: at}, sending{at: at, fresh: true})
		}
	}
	return all
}

// Who waits for ready makes rounds of attempts, a second apart, each as bounded as
// a request's that does not wait.
func TestWhoWaitsForReadyMakesRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // nobody else is there to make the trials
		rt, j := journaled(t, 2*time.Second, 4)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, rounds(6, 2), j.sent())
	})
	synctest.Test(t, func(t *testing.T) { // in vain
		rt, j := journaled(t, 4*time.Second, 0)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Equal(t, 10*time.Second, time.Since(j.began))
		assert.Equal(t, rounds(10, 4), j.sent())
	})
	synctest.Test(t, func(t *testing.T) { // another's trial gets through
		rt, j := journaled(t, 2*time.Second, 2)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, 2*time.Second, time.Since(j.began))
		n := map[sending]int{}
		for _, s := range j.sent() {
			n[s]++
		}
		assert.Equal(t, 10, n[sending{at: time.Second}], "each once a second")
		assert.LessOrEqual(t, n[sending{at: 2 * time.Second}], 2*10)
		assert.Equal(t, 10, n[sending{at: 2 * time.Second, fresh: true}], "the trial, and all others after it")
	})
	synctest.Test(t, func(t *testing.T) { // no interval, nothing else to pace them
		rt, j := journaled(t, 0, 0)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.Error(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, 10*time.Second, time.Since(j.began))
		n := map[time.Duration]int{}
		for _, s := range j.sent() {
			n[s.at]++
		}
		assert.Len(t, n, 11, "once a second, and at once")
		for at, n := range n {
			assert.LessOrEqual(t, n, 10*5, "%v", at)
		}
	})
}
