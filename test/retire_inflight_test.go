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
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// A closing transport counts the calls of its Close, as a session's transport has one.
type closing struct {
	*http.Transport
	closes atomic.Int64
}

func (c *closing) Close() error {
	c.closes.Add(1)
	c.Transport.CloseIdleConnections()
	return nil
}

// overPipes are the protocols whose transports run on a network in virtual time.
var overPipes = map[string]func(*testnet.Network) *http.Transport{
	"h1": (*testnet.Network).HTTP1, "h2": (*testnet.Network).HTTP2,
}

// serveKinds serves a response without a body of each kind, and bodies that break or
// never end.
func serveKinds(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/204":
		w.WriteHeader(http.StatusNoContent)
	case "/304":
		w.WriteHeader(http.StatusNotModified)
	case "/broken":
		_, _ = io.WriteString(w, "data")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "/endless":
		_, _ = io.WriteString(w, "data")
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	case "/silent":
		<-req.Context().Done()
	}
}

// A response without a body is out although nobody closes it, and so is one that has
// ended in an error: the transport is closed.
func TestWhatIsOverKeepsNoTransportOpen(t *testing.T) {
	for proto, dial := range overPipes {
		for name, tt := range map[string]struct{ method, path string }{
			"HEAD": {"HEAD", "/"}, "204": {"GET", "/204"}, "304": {"GET", "/304"}, "an empty 200": {"GET", "/"},
			"a POST's 204": {"POST", "/204"}, "a body that breaks": {"GET", "/broken"},
		} {
			t.Run(proto+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := testnet.New(t)
					n.Serve("a.test:80", http.HandlerFunc(serveKinds))
					base := &closing{Transport: dial(n)}
					rt := start(t, base, respawn.WithFactory(stubs().Make))
					resp, err := rt.RoundTrip(request(t.Context(), tt.method, "http://a.test"+tt.path, nil))
					require.NoError(t, err)
					if tt.path == "/broken" {
						assert.EqualValues(t, 1, rt.Health().InFlight)
						_, err := io.ReadAll(resp.Body)
						assert.Error(t, err)
					}
					assert.Zero(t, rt.Health().InFlight)
					require.NoError(t, rt.Recreate(t.Context()))
					sweepsPass()
					assert.EqualValues(t, 1, base.closes.Load())
					runtime.KeepAlive(resp)
				})
			})
		}
	}
}

// What the drain limit cuts gets ErrDrained, before its answer and in its body, over
// HTTP/1 and HTTP/2, whether or not somebody reads it.
func TestTheDrainLimitCutsWithErrDrained(t *testing.T) {
	for proto, dial := range overPipes {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				n.Serve("a.test:80", http.HandlerFunc(serveKinds))
				base := &closing{Transport: dial(n)}
				rt := start(t, base, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return dial(n) }).Make),
					respawn.WithDrainTimeout(time.Minute))
				send := func(ctx context.Context, method, path string) (*http.Response, error) {
					return rt.RoundTrip(request(ctx, method, "http://a.test"+path, nil))
				}
				forgotten, err := send(t.Context(), "GET", "/endless")
				require.NoError(t, err)
				read, err := send(t.Context(), "GET", "/endless")
				require.NoError(t, err)
				theirs, leave := context.WithTimeout(t.Context(), time.Minute-time.Millisecond)
				defer leave()
				left, err := send(theirs, "GET", "/endless")
				require.NoError(t, err)
				var wg sync.WaitGroup
				for _, method := range []string{"GET", "POST"} {
					wg.Go(func() {
						_, err := send(t.Context(), method, "/silent")
						assert.ErrorIs(t, err, respawn.ErrDrained, method)
						assert.NotErrorIs(t, err, context.Canceled, "the caller's own context is alive")
					})
				}
				wg.Go(func() {
					_, err := io.ReadAll(read.Body)
					assert.ErrorIs(t, err, respawn.ErrDrained)
				})
				wg.Go(func() {
					_, err := io.ReadAll(left.Body)
					assert.Error(t, err)
					assert.NotErrorIs(t, err, respawn.ErrDrained, "its caller left first")
				})
				synctest.Wait()
				begin := time.Now()
				require.NoError(t, rt.Close())
				wg.Wait()
				assert.Equal(t, time.Minute, time.Since(begin))
				synctest.Wait()
				assert.Zero(t, rt.Health().InFlight, "also what nobody reads")
				sweepsPass()
				assert.EqualValues(t, 1, base.closes.Load())
				_, err = forgotten.Body.Read(make([]byte, 1))
				assert.ErrorIs(t, err, respawn.ErrDrained)
				assert.Empty(t, rt.Health().Streaks, "a cut is no failure")
			})
		})
	}
}

