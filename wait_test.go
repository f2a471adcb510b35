package respawn

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWaitForReady(t *testing.T) {
	outage := func(t *testing.T, opts ...Option) (rt *RecoveringRoundTripper, f *factory, p *probe) {
		p = newProbe(t)
		f = &factory{build: func(n int64, _ context.Context) (http.RoundTripper, error) {
			if n < 5 {
				return nil, errors.New("no route")
			}
			return &stub{}, nil
		}}
		opts = append(append(p.options(), opts...), WithFactory(f.make), every(time.Second))
		return start(t, dead(refused()), opts...), f, p
	}
	t.Run("holds and answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt, f, p := outage(t, WithWaitForReady(30*time.Second))
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
			assert.EqualValues(t, 5, f.calls.Load())
			assert.Equal(t, map[string]int{"connection_refused rejected": 4, "connection_refused promoted": 1}, p.outcomes())
			assert.Len(t, p.logged("recovered"), 1)
			assert.Equal(t, 4.0, p.logged("recovered")[0].attrs["respawn.outage.duration"])
		})
	})
	t.Run("within their own deadlines", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt, _, _ := outage(t, WithWaitForReady(30*time.Second))
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			begin := time.Now()
			_, err := get(ctx, rt, "http://a.test/")
			require.Error(t, err)
			assert.Equal(t, 2500*time.Millisecond, time.Since(begin))
		})
	})
	t.Run("no longer than it says", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt, _, _ := outage(t, WithWaitForReady(1500*time.Millisecond))
			begin := time.Now()
			_, err := get(t.Context(), rt, "http://a.test/")
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			assert.Equal(t, 1500*time.Millisecond, time.Since(begin))
		})
	})
	t.Run("without it requests fail fast", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt, _, _ := outage(t)
			begin := time.Now()
			for range 100 {
				_, err := get(t.Context(), rt, "http://a.test/")
				require.ErrorIs(t, err, syscall.ECONNREFUSED)
			}
			assert.Zero(t, time.Since(begin))
		})
	})
	t.Run("never for what cannot be replayed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt, _, _ := outage(t, WithWaitForReady(30*time.Second), WithReplay(ReplayNever))
			begin := time.Now()
			for range 10 {
				_, err := get(t.Context(), rt, "http://a.test/")
				require.Error(t, err)
			}
			assert.Zero(t, time.Since(begin))
		})
	})
	t.Run("ends when the current transport recovers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := dead(refused())
			rt := start(t, base, every(time.Hour), WithWaitForReady(time.Hour),
				WithFactory(func(context.Context) (http.RoundTripper, error) { return nil, errors.New("no route") }))
			begin := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
				assert.Equal(t, time.Minute, time.Since(begin))
			})
			time.Sleep(time.Minute)
			base.err.Store(nil)
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			wg.Wait()
			assert.EqualValues(t, 1, rt.Health().Generation)
		})
	})
}

// WithWaitForReady is a limit also where there is no window to wait out.
func TestWaitForReadyWithZeroBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{build: func(n int64, ctx context.Context) (http.RoundTripper, error) {
			time.Sleep(time.Millisecond)
			return nil, refused()
		}}
		rt := start(t, dead(refused()), WithFactory(f.make), WithThreshold(1), WithWaitForReady(time.Second),
			WithBackOff(func() backoff.BackOff { return &backoff.ZeroBackOff{} }))
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := get(ctx, rt, "http://a.test/")
		assert.Error(t, err)
		assert.LessOrEqual(t, time.Since(began), 2*time.Second)
	})
}

// A request that waits for ready has more, one a second at the most, or it would
// not wait for what it was told to: the one whose own failures trip the authority
// makes the first trial, too, and has none left.
func TestReplayAttemptsArePacedWhileWaiting(t *testing.T) {
	type sent struct {
		at    time.Duration
		fresh bool
	}
	world := func(t *testing.T, backOff Option, mend int) (rt *RecoveringRoundTripper, log func() []sent) {
		var mu sync.Mutex
		var all []sent
		began := time.Now()
		broken := func(fresh, works bool) rtFunc {
			return func(req *http.Request) (*http.Response, error) {
				mu.Lock()
				all = append(all, sent{time.Since(began), fresh})
				mu.Unlock()
				if works {
					return answer(req)
				}
				return unsent(req)
			}
		}
		f := &factory{build: func(n int64, _ context.Context) (http.RoundTripper, error) { return broken(true, int(n) == mend), nil }}
		return start(t, broken(false, false), WithThreshold(3), backOff, WithWaitForReady(10*time.Second), WithFactory(f.make)),
			func() []sent { mu.Lock(); defer mu.Unlock(); return all }
	}
	tripped := []sent{{0, false}, {0, false}, {0, false}, {0, true}}
	synctest.Test(t, func(t *testing.T) { // nobody else is there to make the trials
		rt, log := world(t, every(2*time.Second), 4)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, append(tripped, sent{2 * time.Second, true}, sent{4 * time.Second, true}, sent{6 * time.Second, true}), log())
	})
	synctest.Test(t, func(t *testing.T) { // in vain
		rt, log := world(t, every(4*time.Second), 0)
		began := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Equal(t, 10*time.Second, time.Since(began))
		assert.Equal(t, append(tripped, sent{4 * time.Second, true}, sent{8 * time.Second, true}), log())
	})
	synctest.Test(t, func(t *testing.T) { // another's trial gets through
		rt, log := world(t, every(2*time.Second), 2)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		for _, s := range log() {
			assert.True(t, s.at == 0 || s.at == 2*time.Second && s.fresh, "%+v", s)
		}
	})
	synctest.Test(t, func(t *testing.T) { // no window, nothing to pace them
		rt, log := world(t, every(0), 0)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.Error(t, err)
			})
		}
		wg.Wait()
		assert.LessOrEqual(t, len(log()), 10*(4+10))
	})
}

