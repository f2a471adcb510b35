package test

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// alarms are ten minutes of a client whose upstream is well, and of its callers.
type alarms struct {
	t     *testing.T
	rt    http.RoundTripper
	sends sync.WaitGroup

	mu      sync.Mutex // guards the below
	ids     int
	answers int

	copies int // requests that reached the upstream once more
	swaps  int
}

func (a *alarms) String() string {
	return fmt.Sprintf("%d answers, %d copies, %d swaps", a.answers, a.copies, a.swaps)
}

// send makes one request, of a caller who waits for as long as it takes.
func (a *alarms) send(ctx context.Context, method, path string) {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("hello")
	}
	req := request(ctx, method, "http://a.test"+path, body)
	a.mu.Lock()
	a.ids++
	req.Header.Set("X-Id", fmt.Sprint(method, a.ids))
	a.mu.Unlock()
	_, err := testkit.Do(a.rt, req)
	if assert.NoError(a.t, err) {
		a.mu.Lock()
		a.answers++
		a.mu.Unlock()
	}
}

// A load is what callers do, until the end.
type load func(a *alarms, until time.Time)

// workers send one request after the other, n of them, who begin that far apart.
func workers(n int, apart time.Duration, method, path string) load {
	return func(a *alarms, until time.Time) {
		for i := range n {
			a.sends.Go(func() {
				time.Sleep(time.Duration(i) * apart)
				for time.Now().Before(until) {
					a.send(a.t.Context(), method, path)
				}
			})
		}
	}
}

// each sends a request each period, whatever becomes of those before.
func each(period time.Duration, method, path string) load {
	return func(a *alarms, until time.Time) {
		a.sends.Go(func() {
			for time.Now().Before(until) {
				a.sends.Go(func() { a.send(a.t.Context(), method, path) })
				time.Sleep(period)
			}
		})
	}
}

// upstream is a server that is well, and takes as long as the path says.
func upstream(s *seer) http.Handler {
	rnd := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	poll := time.Now().Add(50 * time.Second) // answers all who wait then
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		s.see(req)
		takes := 50 * time.Millisecond
		switch req.URL.Path {
		case "/60s":
			takes = time.Minute
		case "/poll50s", "/poll10m":
			every := 50 * time.Second
			if req.URL.Path == "/poll10m" {
				every = 10 * time.Minute
			}
			mu.Lock()
			for !time.Now().Before(poll) {
				poll = poll.Add(every)
			}
			takes = time.Until(poll)
			mu.Unlock()
		case "/tail":
			mu.Lock()
			takes = min(2*time.Minute, time.Duration(2e9*math.Exp(1.2*rnd.NormFloat64())))
			mu.Unlock()
		case "/watch":
			w.(http.Flusher).Flush()
			takes = 9 * time.Minute
		}
		select {
		case <-time.After(takes):
			saysOK(w, req)
		case <-req.Context().Done():
		}
	})
}

