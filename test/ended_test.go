package test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
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

// A partialSession reaches every host but those that are down, until it has
// ended.
type partialSession struct{ testkit.SessionStub }

func (s *partialSession) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.Err() == nil && strings.HasPrefix(req.URL.Host, "down") {
		return nil, testkit.Refused()
	}
	return s.SessionStub.RoundTrip(req)
}

func newPartialSession() http.RoundTripper { return &partialSession{} }

// What upstreams have refused holds back the successor of a transport that has
// ended no longer than a first interval, however many they are: nobody could be
// served until then.
func TestEndedWaitsAFirstIntervalAtMostForWhatUpstreamsRefused(t *testing.T) {
	for _, down := range []int{1, 2, 20} {
		t.Run(fmt.Sprint(down), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &partialSession{}
				f := testkit.Builds(newPartialSession)
				rt := start(t, base, respawn.WithFactory(f.Make), every(time.Second))
				askDown := func() {
					for n := range down {
						_, err := get(t.Context(), rt, fmt.Sprintf("http://down-%d.test/", n))
						require.Error(t, err)
					}
				}
				begin := time.Now()
				askDown() // the candidate is refused, and the next one has to wait
				require.EqualValues(t, 1, f.Calls.Load())
				ended := errors.New("ended")
				base.End(ended)
				time.Sleep(time.Millisecond)
				askDown()
				_, err := get(t.Context(), rt, "http://well.test/")
				require.Same(t, ended, err)

				time.Sleep(time.Until(begin.Add(time.Second)))
				for range 30 {
					_, err := get(t.Context(), rt, "http://well.test/")
					require.NoError(t, err)
					askDown()
					time.Sleep(100 * time.Millisecond)
				}
				assert.EqualValues(t, 2, rt.Health().Generation, "and no upstream that is down costs another swap")
			})
		})
	}
}

// Where the transport has ended a fit candidate is better, even if the request
// that tried it went to an upstream that is down.
func TestEndedIsReplacedByWhateverHasNotEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &partialSession{}
		f := testkit.Builds(newPartialSession)
		rt := start(t, base, respawn.WithFactory(f.Make), every(time.Second))
		base.End(errors.New("ended"))
		_, err := get(t.Context(), rt, "http://down.test/")
		require.ErrorIs(t, err, syscall.ECONNREFUSED, "the upstream's own")
		_, err = get(t.Context(), rt, "http://well.test/")
		require.NoError(t, err)
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// slowToSay is a transport whose Err blocks while it is armed, and says then that
// it has ended.
type slowToSay struct {
	testkit.Stub
	armed atomic.Bool
	gate  chan struct{}
}

func (s *slowToSay) Err() error {
	if !s.armed.Load() {
		return nil
	}
	<-s.gate
	return errors.New("ended")
}

// A middleware that hears late of an end leaves the successor's trials alone: a
// candidate that waits there has proved nothing.
func TestMiddlewareThatHearsLateOfAnEndLeavesTheSuccessorAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, second := &slowToSay{gate: make(chan struct{})}, &testkit.Stub{}
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				return second, nil
			}
			time.Sleep(time.Second)
			return testkit.Dead(testkit.Refused()), nil
		})
		rt := start(t, base, respawn.WithFactory(f.Make), respawn.WithThreshold(1))
		inbound := respawn.Middleware(rt)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		base.armed.Store(true)
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			inbound.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		}()
		synctest.Wait()
		base.armed.Store(false)
		require.NoError(t, rt.Recreate(t.Context()))

		second.Fail(testkit.Refused())
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, _ = get(ctx, rt, "http://a.test/") // trips, asks for a candidate, leaves
		time.Sleep(time.Second)
		require.EqualValues(t, 2, f.Calls.Load())
		require.True(t, rt.Health().Recreating, "a candidate that waits")
		close(base.gate)
		<-heard
		synctest.Wait()
		assert.Same(t, second, rt.WrappedRoundTripper())
		assert.True(t, rt.Health().Recreating)
	})
}

// What the transport says of itself is the trigger, also when requests that
// had to go on to it inside the window have failed since.
func TestEndedStaysTheTriggerOfItsOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		var last *testkit.SessionStub
		session := func() http.RoundTripper { last = &testkit.SessionStub{}; return last }
		rt := start(t, session(), append(observed(p), every(time.Minute), respawn.WithFactory(testkit.Builds(session).Make))...)
		for range 2 {
			last.End(errors.New("session is closed"))
			get(t.Context(), rt, "http://a.test/")
		}
		require.EqualValues(t, 2, rt.Health().Generation, "the second is inside the window")
		assert.Equal(t, respawn.TriggerTransportEnded, rt.Health().LastFailure.Reason)
		time.Sleep(time.Minute)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, map[string]int{"transport_ended promoted": 2}, p.Outcomes())
	})
}
