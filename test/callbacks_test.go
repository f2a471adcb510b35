package test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
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

// What is the user's code may ask back, take its time, panic or end its goroutine:
// it costs one call at most.

// curious is a context that asks for Health whenever it is looked at.
type curious struct {
	context.Context
	rt *respawn.RecoveringRoundTripper
}

func (c curious) Value(k any) any             { c.rt.Health(); return c.Context.Value(k) }
func (c curious) Err() error                  { c.rt.Health(); return c.Context.Err() }
func (c curious) Deadline() (time.Time, bool) { c.rt.Health(); return c.Context.Deadline() }

func TestNoContextOfACallerIsAskedUnderTheLock(t *testing.T) {
	rt := start(t, allDown(), respawn.WithFactory(wellAfter(0).Make))
	done := make(chan error, 1)
	go func() {
		_, err := get(curious{context.Background(), rt}, rt, "http://a.test/")
		done <- err
	}()
	select {
	case err := <-done:
		assert.NoError(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("RoundTrip hangs")
	}
}

// Failures that arrive while a slow policy is asked find the build under way.
func TestFailuresWhileThePolicyIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		late := make(chan struct{})
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/late" {
				<-late
			}
			return nil, testkit.Refused()
		})
		f := testkit.Builds(allDown)
		rt := start(t, base, respawn.WithThreshold(1), respawn.WithReplay(respawn.ReplayUnsent), respawn.WithFactory(f.Make),
			respawn.WithBackOff(func() backoff.BackOff {
				if asked.Add(1) > 1 {
					time.Sleep(200 * time.Millisecond) // reads its configuration, say
				}
				return backoff.NewConstantBackOff(time.Hour)
			}))
		began := time.Now()
		var wg sync.WaitGroup
		ask := func(path string) {
			wg.Go(func() {
				_, err := get(t.Context(), rt, "http://a.test/"+path)
				assert.ErrorIs(t, err, syscall.ECONNREFUSED)
			})
		}
		for range 10 {
			ask("late")
		}
		time.Sleep(50 * time.Millisecond)
		ask("")
		time.Sleep(100 * time.Millisecond) // it has tripped, and the policy is asked
		close(late)
		wg.Wait()
		assert.Equal(t, 250*time.Millisecond, time.Since(began))
		assert.EqualValues(t, 1, f.Calls.Load())
	})
}

// A policy that panics, or ends its goroutine, must not shut the gate.
func TestAPolicyThatDoesNotReturnIsOverruled(t *testing.T) {
	for name, break_ := range map[string]func(){"panics": func() { panic("config not loaded") }, "exits": runtime.Goexit} {
		for _, when := range []string{"made", "asked"} {
			t.Run(name+" when "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var n atomic.Int64
					breaks := func() {
						if n.Add(1) == 2 {
							break_()
						}
					}
					well := time.Now().Add(time.Minute)
					f := testkit.Builds(func() http.RoundTripper {
						if time.Now().Before(well) {
							return allDown()
						}
						return &testkit.Stub{}
					})
					rt := start(t, allDown(), respawn.WithFactory(f.Make), respawn.WithBackOff(func() backoff.BackOff {
						if when == "made" {
							breaks()
						}
						return policyFunc(func() time.Duration {
							if when == "asked" {
								breaks()
							}
							return time.Second
						})
					}))
					for time.Now().Before(well) {
						_, err := get(t.Context(), rt, "http://a.test/")
						require.Error(t, err)
						time.Sleep(100 * time.Millisecond)
					}
					assert.False(t, rt.Health().Recreating, "the gate is free again")
					assert.Greater(t, f.Calls.Load(), int64(30))
					time.Sleep(time.Second)
					_, err := get(t.Context(), rt, "http://a.test/")
					assert.NoError(t, err)
				})
			})
		}
	}
}

// policyFunc is a policy made of a function.
type policyFunc func() time.Duration

func (f policyFunc) NextBackOff() time.Duration { return f() }
func (f policyFunc) Reset()                     {}

// A factory that ends its goroutine is a rejection, too.
func TestAFactoryThatExitsIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.NewFactory(func(_ context.Context, n int64) (http.RoundTripper, error) {
			if n == 1 {
				runtime.Goexit()
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, allDown(), respawn.WithFactory(f.Make), every(time.Second))
		began := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Zero(t, time.Since(began))
		assert.Equal(t, 1, rt.Health().Rejections)
		time.Sleep(time.Second)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
	})
}

