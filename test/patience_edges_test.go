package test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime"
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

// onePatience makes a client whose single silence trips, and whose patience is 5 s.
func onePatience(t *testing.T, base http.RoundTripper, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	return start(t, base, append([]respawn.Option{
		patient(5 * time.Second), respawn.WithStallThreshold(1, 0), respawn.WithFactory(stubs().Make),
	}, opts...)...)
}

// rested checks that a client has nothing in flight, and nobody under way.
func rested(t *testing.T, rt *respawn.RecoveringRoundTripper) {
	t.Helper()
	time.Sleep(2 * time.Second) // until there is a verdict on a copy that was answered
	synctest.Wait()
	assert.Zero(t, rt.Health().InFlight)
	require.NoError(t, rt.Shutdown(t.Context()))
}

// What ends at the very instant at which it is silent, or at which it would be called
// back, ends once, and nothing is left over.
func TestWhatEndsAtTheInstantOfItsSilence(t *testing.T) {
	const patience = 5 * time.Second
	for _, at := range []time.Duration{patience - 1, patience, patience + 1, patience + 100*time.Millisecond, patience + 100*time.Millisecond + 1} {
		t.Run("canceled/"+at.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := onePatience(t, staysSilent(nil))
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(at, cancel)
				if code, err := get(ctx, rt, "http://a.test/"); err != nil {
					assert.ErrorIs(t, err, context.Canceled)
				} else {
					assert.Equal(t, http.StatusOK, code) // the copy's
				}
				rested(t, rt)
			})
		})
		t.Run("answered/"+at.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := onePatience(t, answersAfter(at))
				code, err := get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				assert.Equal(t, http.StatusOK, code)
				rested(t, rt)
			})
		})
		t.Run("promoted/"+at.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := onePatience(t, staysSilent(nil))
				time.AfterFunc(at, func() { go func() { _ = rt.Recreate(context.WithoutCancel(t.Context())) }() })
				code, err := get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				assert.Equal(t, http.StatusOK, code)
				rested(t, rt)
			})
		})
		t.Run("closed/"+at.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := onePatience(t, answersAfter(patience+time.Minute))
				time.AfterFunc(at, func() { _ = rt.Close() })
				code, err := get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err, "what is in flight goes on")
				assert.Equal(t, http.StatusOK, code)
				rested(t, rt)
			})
		})
	}
}

// A panic or Goexit of the transport is its caller's, whatever was made of the request
// meanwhile.
func TestATransportThatEndsItsGoroutineAfterASilence(t *testing.T) {
	for _, tt := range []struct {
		name   string
		after  time.Duration
		copied bool // a copy is under way by then
	}{
		{"before it is silent", time.Second, false},
		{"while it is silent", 6 * time.Second, false},
		{"while its copy is on the way", 6 * time.Second, true},
	} {
		for name, end := range map[string]func(){"panic": func() { panic("the transport's") }, "Goexit": runtime.Goexit} {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					stalls := 3
					if tt.copied {
						stalls = 1
					}
					var copies atomic.Int64
					base := testkit.RoundTripperFunc(func(*http.Request) (*http.Response, error) {
						time.Sleep(tt.after)
						end()
						return nil, nil
					})
					rt := onePatience(t, base, respawn.WithStallThreshold(stalls, 0), respawn.WithFactory(testkit.Builds(func() http.RoundTripper {
						return staysSilent(func(*http.Request) { copies.Add(1) })
					}).Make))
					done := make(chan any)
					go func() {
						var panicked any = "nothing"
						defer func() { done <- panicked }()
						defer func() { panicked = recover() }()
						_, _ = get(t.Context(), rt, "http://a.test/")
						panicked = "it returned"
					}()
					want := any("the transport's")
					if name == "Goexit" {
						want = nil
					}
					assert.Equal(t, want, <-done)
					assert.Equal(t, tt.copied, copies.Load() > 0)
					rested(t, rt)
				})
			})
		}
	}
}