// A weather is what one transport can meet: in bad weather it gets no connection.
type weather struct {
	bad   atomic.Bool
	calls atomic.Int64
}

func badWeather() *weather {
	w := &weather{}
	w.bad.Store(true)
	return w
}

// transport counts the calls that it gets.
func (w *weather) transport() rtFunc {
	return func(req *http.Request) (*http.Response, error) {
		w.calls.Add(1)
		if w.bad.Load() {
			return unsent(req)
		}
		return answer(req)
	}
}

// outOfFiles says nothing about anybody but this machine.
func outOfFiles() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
}

// who marks a request, for RoundTrippers that treat one caller differently.
func who(name string) *http.Request {
	req := mustRequest(context.Background(), http.MethodGet, "http://a.test/", nil)
	req.Header.Set("Who", name)
	return req
}

// Impatient callers start recreations without end where the backoff has no pause:
// the one who waits does not try them all.
func TestWaitingIsNotTryingWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int64
		broken := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Who") == "patient" {
				tries.Add(1)
			}
			return unsent(req)
		})
		slow := builds(func() http.RoundTripper { time.Sleep(5 * time.Millisecond); return broken })
		rt := start(t, broken, WithThreshold(1), every(0), WithWaitForReady(2*time.Second), WithFactory(slow.make))
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
					defer cancel()
					_, _ = get(ctx, rt, "http://a.test/")
				})
				time.Sleep(500 * time.Microsecond)
			}
		})
		time.Sleep(20 * time.Millisecond)
		_, err := do(rt, who("patient"))
		assert.Error(t, err)
		assert.LessOrEqual(t, tries.Load(), int64(2+2), "threshold + 1, and one a second")
		stop()
		wg.Wait()
		time.Sleep(time.Second) // the last factory is at work
	})
}

// Nobody else is there to try a candidate that was handed back.
func TestWaiterRetriesItsOwnCandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		candidate := rtFunc(func(req *http.Request) (*http.Response, error) {
			if time.Since(began) < 1500*time.Millisecond {
				return nil, outOfFiles()
			}
			return answer(req)
		})
		rt := start(t, rtFunc(unsent), every(time.Minute), WithWaitForReady(30*time.Second),
			WithFactory(builds(func() http.RoundTripper { return candidate }).make))
		_, err := get(t.Context(), rt, "http://a.test/")
		assert.NoError(t, err)
		assert.Equal(t, 2*time.Second, time.Since(began))
	})
}

// A trial costs no request which the current transport could have served: who
// waits for ready asks that first, too.
func TestWaiterAsksTheCurrentTransport(t *testing.T) {
	for name, candidate := range map[string]rtFunc{
		"rejected":   unsent,
		"no verdict": func(*http.Request) (*http.Response, error) { return nil, outOfFiles() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := badWeather()
				rt := start(t, w.transport(), every(0), WithWaitForReady(time.Second),
					WithFactory(builds(func() http.RoundTripper { return candidate }).make))
				_, err := get(t.Context(), rt, "http://a.test/")
				require.Error(t, err)
				w.bad.Store(false)
				w.calls.Store(0)
				_, err = get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
				assert.EqualValues(t, 1, w.calls.Load())
			})
		})
	}
}

// It counts against WithWaitForReady what a factory takes that it has started.
func TestWaiterLeavesAHangingFactory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{build: func(n int64, ctx context.Context) (http.RoundTripper, error) {
			if n > 1 {
				<-ctx.Done()
			}
			return nil, errors.New("no route")
		}}
		rt := start(t, rtFunc(unsent), WithThreshold(1), every(time.Second), WithWaitForReady(2*time.Second), WithFactory(f.make))
		began := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Equal(t, 2*time.Second, time.Since(began))
	})
}