// A classifier that ends its goroutine ends the caller's, as a transport's own would,
// and what the caller handed over is closed all the same.
func TestAClassifierThatExitsLeavesTheBodyClosedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var exits atomic.Bool
		f := testkit.Builds(func() http.RoundTripper { return allDown() })
		rt := start(t, allDown(), respawn.WithThreshold(10), respawn.WithFactory(f.Make),
			respawn.WithClassifier(func(req *http.Request, err error) respawn.Verdict {
				if exits.Load() {
					runtime.Goexit()
				}
				return respawn.DefaultClassifier(req, err)
			}))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		exits.Store(true)
		for _, host := range []string{"a.test", "b.test"} { // suspected, and above suspicion
			var closed atomic.Int64
			body := closeCounter{strings.NewReader("once"), &closed}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = rt.RoundTrip(request(t.Context(), http.MethodPost, "http://"+host+"/", body))
			}()
			<-done
			assert.EqualValues(t, 1, closed.Load(), host)
		}
	})
}

// Where a classifier ends the goroutine of a call that has something else under way, that
// is called back: nobody waits for it any more. The next call tries the candidate again.
func TestAClassifierThatExitsLeavesNothingOfItsCallInFlight(t *testing.T) {
	broken := errors.New("broken")
	classifies := respawn.WithClassifier(func(req *http.Request, err error) respawn.Verdict {
		if err == broken {
			runtime.Goexit()
		}
		return respawn.DefaultClassifier(req, err)
	})
	var tried atomic.Int64
	breaks := respawn.WithFactory(testkit.Builds(func() http.RoundTripper {
		return testkit.RoundTripperFunc(func(*http.Request) (*http.Response, error) {
			tried.Add(1)
			time.Sleep(10 * time.Millisecond)
			return nil, broken
		})
	}).Make)
	for name, client := range map[string]func(*testing.T) *respawn.RecoveringRoundTripper{
		"beside a copy that tries what is planned": func(t *testing.T) *respawn.RecoveringRoundTripper {
			rt := start(t, staysSilent(nil), breaks, classifies)
			busy, leave := context.WithCancel(t.Context())
			go func() { _, _ = get(busy, rt, "http://busy.test/") }()
			synctest.Wait()
			go func() { _ = rt.Recreate(t.Context()) }()
			time.Sleep(time.Second)
			leave()
			return rt
		},
		"within its transport, while a deputy has a copy sent": func(t *testing.T) *respawn.RecoveringRoundTripper {
			return start(t, staysSilent(nil), breaks, classifies, respawn.WithStallThreshold(1, 0), patient(5*time.Second))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tried.Store(0)
				rt := client(t)
				for n := range int64(2) {
					ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
					defer cancel()
					began, done := time.Now(), make(chan struct{})
					go func() {
						defer close(done)
						_, err := get(ctx, rt, "http://a.test/")
						assert.NoError(t, err, "its goroutine does not end")
					}()
					<-done
					assert.Less(t, time.Since(began), 10*time.Second)
					synctest.Wait()
					assert.EqualValues(t, n+1, tried.Load())
					assert.Zero(t, rt.Health().InFlight)
				}
				require.NoError(t, rt.Shutdown(t.Context()))
			})
		})
	}
}

// closeCounter is a body that counts how often it is closed.
type closeCounter struct {
	io.Reader
	closed *atomic.Int64
}

func (b closeCounter) Close() error {
	b.closed.Add(1)
	return nil
}

// For a classifier that panics the default answers.
func TestAClassifierThatPanicsIsOverruled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		f := testkit.NewFactory(func(_ context.Context, n int64) (http.RoundTripper, error) {
			if n == 1 {
				return testkit.Dead(boom), nil
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, allDown(), respawn.WithFactory(f.Make), respawn.WithThreshold(1), every(time.Second),
			respawn.WithClassifier(func(req *http.Request, err error) respawn.Verdict {
				if err == boom {
					panic("classifier")
				}
				return respawn.DefaultClassifier(req, err)
			}))
		_, err := get(t.Context(), rt, "http://a.test/")
		assert.Error(t, err)
		assert.Equal(t, 1, rt.Health().Rejections, "the trial has failed")
		time.Sleep(time.Second)
		_, err = get(t.Context(), rt, "http://a.test/")
		assert.NoError(t, err)
	})
}