// A request that is accompanied is no more once it has its response, however long its
// body streams.
func TestABodyThatStreamsIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.(http.Flusher).Flush()
			select {
			case <-time.After(9 * time.Minute):
			case <-req.Context().Done():
			}
			saysOK(w, req)
		}))
		rt := start(t, n.HTTP2(), patient(5*time.Second))
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				_, err := get(t.Context(), rt, "http://a.test/")
				assert.NoError(t, err)
			})
		}
		time.Sleep(8 * time.Minute)
		assert.Empty(t, rt.Health().Streaks)
		wg.Wait()
		rested(t, rt)
	})
}

// informs says those informational responses, one each pause, and is silent then.
func informs(codes []int, pause time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		for _, code := range codes {
			time.Sleep(pause)
			w.WriteHeader(code)
		}
		<-req.Context().Done()
	})
}

// An informational response is no answer.
func TestSilenceAfterAnInformationalResponseIsNoticed(t *testing.T) {
	overDraws(t, 40, func(t *testing.T, d draw) {
		var codes []int
		for range 1 + d.IntN(3) {
			codes = append(codes, oneOf(d, http.StatusContinue, http.StatusProcessing, http.StatusEarlyHints))
		}
		n := testnet.New(t)
		n.Serve("dark.test:80", informs(codes, d.between(0, 300*time.Millisecond)))
		n.Serve("a.test:80", http.HandlerFunc(saysOK))
		transport := oneOf(d, n.HTTP1, n.HTTP2)
		base := transport()
		base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return n.DialContext(ctx, network, "dark.test:80")
		}
		rt := start(t, base, append(d.options(), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return transport() }).Make))...)
		f := flow{method: oneOf(d, http.MethodGet, http.MethodPost), period: d.between(90*time.Millisecond, 2*time.Second), length: 30 * time.Second}
		if d.chance(0.6) {
			f.deadline = d.between(1100*time.Millisecond, time.Minute)
		}
		sum, most := f.run(t, rt, "http://a.test/"), f.most(6*time.Second)
		if f.deadline > 0 && f.deadline < 9*time.Second { // its deadline speaks for it, thrice
			within := max(6*time.Second, f.deadline) + time.Second + max(time.Second, 2*f.period)
			most = bound{int(within/f.period) + 2, within + 2*f.period}
		}
		t.Log(f, codes, sum)
		assert.LessOrEqual(t, sum.lost, most.lost)
		assert.LessOrEqual(t, sum.first, most.first)
		assert.NotZero(t, sum.first)
		assert.EqualValues(t, 2, rt.Health().Generation)
		base.CloseIdleConnections()
		rt.CloseIdleConnections()
	})
}

// nothingCounts checks that nothing is held against anybody. What nobody has watched
// may be suspected.
func nothingCounts(t *testing.T, rt *respawn.RecoveringRoundTripper) {
	t.Helper()
	for _, s := range rt.Health().Streaks {
		assert.Zero(t, s.Stalls+s.Failures)
	}
}

// Who waits for a place in a pool is not silent, and when it has one its wait begins.
func TestAWaitForAPlaceIsNoSilence(t *testing.T) {
	for _, tt := range []struct {
		method string
		replay respawn.Replay
	}{{http.MethodGet, respawn.ReplayIdempotent}, {http.MethodPost, respawn.ReplayIdempotent}, {http.MethodGet, respawn.ReplayNever}} {
		for _, deadline := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 0} {
			t.Run(tt.method+" "+tt.replay.String()+" "+deadline.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := testnet.New(t)
					a := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						if req.URL.Path == "/stream" {
							w.(http.Flusher).Flush()
							<-req.Context().Done()
							return
						}
						time.Sleep(4 * time.Second) // each is less than a patience
						saysOK(w, req)
					}))
					base := n.HTTP1()
					base.MaxConnsPerHost = 1
					rt := start(t, base, patient(5*time.Second), respawn.WithReplay(tt.replay))
					stream, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/stream", nil))
					require.NoError(t, err)
					var wg sync.WaitGroup
					for i := range 20 {
						wg.Go(func() {
							ctx := t.Context()
							time.Sleep(time.Duration(i) * 100 * time.Millisecond)
							if deadline > 0 {
								var cancel context.CancelFunc
								ctx, cancel = context.WithTimeout(ctx, deadline)
								defer cancel()
							}
							_, err := testkit.Do(rt, request(ctx, tt.method, "http://a.test/", nil))
							assert.Equal(t, deadline == 0, err == nil)
						})
					}
					time.Sleep(2 * time.Minute)
					nothingCounts(t, rt)
					require.NoError(t, stream.Body.Close())
					wg.Wait()
					nothingCounts(t, rt)
					assert.EqualValues(t, 1, rt.Health().Generation)
					assert.LessOrEqual(t, a.Dials(), 2)
					rested(t, rt)
				})
			})
		}
	}
}

