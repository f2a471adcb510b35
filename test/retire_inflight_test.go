package test

import (
	"cmp"
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
		_, _ = io.WriteString(w, cmp.Or(req.URL.RawQuery, "data"))
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

// Responses without a body are out although nobody closes them, and so are those that have
// ended in an error, however many there are of each: the transport is closed.
func TestWhatIsOverKeepsNoTransportOpen(t *testing.T) {
	kinds := []struct{ method, path string }{
		{"HEAD", "/"}, {"GET", "/204"}, {"GET", "/304"}, {"GET", "/"}, {"POST", "/204"}, {"GET", "/broken"}, {"POST", "/broken"},
	}
	for proto, dial := range overPipes {
		t.Run(proto, func(t *testing.T) {
			overDraws(t, 30, func(t *testing.T, d draw) {
				n := testnet.New(t)
				n.Serve("a.test:80", http.HandlerFunc(serveKinds))
				base := &closing{Transport: dial(n)}
				opts := append(d.options(), respawn.WithFactory(stubs().Make))
				if d.chance(0.3) {
					opts = append(opts, respawn.WithDrainTimeout(time.Hour))
				}
				rt := start(t, base, opts...)
				var unclosed []*http.Response
				for range 1 + d.IntN(8) {
					kind, given := oneOf(d, kinds...), strings.Repeat("x", 1+d.IntN(5000))
					req := request(t.Context(), kind.method, "http://a.test"+kind.path+"?"+given, nil)
					resp, err := rt.RoundTrip(req)
					require.NoError(t, err)
					if kind.path == "/broken" {
						assert.EqualValues(t, 1, rt.Health().InFlight)
						got, err := io.ReadAll(resp.Body)
						assert.Error(t, err)
						assert.Len(t, got, len(given))
					}
					assert.Zero(t, rt.Health().InFlight, kind)
					unclosed = append(unclosed, resp)
					time.Sleep(d.between(0, 10*time.Second))
				}
				require.NoError(t, rt.Recreate(t.Context()))
				sweepsPass()
				assert.EqualValues(t, 1, base.closes.Load())
				runtime.KeepAlive(unclosed)
			})
		})
	}
}

// What the drain limit cuts gets ErrDrained, before its answer and in its body, over
// HTTP/1 and HTTP/2, whether or not somebody reads it.
func TestTheDrainLimitCutsWithErrDrained(t *testing.T) {
	for proto, dial := range overPipes {
		t.Run(proto, func(t *testing.T) {
			overDraws(t, 25, func(t *testing.T, d draw) { cutAll(t, d, dial) })
		})
	}
}

// cutAll closes a client with any number of requests in flight, and looks at what becomes of
// them at its drain limit.
func cutAll(t *testing.T, d draw, dial func(*testnet.Network) *http.Transport) {
	n := testnet.New(t)
	n.Serve("a.test:80", http.HandlerFunc(serveKinds))
	base, limit := &closing{Transport: dial(n)}, d.between(time.Second, 10*time.Minute)
	rt := start(t, base, append(d.options(), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return dial(n) }).Make),
		respawn.WithDrainTimeout(limit))...)
	var wg sync.WaitGroup
	endless := func(ctx context.Context) io.ReadCloser {
		resp, err := rt.RoundTrip(request(ctx, oneOf(d, "GET", "POST"), "http://a.test/endless", nil))
		require.NoError(t, err)
		return resp.Body
	}
	var forgotten []io.ReadCloser
	for range d.IntN(4) {
		forgotten = append(forgotten, endless(t.Context()))
	}
	for range d.IntN(4) {
		read := endless(t.Context())
		wg.Go(func() {
			_, err := io.ReadAll(read)
			assert.ErrorIs(t, err, respawn.ErrDrained)
		})
	}
	for range d.IntN(3) {
		theirs, leave := context.WithTimeout(t.Context(), d.between(time.Millisecond, limit-time.Millisecond))
		defer leave()
		left := endless(theirs)
		wg.Go(func() {
			_, err := io.ReadAll(left)
			assert.Error(t, err)
			assert.NotErrorIs(t, err, respawn.ErrDrained, "its caller left first")
		})
	}
	for range 1 + d.IntN(4) {
		method := oneOf(d, "GET", "HEAD", "POST", "PUT")
		wg.Go(func() {
			_, err := rt.RoundTrip(request(t.Context(), method, "http://a.test/silent", nil))
			assert.ErrorIs(t, err, respawn.ErrDrained, method)
			assert.NotErrorIs(t, err, context.Canceled, "the caller's own context is alive")
		})
	}
	synctest.Wait()
	begin := time.Now()
	require.NoError(t, rt.Close())
	wg.Wait()
	assert.Equal(t, limit, time.Since(begin))
	synctest.Wait()
	assert.Zero(t, rt.Health().InFlight, "also what nobody reads")
	sweepsPass()
	assert.EqualValues(t, 1, base.closes.Load())
	for _, body := range forgotten {
		_, err := body.Read(make([]byte, 1))
		assert.ErrorIs(t, err, respawn.ErrDrained)
	}
	assert.Empty(t, rt.Health().Streaks, "a cut is no failure")
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
		for kind, send := range map[string]func(context.Context, *atomic.Bool, http.RoundTripper){
			"RoundTrip of a GET": func(ctx context.Context, breaks *atomic.Bool, rt http.RoundTripper) {
				breaks.Store(true)
				_, _ = rt.RoundTrip(request(ctx, "GET", "http://a.test/", nil))
			},
			"RoundTrip of a POST": func(ctx context.Context, breaks *atomic.Bool, rt http.RoundTripper) {
				breaks.Store(true)
				_, _ = rt.RoundTrip(request(ctx, "POST", "http://a.test/", strings.NewReader("x")))
			},
			"GetBody on a replay": func(ctx context.Context, _ *atomic.Bool, rt http.RoundTripper) {
				req := request(ctx, "PUT", "http://fails.test/", strings.NewReader("x"))
				req.GetBody = func() (io.ReadCloser, error) { end(); return nil, nil }
				_, _ = rt.RoundTrip(req)
			},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				overDraws(t, 10, func(t *testing.T, d draw) {
					var breaks atomic.Bool
					stub, dead := &testkit.Stub{Delay: d.between(0, 100*time.Millisecond)}, testkit.Dead(testkit.Refused())
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
					opts := append(d.options(), respawn.WithFactory(stubs().Make))
					if d.chance(0.3) {
						opts = append(opts, respawn.WithDrainTimeout(time.Hour))
					}
					rt := start(t, base, opts...)
					var open []io.Closer // of others, who are in flight
					for range d.IntN(4) {
						resp, err := rt.RoundTrip(request(t.Context(), oneOf(d, "GET", "POST"), "http://a.test/", nil))
						require.NoError(t, err)
						open = append(open, resp.Body)
					}
					for range 1 + d.IntN(3) {
						ctx := t.Context()
						if d.chance(0.5) {
							ctx = impatient(t) // on the healthy path
						}
						done := make(chan any)
						go func() {
							defer func() { done <- recover() }()
							send(ctx, &breaks, rt)
						}()
						<-done
						assert.EqualValues(t, len(open), rt.Health().InFlight)
					}
					for _, o := range open {
						require.NoError(t, o.Close())
					}
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