// The current transport recovers while another's trial is under way.
func TestWaiterHearsOfARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := badWeather()
		slow := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Who") == "patient" {
				return nil, outOfFiles()
			}
			time.Sleep(8 * time.Second)
			return unsent(req)
		})
		rt := start(t, w.transport(), WithThreshold(1), every(time.Second), WithWaitForReady(30*time.Second),
			WithFactory(builds(func() http.RoundTripper { return slow }).make))
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := do(rt, who("patient")) // its own trial says nothing
			assert.NoError(t, err)
			assert.LessOrEqual(t, time.Since(began), 3*time.Second)
		})
		time.Sleep(500 * time.Millisecond)
		wg.Go(func() { _, _ = do(rt, who("busy")) }) // holds the candidate
		time.Sleep(1500 * time.Millisecond)
		w.bad.Store(false)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		wg.Wait()
	})
	synctest.Test(t, func(t *testing.T) { // and the trial is another authority's
		a := badWeather()
		base := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "b.test" {
				return unsent(req)
			}
			return a.transport()(req)
		})
		f := &factory{build: func(n int64, _ context.Context) (http.RoundTripper, error) {
			return rtFunc(func(req *http.Request) (*http.Response, error) {
				if n > 1 {
					time.Sleep(8 * time.Second)
				}
				return unsent(req)
			}), nil
		}}
		rt := start(t, base, WithThreshold(1), every(time.Second), WithWaitForReady(30*time.Second), WithFactory(f.make))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := get(ctx, rt, "http://a.test/") // its first trial is rejected
		require.Error(t, err)
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(t.Context(), rt, "http://b.test/") })
		synctest.Wait()
		wg.Go(func() {
			began := time.Now()
			_, err := get(t.Context(), rt, "http://a.test/")
			assert.NoError(t, err)
			assert.Equal(t, time.Second, time.Since(began))
		})
		time.Sleep(time.Second)
		a.bad.Store(false)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		wg.Wait()
	})
}

// Who trips the authority by the last attempt it had waits like any other.
func TestWaiterThatTripsByItsLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rt *RecoveringRoundTripper
		sent := 0
		base := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Who") != "unlucky" {
				return answer(req)
			}
			if sent++; sent == 2 { // another's answer ends the streak
				_, err := do(rt, who("lucky"))
				assert.NoError(t, err)
			}
			return unsent(req)
		})
		rt = start(t, base, WithWaitForReady(30*time.Second), WithFactory(builds(func() http.RoundTripper { return &stub{} }).make))
		began := time.Now()
		_, err := do(rt, who("unlucky"))
		assert.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(began))
		assert.Equal(t, 4, sent)
	})
}

// A slow upstream is not asked twice as often, but who has waited until it was
// well again asks it.
func TestWaiterAfterStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := badWeather()
		late := rtFunc(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return nil, errors.New("net/http: timeout awaiting response headers")
		})
		base := rtFunc(func(req *http.Request) (*http.Response, error) {
			if w.bad.Load() {
				return late(req)
			}
			return answer(req)
		})
		rt := start(t, base, WithStallThreshold(2, 0), every(20*time.Second), WithWaitForReady(time.Minute),
			WithFactory(builds(func() http.RoundTripper { return late }).make))
		for range 2 {
			_, err := do(rt, mustRequest(t.Context(), http.MethodPost, "http://a.test/", nil))
			require.Error(t, err)
		}
		began := time.Now()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
				assert.Equal(t, 10*time.Second, time.Since(began))
			})
		}
		time.Sleep(10 * time.Second)
		w.bad.Store(false)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		wg.Wait()
	})
}

// What has ended is held back by factories that fail, not by another's upstream.
func TestWaiterOnAnEndedTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// For WithBackOff's own look, the authority, everybody and the client.
		intervals := []time.Duration{0, time.Minute, time.Minute, 2 * time.Second}
		base := &sessionStub{}
		down := refused()
		base.err.Store(&down)
		f := &factory{build: func(n int64, _ context.Context) (http.RoundTripper, error) {
			switch n {
			case 1:
				return rtFunc(unsent), nil
			case 2:
				return nil, errors.New("no route")
			}
			return &stub{}, nil
		}}
		rt := start(t, base, WithThreshold(1), WithFactory(f.make), WithWaitForReady(30*time.Second), WithBackOff(func() backoff.BackOff {
			next := intervals[0]
			intervals = intervals[1:]
			return backoff.NewConstantBackOff(next)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := get(ctx, rt, "http://a.test/") // its trial is rejected by the upstream
		require.Error(t, err)
		base.end(errors.New("session closed"))
		began := time.Now()
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, 2*time.Second, time.Since(began))
	})
}