// A request body that its caller is slow to give is nobody's silence.
func TestASlowRequestBodyIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := onePatience(t, &testkit.Stub{})
		body, w := io.Pipe()
		go func() {
			for _, pause := range []time.Duration{4, 12, 4, 4, 12} {
				time.Sleep(pause * time.Second)
				assert.Empty(t, rt.Health().Streaks)
				_, _ = w.Write([]byte("x"))
			}
			_ = w.Close()
		}()
		_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", body))
		require.NoError(t, err)
		assert.EqualValues(t, 1, rt.Health().Generation)
		assert.Empty(t, rt.Recreations())
		rested(t, rt)
	})
}

// What must not be in two places is not copied while it waits. What may be sent again is
// moved once others have proved a fresh transport; the rest stays where it is.
func TestWhatIsCopiedAndMovedWhileItWaits(t *testing.T) {
	keyed := func(req *http.Request) { req.Header.Set("Idempotency-Key", "k") }
	upgrade := func(req *http.Request) {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "echo")
	}
	upgradeAsItIs := func(req *http.Request) { req.Header["upgrade"] = []string{"echo"} }
	for _, tt := range []struct {
		name, method  string
		body          []byte
		with          func(*http.Request)
		replay        respawn.Replay
		copied, moved bool
	}{
		{name: "GET", method: http.MethodGet, copied: true, moved: true},
		{name: "HEAD", method: http.MethodHead, copied: true, moved: true},
		{name: "GET with Upgrade", method: http.MethodGet, with: upgrade, moved: true},
		{name: "GET with a key that net/http sends as it is", method: http.MethodGet, with: upgradeAsItIs, moved: true},
		{name: "GET with a body", method: http.MethodGet, body: []byte("body"), moved: true},
		{name: "PUT with an Idempotency-Key", method: http.MethodPut, body: []byte("body"), with: keyed, moved: true},
		{name: "POST with an Idempotency-Key", method: http.MethodPost, with: keyed, moved: true},
		{name: "POST", method: http.MethodPost, body: []byte("body")},
		{name: "GET, ReplayUnsent", method: http.MethodGet, replay: respawn.ReplayUnsent},
		{name: "GET, ReplayNever", method: http.MethodGet, replay: respawn.ReplayNever},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				seen := map[string]int{} // on fresh transports, by path
				fresh := testkit.Builds(func() http.RoundTripper {
					return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
						got := []byte(nil)
						if req.Body != nil {
							got, _ = io.ReadAll(req.Body)
						}
						mu.Lock()
						defer mu.Unlock()
						seen[req.URL.Path]++
						if req.URL.Path == "/waits" {
							assert.True(t, bytes.Equal(tt.body, got))
						}
						return testkit.Answer(req)
					})
				})
				rt := start(t, staysSilent(nil), patient(5*time.Second), respawn.WithFactory(fresh.Make), respawn.WithReplay(tt.replay))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var body io.Reader
				sent := track(bytes.NewReader(tt.body))
				if tt.body != nil {
					body = sent
				}
				req := request(ctx, tt.method, "http://a.test/waits", body)
				if tt.body != nil {
					req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(tt.body)), nil }
				}
				if tt.with != nil {
					tt.with(req)
				}
				answered := make(chan error, 1)
				go func() { _, err := testkit.Do(rt, req); answered <- err }()
				time.Sleep(time.Minute)
				mu.Lock()
				assert.Equal(t, tt.copied, seen["/waits"] > 0)
				mu.Unlock()
				// Others prove a fresh transport, each kind in its own way.
				for range 5 {
					c, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					_, _ = testkit.Do(rt, request(c, http.MethodPost, "http://a.test/others", nil))
					cancel()
				}
				require.EqualValues(t, 2, rt.Health().Generation)
				synctest.Wait()
				select {
				case err := <-answered:
					assert.True(t, tt.moved)
					require.NoError(t, err)
					mu.Lock()
					assert.Equal(t, 1, seen["/waits"])
					mu.Unlock()
				default:
					assert.False(t, tt.moved)
					cancel()
					require.ErrorIs(t, <-answered, context.Canceled)
					assert.Zero(t, seen["/waits"])
				}
				if tt.body != nil {
					assert.EqualValues(t, 1, sent.closes.Load())
				}
				rested(t, rt)
			})
		})
	}
}