// What is cut is not sent again, nor is anybody's classifier asked about it.
func TestWhatIsCutIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(serveKinds))
		fresh := &testkit.Stub{}
		rt := start(t, n.HTTP1(), respawn.WithDrainTimeout(time.Minute),
			respawn.WithPatience(0), // else it moves before it is cut
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return fresh }).Make),
			respawn.WithClassifier(func(*http.Request, error) respawn.Verdict { return respawn.Failure }))
		done := make(chan error)
		go func() {
			_, err := get(t.Context(), rt, "http://a.test/silent")
			done <- err
		}()
		synctest.Wait()
		swapInFlight(t, rt, "http://a.test/")
		sent := fresh.Calls.Load()
		assert.ErrorIs(t, <-done, respawn.ErrDrained)
		assert.Equal(t, sent, fresh.Calls.Load())
	})
}

// A transport that does not heed its requests' context is closed all the same.
func TestTheDrainLimitDoesNotWaitForADeafTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &deaf{closed: make(chan struct{})}
		rt := start(t, base, respawn.WithFactory(stubs().Make), respawn.WithDrainTimeout(time.Minute))
		var wg sync.WaitGroup
		for _, method := range []string{"GET", "POST"} {
			wg.Go(func() {
				_, err := rt.RoundTrip(request(t.Context(), method, "http://a.test/", strings.NewReader("once")))
				assert.ErrorIs(t, err, respawn.ErrDrained)
			})
		}
		synctest.Wait()
		require.NoError(t, rt.Close())
		wg.Wait()
		assert.Zero(t, rt.Health().InFlight)
	})
}

type deaf struct{ closed chan struct{} }

func (d *deaf) RoundTrip(req *http.Request) (*http.Response, error) {
	testkit.CloseBody(req)
	<-d.closed
	return nil, errors.New("deaf: closed")
}
func (d *deaf) Close() error { close(d.closed); return nil }

// What GetBody or RoundTrip does instead of returning costs its call: the count is
// right, and the transport retires.
func TestWhatDoesNotReturnIsCountedOut(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("oops") }, "Goexit": runtime.Goexit} {
		for kind, send := range map[string]func(*testing.T, *atomic.Bool, http.RoundTripper){
			"RoundTrip of a GET": func(t *testing.T, breaks *atomic.Bool, rt http.RoundTripper) {
				breaks.Store(true)
				_, _ = rt.RoundTrip(request(t.Context(), "GET", "http://a.test/", nil))
			},
			"RoundTrip of a POST": func(t *testing.T, breaks *atomic.Bool, rt http.RoundTripper) {
				breaks.Store(true)
				_, _ = rt.RoundTrip(request(t.Context(), "POST", "http://a.test/", strings.NewReader("x")))
			},
			"GetBody on a replay": func(t *testing.T, _ *atomic.Bool, rt http.RoundTripper) {
				req := request(t.Context(), "PUT", "http://fails.test/", strings.NewReader("x"))
				req.GetBody = func() (io.ReadCloser, error) { end(); return nil, nil }
				_, _ = rt.RoundTrip(req)
			},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var breaks atomic.Bool
					stub, dead := &testkit.Stub{}, testkit.Dead(testkit.Refused())
					base := struct {
						http.RoundTripper
						io.Closer
					}{testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
						if breaks.Load() {
							end()
						}
						if req.URL.Host == "fails.test" {
							return dead.RoundTrip(req)
						}
						return stub.RoundTrip(req)
					}), stub}
					rt := start(t, base, respawn.WithFactory(stubs().Make))
					done := make(chan any)
					go func() {
						defer func() { done <- recover() }()
						send(t, &breaks, rt)
					}()
					<-done
					assert.Zero(t, rt.Health().InFlight)
					require.NoError(t, rt.Recreate(t.Context()))
					sweepsPass()
					assert.EqualValues(t, 1, stub.Closes.Load())
					_, err := get(t.Context(), rt, "http://a.test/")
					assert.NoError(t, err)
				})
			})
		}
	}
}
