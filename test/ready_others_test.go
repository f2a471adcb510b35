package test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
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
	"github.com/respawnhttp/respawn/internal/testkit"
)

// outOfFiles says nothing about anybody but this machine.
func outOfFiles() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
}

// from is a request for a.test that says who makes it, for transports that treat
// one caller differently.
func from(who string) *http.Request {
	req := request(context.Background(), http.MethodGet, "http://a.test/", nil)
	req.Header.Set("Who", who)
	return req
}

// Impatient callers start recreations without end where the backoff has no pause:
// who waits for ready makes a round a second all the same.
func TestWaitingForReadyIsNotTryingWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int64
		broken := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Who") == "patient" {
				tries.Add(1)
			}
			return nil, testkit.Refused()
		})
		slow := testkit.Builds(func() http.RoundTripper { time.Sleep(5 * time.Millisecond); return broken })
		rt := start(t, broken, respawn.WithThreshold(1), every(0), respawn.WithWaitForReady(2*time.Second), respawn.WithFactory(slow.Make))
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
		began := time.Now()
		_, err := testkit.Do(rt, from("patient"))
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.LessOrEqual(t, time.Since(began), 2*time.Second+2*5*time.Millisecond,
			"the wait begins after a first round, which may have joined one build and started the next")
		assert.GreaterOrEqual(t, tries.Load(), int64(3))
		assert.LessOrEqual(t, tries.Load(), int64(3*3), "three rounds, of threshold + 2")
		stop()
		wg.Wait()
		time.Sleep(time.Second) // the last factory is at work
	})
}

// A trial that this machine had no file for was not sent, and is no verdict: in its
// next round the request tries the same candidate again.
func TestWhoWaitsForReadyTriesAgainWhatSaidNothing(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				candidate := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					if time.Since(began) < 1500*time.Millisecond {
						testkit.CloseBody(req)
						return nil, outOfFiles()
					}
					return testkit.Answer(req)
				})
				f := testkit.Builds(func() http.RoundTripper { return candidate })
				rt := start(t, allDown(), every(time.Minute), respawn.WithWaitForReady(30*time.Second), respawn.WithFactory(f.Make))
				_, err := testkit.Do(rt, request(t.Context(), method, "http://a.test/", strings.NewReader("x")))
				assert.NoError(t, err)
				assert.Equal(t, 2*time.Second, time.Since(began))
				assert.EqualValues(t, 1, f.Calls.Load())
			})
		})
	}
}

// A trial costs no request what the transport in service would have served: the
// next one asks that first.
func TestAnOutageAsksTheTransportInServiceFirst(t *testing.T) {
	for name, candidate := range map[string]error{"refused": testkit.Refused(), "no verdict": outOfFiles()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := testkit.Dead(testkit.Refused())
				rt := start(t, base, every(0), respawn.WithWaitForReady(time.Second),
					respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return testkit.Dead(candidate) }).Make))
				_, err := get(t.Context(), rt, "http://a.test/")
				require.Error(t, err)
				base.Fail(nil)
				before := base.Calls.Load()
				_, err = get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
				assert.EqualValues(t, 1, base.Calls.Load()-before)
				assert.EqualValues(t, 1, rt.Health().Generation)
			})
		})
	}
}

// hesitant refuses after that long, unless its caller leaves before.
func hesitant(req *http.Request, d time.Duration) (*http.Response, error) {
	s := testkit.Dead(testkit.Refused())
	s.Delay = d
	return s.RoundTrip(req)
}

// The transport in service recovers while another's trial is under way: who waits
// for ready does not wait for its verdict.
func TestWhoWaitsForReadyHearsOfARecoveryDuringATrial(t *testing.T) {
	t.Run("of its authority", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := testkit.Dead(testkit.Refused())
			slow := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				if req.Header.Get("Who") == "patient" {
					return nil, outOfFiles()
				}
				return hesitant(req, 8*time.Second)
			})
			rt := start(t, base, respawn.WithThreshold(1), every(time.Second), respawn.WithWaitForReady(30*time.Second),
				respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return slow }).Make))
			began := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := testkit.Do(rt, from("patient")) // its own trial says nothing
				assert.NoError(t, err)
				assert.Equal(t, 2500*time.Millisecond, time.Since(began), "a round after the second, which the trial held for its head start")
			})
			time.Sleep(500 * time.Millisecond)
			wg.Go(func() { // holds the candidate
				_, err := testkit.Do(rt, from("busy"))
				assert.NoError(t, err, "it is called back, and served")
				assert.Equal(t, 2*time.Second, time.Since(began))
			})
			time.Sleep(1500 * time.Millisecond)
			base.Fail(nil)
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			wg.Wait()
		})
	})
	t.Run("of another", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := testkit.Dead(testkit.Refused())
			base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Host == "b.test" {
					return nil, testkit.Refused()
				}
				return a.RoundTrip(req)
			})
			f := testkit.NewFactory(func(_ context.Context, n int64) (http.RoundTripper, error) {
				return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					if n > 1 {
						return hesitant(req, 8*time.Second)
					}
					return nil, testkit.Refused()
				}), nil
			})
			rt := start(t, base, respawn.WithThreshold(1), every(time.Second), respawn.WithWaitForReady(30*time.Second), respawn.WithFactory(f.Make))
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := get(ctx, rt, "http://a.test/") // its first trial is refused
			require.Error(t, err)
			time.Sleep(time.Second)
			var wg sync.WaitGroup
			leaves, leave := context.WithCancel(t.Context())
			wg.Go(func() { _, _ = get(leaves, rt, "http://b.test/") })
			synctest.Wait()
			wg.Go(func() {
				began := time.Now()
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
				assert.Equal(t, time.Second, time.Since(began))
			})
			time.Sleep(time.Second)
			a.Fail(nil)
			_, err = get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			time.Sleep(time.Second)
			leave()
			wg.Wait()
		})
	})
}

