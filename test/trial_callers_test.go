package test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// One failed dial among stalls does not turn a slow upstream into a reason to swap.
func TestOneRefusalDoesNotProveThatTheCurrentTransportIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refuse atomic.Bool
		slow := func() http.RoundTripper {
			return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
				tr := httptrace.ContextClientTrace(req.Context())
				if tr != nil {
					tr.GetConn("a.test:80")
				}
				if refuse.Load() {
					return nil, testkit.Refused()
				}
				if tr != nil {
					tr.GotConn(httptrace.GotConnInfo{})
				}
				<-req.Context().Done()
				return nil, context.Cause(req.Context())
			})
		}
		f := testkit.Builds(slow)
		rt := start(t, slow(), respawn.WithFactory(f.Make), every(10*time.Second))
		for range 4 {
			waitInVain(t, rt, "http://a.test/", time.Second) // trips at the third; the fourth has a copy: no faster
		}
		require.EqualValues(t, 1, f.Calls.Load())
		refuse.Store(true)
		_, err := get(t.Context(), rt, "http://a.test/") // one failure, and on the candidate, too
		require.Error(t, err)
		refuse.Store(false)
		for range 10 {
			time.Sleep(10 * time.Second)
			waitInVain(t, rt, "http://a.test/", time.Second)
		}
		assert.Greater(t, f.Calls.Load(), int64(1))
		assert.EqualValues(t, 1, rt.Health().Generation, "the upstream is slow: no swap")
	})
}

// Few requests, each gone before the factory is done, and again before the dial
// is: the candidate waits for them, or such a client would never recover.
func TestFewAndImpatientCallersRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		f := testkit.Builds(func() http.RoundTripper {
			time.Sleep(300 * time.Millisecond)
			far := n.HTTP1()
			far.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(150 * time.Millisecond)
				return n.DialContext(ctx, network, addr)
			}
			return far
		})
		rt := start(t, allDown(), respawn.WithFactory(f.Make))
		answered := 0
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if _, err := get(ctx, rt, "http://a.test/"); err == nil {
				answered++
			}
			cancel()
			time.Sleep(time.Minute)
		}
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.EqualValues(t, 2, rt.Health().Generation)
		assert.Equal(t, 8, answered, "one asked for it, one dialed, and the third was answered")
		rt.CloseIdleConnections()
	})
}

// A hook of a trial whose caller has left fires beside the next trial's: no race,
// and no proof.
func TestALateHookOfATrialThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := make(chan struct{})
		var n atomic.Int64
		candidate := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if n.Add(1) == 1 {
				tr := httptrace.ContextClientTrace(req.Context())
				<-req.Context().Done()
				go func() {
					time.Sleep(50 * time.Millisecond)
					tr.GotConn(httptrace.GotConnInfo{})
					if tr.GotFirstResponseByte != nil {
						tr.GotFirstResponseByte()
					}
					close(late)
				}()
				return nil, req.Context().Err()
			}
			time.Sleep(100 * time.Millisecond)
			return testkit.Answer(req)
		})
		rt := start(t, allDown(), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return candidate }).Make), respawn.WithThreshold(1))
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(10 * time.Millisecond)
			_, err := get(t.Context(), rt, "http://b.test/")
			assert.NoError(t, err)
		})
		waitInVain(t, rt, "http://a.test/", 30*time.Millisecond)
		<-late
		assert.EqualValues(t, 1, rt.Health().Generation)
		wg.Wait()
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// The answer to a request that was sent before the transport died says nothing
// about what is since: it calls no trial off.
func TestALateAnswerIsNoRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/sent-before" {
				time.Sleep(30 * time.Millisecond)
				return testkit.Answer(req)
			}
			if down.Load() {
				return nil, testkit.Refused()
			}
			return testkit.Answer(req)
		})
		f := wellAfter(50 * time.Millisecond)
		rt := start(t, base, respawn.WithFactory(f.Make))
		var wg sync.WaitGroup
		wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/sent-before"); assert.NoError(t, err) })
		synctest.Wait()
		down.Store(true)
		for range 300 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.NoError(t, err)
			time.Sleep(10 * time.Millisecond)
		}
		wg.Wait()
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// An attempt may find a dead connection in the pool first, and get none after that:
// net/http asks again by itself. As a control it is one that got no connection, though
// it may have been sent; else its request would have no attempt left for the trial.
func TestAControlThatFirstMetADeadConnectionOfThePoolIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuses := func(req *http.Request, stale bool) (*http.Response, error) {
			trace := httptrace.ContextClientTrace(req.Context())
			if trace != nil {
				trace.GetConn("a.test:80")
			}
			if trace != nil && stale {
				trace.GotConn(httptrace.GotConnInfo{Reused: true})
				trace.GetConn("a.test:80")
			}
			time.Sleep(20 * time.Millisecond)
			return nil, errors.New("session shutdown")
		}
		built := make(chan struct{})
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			select {
			case <-built:
				return refuses(req, req.URL.Path == "/unlucky")
			default:
				return refuses(req, false)
			}
		})
		f := testkit.NewFactory(func(context.Context, int64) (http.RoundTripper, error) {
			time.Sleep(100 * time.Millisecond)
			close(built)
			return &testkit.Stub{}, nil
		})
		rt := start(t, base, respawn.WithFactory(f.Make))
		var all sync.WaitGroup
		for path, later := range map[string]time.Duration{"/unlucky": 0, "/lucky": 170 * time.Millisecond} {
			all.Go(func() {
				time.Sleep(later)
				_, err := get(t.Context(), rt, "http://a.test"+path)
				assert.NoError(t, err, path)
			})
		}
		all.Wait()
	})
}