// A control that is answered while its copy's answer waits for the verdict is its
// caller's, and keeps its transport.
func TestAControlThatIsAnsweredBeforeTheVerdictKeepsItsTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := onePatience(t, answersAfter(5050*time.Millisecond), observed(p)...)
		begin := time.Now()
		code, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, code)
		assert.Equal(t, 5050*time.Millisecond, time.Since(begin))
		rested(t, rt)
		assert.Equal(t, map[string]int{"silence rejected": 1}, p.Outcomes())
		assert.EqualValues(t, 1, rt.Health().Generation)
	})
}

// A silence is no failure: nothing has failed yet.
func TestASilenceIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := onePatience(t, staysSilent(nil), observed(p)...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		time.Sleep(2 * time.Second) // until the verdict
		synctest.Wait()
		assert.Equal(t, map[string]int{"silence promoted": 1}, p.Outcomes())
		assert.Nil(t, rt.Health().LastFailure)
		assert.Zero(t, p.Total("respawn.transport.failures"))
	})
}

// An answer that took more than half of a patience teaches, though nothing is suspected:
// what comes after it has twice as long.
func TestASlowAnswerTeachesPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, script(answersAfter(4*time.Second).RoundTrip, staysSilent(nil).RoundTrip), patient(5*time.Second), respawn.WithFactory(fails))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _, _ = get(ctx, rt, "http://a.test/") }()
		time.Sleep(7999 * time.Millisecond)
		assert.Empty(t, rt.Health().Streaks)
		assert.Empty(t, rt.Health().Late)
		time.Sleep(time.Millisecond)
		require.Len(t, rt.Health().Late, 1)
		assert.Equal(t, 8*time.Second, rt.Health().Late[0].Patience)
		time.Sleep(2 * time.Second) // it is looked at once in a patience of the client's
		synctest.Wait()
		require.Len(t, rt.Health().Streaks, 1)
		assert.Equal(t, 1, rt.Health().Streaks[0].Stalls)
	})
}

// Health tells who is late, and what was learnt.
func TestHealthTellsWhoIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := start(t, answersAfter(12*time.Second), patient(5*time.Second), respawn.WithFactory(fails))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Empty(t, rt.Health().Late)
		for _, host := range []string{"b.test", "a.test"} {
			go func() { _, _ = get(t.Context(), rt, "http://"+host+"/") }()
		}
		time.Sleep(11 * time.Second)
		late := rt.Health().Late
		assert.Equal(t, []respawn.LateHealth{{Authority: "http://b.test:80", Waiting: 1, Longest: 11 * time.Second, Patience: 5 * time.Second}}, late)
		b, err := json.Marshal(late)
		require.NoError(t, err)
		assert.JSONEq(t, `[{"authority":"http://b.test:80","waiting":1,"longest_seconds":11,"patience_seconds":5}]`, string(b))
		time.Sleep(time.Minute)
		assert.Empty(t, rt.Health().Late)
	})
}

// Without patience, or without stalls, only deadlines that pass count.
func TestPatienceCanBeTurnedOff(t *testing.T) {
	for name, off := range map[string]respawn.Option{
		"WithPatience(0)": respawn.WithPatience(0), "WithStallThreshold(0)": respawn.WithStallThreshold(0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen *http.Request
				rt := onePatience(t, staysSilent(func(req *http.Request) { seen = req }), off)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Hour, cancel)
				req := request(ctx, http.MethodGet, "http://a.test/", nil)
				_, err := testkit.Do(rt, req)
				require.ErrorIs(t, err, context.Canceled)
				assert.Same(t, req, seen)
				assert.Empty(t, rt.Health().Streaks)
				assert.EqualValues(t, 1, rt.Health().Generation)
			})
		})
	}
}
