package test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// What others have reported of net/http and of clients around it, each for its kind: none
// of it speaks against a transport.

// Streams hold all the connections that there may be, and whoever waits for one runs into a
// deadline, or waits on: that is the caller's own limit, also where a wrapper says whose pool
// it is.
func TestWhoWaitsForAPlaceInItsOwnPoolIsNotStalled(t *testing.T) {
	overDraws(t, 40, func(t *testing.T, d draw) {
		n := testnet.New(t)
		host := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/stream" {
				_ = http.NewResponseController(w).Flush()
				<-req.Context().Done()
			}
		}))
		places, isWrapped := 1+d.IntN(4), d.chance(0.5)
		limited := func() http.RoundTripper {
			tr := n.HTTP1()
			tr.MaxConnsPerHost = places
			if isWrapped {
				return &wrapped{&wrapped{tr}}
			}
			return tr
		}
		f := testkit.Builds(limited)
		fallback, _ := d.mayHaveFallback()
		rt := start(t, limited(), append(append(d.options(), fallback...), respawn.WithFactory(f.Make))...)
		var streams []io.Closer
		for range places {
			stream, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/stream", nil))
			require.NoError(t, err)
			streams = append(streams, stream.Body)
		}
		var wg sync.WaitGroup
		for range 4 + d.IntN(20) {
			method := oneOf(d, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut)
			ctx, cancel, limit := t.Context(), context.CancelFunc(func() {}), d.chance(0.75)
			if limit {
				ctx, cancel = context.WithTimeout(ctx, d.between(300*time.Millisecond, 40*time.Second))
			}
			wg.Go(func() {
				defer cancel()
				_, err := testkit.Do(rt, request(ctx, method, "http://a.test/", nil))
				if limit {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
				} else {
					assert.NoError(t, err, "it has the place of a stream that has ended")
				}
			})
			time.Sleep(d.between(0, 2*time.Second))
		}
		time.Sleep(time.Minute)
		assert.Equal(t, places, host.Dials(), "so many connections are the limit")
		for _, s := range streams {
			require.NoError(t, s.Close())
		}
		wg.Wait()
		synctest.Wait()
		assert.LessOrEqual(t, host.Open(), places)
		assert.EqualValues(t, 1, rt.Health().Generation)
		assert.Zero(t, f.Calls.Load())
		rt.CloseIdleConnections()
	})
}

// brokenOff draws an answer that does not get to its end: any number of 1xx, and any part of
// what would be one. whole says that no part of that is there.
func brokenOff(d draw) (said string, whole bool) {
	for range d.IntN(4) {
		said += oneOf(d, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
	}
	if d.chance(0.4) {
		return said, true
	}
	answer := oneOf(d, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n")
	return said + answer[:1+d.IntN(len(answer))], false
}

// hangsUp serves each connection by saying that, and closing or resetting it after a while.
func hangsUp(n *testnet.Network, said string, after time.Duration, reset bool) *testnet.Host {
	l := n.Listen("a.test:80")
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			go func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, said)
				time.Sleep(after)
				if reset {
					_ = conn.(*testnet.Conn).SetLinger(0)
				}
			}()
		}
	}()
	return l
}

// An upstream that hangs up within its answer, or after a 1xx, has answered nobody: a
// fresh transport on which it does the same is none that works.
func TestAnAnswerThatBreaksOffProvesNothing(t *testing.T) {
	overDraws(t, 50, func(t *testing.T, d draw) {
		n := testnet.New(t)
		said, whole := brokenOff(d)
		l := hangsUp(n, said, d.between(0, 500*time.Millisecond), d.chance(0.3))
		fallback, diverts := d.mayHaveFallback()
		interval := d.between(300*time.Millisecond, time.Second)
		rt := start(t, n.HTTP1(), append(append(d.options(), fallback...), every(interval))...)
		posts, gap := d.Float64(), d.between(20*time.Millisecond, 400*time.Millisecond)
		for range 50 + d.IntN(100) {
			method := http.MethodGet
			if d.chance(posts) {
				method = http.MethodPost
			}
			_, err := testkit.Do(rt, request(t.Context(), method, "http://a.test/", nil))
			require.True(t, diverts || err != nil)
			time.Sleep(gap)
		}
		assert.EqualValues(t, 1, rt.Health().Generation, "%q", said)
		if whole { // the rest net/http may call malformed, which is the answer's fault
			assert.Positive(t, rt.Health().Rejections, "candidates were tried, and refused")
		}
		require.NoError(t, l.Close())
		time.Sleep(time.Second) // until it has hung up
	})
}

// What others have reported of transports that are dead, and that nothing replaced.

