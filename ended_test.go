package respawn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A partialSession reaches every host but those that are down, until it has
// ended.
type partialSession struct{ sessionStub }

func (s *partialSession) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.Err() == nil && strings.HasPrefix(req.URL.Host, "down") {
		return nil, refused()
	}
	return s.sessionStub.RoundTrip(req)
}

func newPartialSession() http.RoundTripper { return &partialSession{} }

// What an upstream has refused holds back no recreation of a transport that
// has ended: nobody's requests could be served until then.
func TestEndedWaitsForNobodysUpstream(t *testing.T) {
	for _, down := range []int{1, 2} {
		t.Run(fmt.Sprint(down), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &partialSession{}
				rt := start(t, base, WithFactory(builds(newPartialSession).make), every(time.Second))
				askDown := func() {
					for n := range down {
						_, err := get(t.Context(), rt, fmt.Sprintf("http://down-%d.test/", n))
						require.Error(t, err)
					}
				}
				askDown() // their trials are rejected, and everybody is spaced
				base.end(errors.New("ended"))
				time.Sleep(time.Millisecond)
				askDown()
				for range 30 {
					_, err := get(t.Context(), rt, "http://well.test/")
					require.NoError(t, err)
					time.Sleep(100 * time.Millisecond)
				}
			})
		})
	}
}

// Where the transport has ended a fit candidate is better, even if the request
// that tried it went to an upstream that is down.
func TestEndedIsReplacedByWhatIsFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &partialSession{}
		f := builds(newPartialSession)
		rt := start(t, base, WithFactory(f.make), every(time.Second))
		base.end(errors.New("ended"))
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
	stub
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
func TestMiddlewareLeavesTheSuccessorAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, second := &slowToSay{gate: make(chan struct{})}, &stub{}
		f := &factory{build: func(n int64, _ context.Context) (http.RoundTripper, error) {
			if n == 1 {
				return second, nil
			}
			time.Sleep(time.Second)
			return dead(refused()), nil
		}}
		rt := start(t, base, WithFactory(f.make), WithThreshold(1))
		base.armed.Store(true)
		heard := make(chan struct{})
		go func() { defer close(heard); rt.replaceEnded(t.Context()) }()
		synctest.Wait()
		base.armed.Store(false)
		require.NoError(t, rt.Recreate(t.Context()))

		err := refused()
		second.err.Store(&err)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, _ = get(ctx, rt, "http://a.test/") // trips, asks for a candidate, leaves
		time.Sleep(time.Second)
		close(base.gate)
		<-heard
		assert.Same(t, second, rt.WrappedRoundTripper())
	})
}