// A healthy upstream is asked a little more often than its callers ask, and its
// transport is not replaced, however long its answers take: what it takes is learned.
// Where nothing is answered for so long that a dead transport would look the same, copies
// come after 1, 2, 4, ... s: six of them in the first 44 s of the polls of 10 min, and
// eight in the 200 s that the next ones last beyond what is known by then.
func TestPatienceReplacesNothingThatIsWell(t *testing.T) {
	const get, post = http.MethodGet, http.MethodPost
	for _, tt := range []struct {
		name          string
		loads         []load
		copies, swaps int // at most
	}{
		{"60 s to the first byte, 100 GETs at once", []load{workers(100, 0, get, "/60s")}, 6, 0},
		{"60 s to the first byte, 100 GETs spread", []load{workers(100, 600*time.Millisecond, get, "/60s")}, 6, 0},
		{"60 s to the first byte, a GET at a time", []load{workers(1, 0, get, "/60s")}, 6, 0},
		{"60 s to the first byte, 100 POSTs at once", []load{workers(100, 0, post, "/60s")}, 0, 0},
		{"60 s to the first byte, 100 POSTs spread", []load{workers(100, 600*time.Millisecond, post, "/60s")}, 0, 0},
		{"60 s to the first byte, a POST at a time", []load{workers(1, 0, post, "/60s")}, 0, 0},
		{"100 slow POSTs beside a fast GET a second", []load{workers(100, 600*time.Millisecond, post, "/60s"), each(time.Second, get, "/")}, 0, 0},
		{"3 slow POSTs beside a fast GET each 15 s", []load{workers(3, 3*time.Second, post, "/60s"), each(15*time.Second, get, "/")}, 6, 0},
		{"3 slow GETs beside a fast GET each 15 s", []load{workers(3, 3*time.Second, get, "/60s"), each(15*time.Second, get, "/")}, 6, 0},
		{"3 slow POSTs beside a fast POST each 15 s", []load{workers(3, 3*time.Second, post, "/60s"), each(15*time.Second, post, "/")}, 0, 1},
		{"long polls of 50 s, answered at once", []load{workers(20, 100*time.Millisecond, get, "/poll50s")}, 6, 0},
		{"long polls of 10 min, answered at once", []load{workers(20, 100*time.Millisecond, get, "/poll10m")}, 14, 0},
		{"watches that are silent for 9 min", []load{workers(5, time.Second, get, "/watch")}, 0, 0},
		{"a heavy tail, 10 GETs a second", []load{each(100*time.Millisecond, get, "/tail")}, 6, 0},
		{"a heavy tail, a GET a second", []load{each(time.Second, get, "/tail")}, 6, 0},
		{"a heavy tail, a POST a second", []load{each(time.Second, post, "/tail")}, 0, 1},
	} {
		for name, transport := range testkit.InCI(
			map[string]func(*testnet.Network) *http.Transport{"h1": (*testnet.Network).HTTP1, "h2": (*testnet.Network).HTTP2},
			map[string]func(*testnet.Network) *http.Transport{"h2": (*testnet.Network).HTTP2},
		) {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var s seer
					n := testnet.New(t)
					n.Serve("a.test:80", upstream(&s))
					p := testkit.NewProbe(t)
					rt := start(t, transport(n), append(observed(p), patient(5*time.Second))...)
					a := &alarms{t: t, rt: rt}
					a.send(t.Context(), get, "/")
					for _, l := range tt.loads {
						l(a, time.Now().Add(10*time.Minute))
					}
					a.sends.Wait()
					synctest.Wait()
					a.copies, a.swaps = s.twice(), int(rt.Health().Generation)-1
					t.Log(a, p.Outcomes())
					assert.LessOrEqual(t, a.copies, tt.copies)
					assert.LessOrEqual(t, a.swaps, tt.swaps)
					s.mu.Lock()
					defer s.mu.Unlock()
					for id, k := range s.seen {
						require.False(t, strings.HasPrefix(id, post) && k > 1, "a POST was processed %d times", k)
					}
				})
			})
		}
	}
}

// Deadlines that are shorter than most answers say little about the transport: answers
// of three seconds on average, spread exponentially, and callers that wait for two.
func TestDeadlinesShorterThanAnswersReplaceLittle(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(3, 4))
				var mu sync.Mutex
				n := testnet.New(t)
				n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					mu.Lock()
					takes := time.Duration(3e9 * rnd.ExpFloat64())
					mu.Unlock()
					select {
					case <-time.After(takes):
						saysOK(w, req)
					case <-req.Context().Done():
					}
				}))
				rt := start(t, n.HTTP2(), patient(5*time.Second))
				sum := flow{method: method, period: time.Second, deadline: 2 * time.Second, length: 20 * time.Minute}.run(t, rt, "http://a.test/")
				t.Log(sum, rt.Health().Generation)
				assert.LessOrEqual(t, rt.Health().Generation, uint64(3))
				assert.Greater(t, sum.sent-sum.lost, sum.sent/4)
			})
		})
	}
}

// drains serves by reading the request to its end.
var drains = http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { _, _ = io.Copy(io.Discard, req.Body) })

// A trickle is a body that gives five bytes every 70 ms.
type trickle struct{ left int }

func (b *trickle) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(70 * time.Millisecond)
	b.left--
	return copy(p, "chunk"), nil
}

// Uploads whose bodies take longer than their callers have say nothing against the
// transport: neither while a Read is under way nor between two of many.
func TestUploadsThatTrickleUntilTheirDeadlinesReplaceNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Serve("a.test:80", drains)
		rt := start(t, n.HTTP1())
		for i := range 100 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 1600*time.Millisecond)
				defer cancel()
				_, _ = testkit.Do(rt, request(ctx, http.MethodPost, "http://a.test/", &trickle{1000}))
			}()
			if i%6 == 5 {
				go func() {
					_, _ = testkit.Do(rt, request(impatient(t), http.MethodPost, "http://a.test/", strings.NewReader("x")))
				}()
			}
			time.Sleep(3300 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		assert.EqualValues(t, 1, rt.Health().Generation)
		assert.Empty(t, rt.Recreations())
	})
}

// A body that came slowly left the upstream next to no time, even if it came to its end.
func TestAnUploadThatTrickledToItsEndIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			drains.ServeHTTP(w, req)
			time.Sleep(200 * time.Millisecond)
		}))
		rt := start(t, n.HTTP2())
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			_, err := testkit.Do(rt, request(ctx, http.MethodPost, "http://a.test/", &trickle{41}))
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		assert.Empty(t, rt.Health().Streaks)
		time.Sleep(time.Second)
	})
}