// Callers that give up by themselves, as a proxy whose client has gone, leave no deadline
// behind that passed, and yet nobody answered any of them.
func TestCallersThatLeaveShowThatATransportIsDead(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dead := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
					<-req.Context().Done()
					return nil, req.Context().Err()
				})
				f := stubs()
				rt := start(t, dead, respawn.WithFactory(f.Make))
				lost := 0
				for range 20 {
					ctx, leave := context.WithCancel(t.Context())
					timer := time.AfterFunc(3*time.Second, leave)
					if _, err := testkit.Do(rt, request(ctx, method, "http://a.test/", nil)); err != nil {
						lost++
					}
					timer.Stop()
					leave()
				}
				assert.EqualValues(t, 2, rt.Health().Generation)
				assert.LessOrEqual(t, lost, 5)
			})
		})
	}
}

// A dial that hangs goes on when its request has gone, and keeps its place in the pool.
// Where such dials hold every place, all others wait for one, which is no stall.
func TestDialsThatHangAndHoldEveryPlaceAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 2
		hangs := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.ConnectStart != nil {
				trace.ConnectStart(network, addr) // as net.Dialer says that it dials
			}
			time.Sleep(30500 * time.Millisecond) // no dial ends in the instant in which a caller leaves
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
		}
		f := stubs()
		rt := start(t, &http.Transport{DialContext: hangs, MaxConnsPerHost: places}, respawn.WithFactory(f.Make))
		began := time.Now()
		for rt.Health().Generation == 1 && time.Since(began) < 10*time.Minute {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _ = testkit.Do(rt, request(ctx, http.MethodGet, "http://a.test/", nil))
			cancel()
		}
		assert.EqualValues(t, 2, rt.Health().Generation)
		assert.LessOrEqual(t, time.Since(began), 39*time.Second) // once the first of them have let go, and a patience later
		time.Sleep(time.Minute)                                  // the dials end
	})
}

// Where a pool has limited places, only net's hooks tell a dial from a wait for a place. A
// tunnel's dialer fires none: its dial that hangs is no stall. One that fails counts as ever.
func TestADialerWithoutHooksNeedsATimeLimitWhereThePoolHasPlaces(t *testing.T) {
	for name, tt := range map[string]struct {
		limit      time.Duration
		generation uint64
	}{"none": {0, 1}, "within a deadline": {500 * time.Millisecond, 2}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tunnel := func(ctx context.Context, _, _ string) (net.Conn, error) {
					if tt.limit > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, tt.limit)
						defer cancel()
					}
					<-ctx.Done()
					return nil, ctx.Err()
				}
				rt := start(t, &http.Transport{DialContext: tunnel, MaxConnsPerHost: 8}, respawn.WithFactory(stubs().Make))
				for i := range 8 {
					deadline := time.Second
					if i%2 == 1 {
						deadline = time.Minute // longer than the patience
					}
					ctx, cancel := context.WithTimeout(t.Context(), deadline)
					_, _ = testkit.Do(rt, request(ctx, http.MethodGet, "http://a.test/", nil))
					cancel()
				}
				assert.Equal(t, tt.generation, rt.Health().Generation)
			})
		})
	}
}

// Over unencrypted HTTP/2, net/http looks for a connection twice, and tells of one. A request
// that shares a dead connection does not wait for a place, whatever the protocol. Over HTTP/1 the
// only connection is closed with the request that waited there, once its copy is answered, and what
// follows has another one: nothing is left to be replaced.
func TestABlackHoleIsReplacedWhereThePoolHasPlaces(t *testing.T) {
	for protocol, generation := range map[string]int{"HTTP/1": 1, "HTTP/2": 2, "HTTP/2 over TLS": 2} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
				base, host, url := n.HTTP2(), (*testnet.Host)(nil), "http://a.test/"
				if protocol == "HTTP/2 over TLS" {
					host, url = n.ServeTLS("a.test:443", handler), "https://a.test/"
				} else {
					host = n.Serve("a.test:80", handler)
				}
				if protocol == "HTTP/1" {
					base = n.HTTP1()
				}
				base.MaxConnsPerHost = 1
				rt := start(t, base)
				_, err := get(t.Context(), rt, url)
				require.NoError(t, err)
				for _, link := range host.Links() {
					link.Set(testnet.Faults{Drop: testnet.Both})
				}
				for range 3 {
					go func() { _, _ = get(t.Context(), rt, url) }()
				}
				time.Sleep(30 * time.Second)
				synctest.Wait()
				assert.EqualValues(t, generation, rt.Health().Generation)
				assert.Zero(t, rt.Health().InFlight, "all are answered")
			})
		})
	}
}