// Whose last attempt trips the authority has its control and its trial like any
// other, also where the streak was not its own.
func TestTheLastAttemptMayTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rt *respawn.RecoveringRoundTripper
		sent := 0
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			switch req.Header.Get("Who") {
			case "lucky":
				return testkit.Answer(req)
			case "":
				testkit.CloseBody(req)
				return nil, testkit.ConnReset()
			}
			if sent++; sent == 2 { // another's answer ends the streak, and others begin one
				_, err := testkit.Do(rt, from("lucky"))
				assert.NoError(t, err)
				for range 2 {
					_, err = testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", strings.NewReader("x")))
					assert.Error(t, err)
				}
			}
			return nil, testkit.Refused()
		})
		f := testkit.Builds(func() http.RoundTripper { return &testkit.Stub{} })
		rt = start(t, base, respawn.WithFactory(f.Make))
		began := time.Now()
		_, err := testkit.Do(rt, from("unlucky"))
		assert.NoError(t, err)
		assert.Zero(t, time.Since(began))
		assert.Equal(t, 3+1, sent, "the threshold, and the control")
		assert.EqualValues(t, 1, f.Calls.Load())
	})
}

// A slow upstream is not asked twice as often, but who has waited until it was
// well again asks it.
func TestWhoWaitsForReadyAsksASlowUpstreamAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var well atomic.Bool
		late := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			testkit.CloseBody(req)
			select {
			case <-time.After(time.Second):
				return nil, errors.New("net/http: timeout awaiting response headers")
			case <-req.Context().Done():
				return nil, context.Cause(req.Context())
			}
		})
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if well.Load() {
				return testkit.Answer(req)
			}
			return late(req)
		})
		rt := start(t, base, respawn.WithStallThreshold(2, 0), every(20*time.Second), respawn.WithWaitForReady(time.Minute),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return late }).Make))
		for range 2 {
			_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", strings.NewReader("x")))
			require.Error(t, err)
		}
		began := time.Now()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
				assert.LessOrEqual(t, time.Since(began), 12*time.Second, "what was sent before it was well ends, and a round later it is asked")
			})
		}
		time.Sleep(10 * time.Second)
		well.Store(true)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		wg.Wait()
		assert.EqualValues(t, 1, rt.Health().Generation)
	})
}

// What has ended is held back by factories that fail, not by an upstream that has
// refused one fresh transport after the other.
func TestTheSuccessorOfWhatEndedIsBuiltAtOnceAfterRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.SessionStub{}
		base.Fail(testkit.Refused())
		var ended atomic.Int64
		f := testkit.NewFactory(func(context.Context, int64) (http.RoundTripper, error) {
			switch {
			case base.Err() == nil:
				return allDown(), nil
			case ended.Add(1) == 1:
				return nil, errors.New("no route")
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, base, respawn.WithFactory(f.Make), respawn.WithWaitForReady(30*time.Second), doubling())
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		for ctx.Err() == nil {
			_, _ = get(ctx, rt, "http://a.test/")
		}
		require.EqualValues(t, 8, f.Calls.Load(), "at 0, 1, 3, 7, 15, 31, 61 and 91 s")
		base.End(io.ErrClosedPipe)
		began := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(began), "at once in vain, and after a first interval")
	})
}

// doubling is a policy whose intervals are 1, 2, 4, ..., 30 s.
func doubling() respawn.Option {
	return respawn.WithBackOff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0), backoff.WithMaxInterval(30*time.Second), backoff.WithMaxElapsedTime(0))
	})
}
