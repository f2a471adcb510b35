package respawn

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

// This file is about hosts that an attacker chooses, by redirects or because the
// program sends where it is told to.

// maxStreaks is how many authorities the client remembers.
const maxStreaks = 256

func TestNameIsFitForEveryOutput(t *testing.T) {
	assert.Equal(t, "\ufffd.test", start(t, nil, WithName("\xff.test")).Health().Name)
}

// heapAfter is what f leaves on the heap, in bytes.
func heapAfter(f func()) int64 {
	use := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // for what the first one has finalized
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := use()
	f()
	return use() - before
}

// A streak remembers an authority, not the URL that it was a part of.
func TestStreaksLetGoOfURLs(t *testing.T) {
	rt := start(t, dead(refused()), WithFactory(fails), WithReplay(ReplayNever))
	path := strings.Repeat("x", 1<<16)
	grown := heapAfter(func() {
		for i := range 4 * maxStreaks {
			_, err := get(t.Context(), rt, fmt.Sprintf("http://%d.test/%s", i, path))
			require.Error(t, err)
		}
	})
	require.Len(t, rt.Health().Streaks, maxStreaks)
	assert.Less(t, grown, int64(1<<20), "%d URLs of 64 KiB", maxStreaks)
	runtime.KeepAlive(rt)
}

// A million host names, next to a host that matters and whose transport dies
// among them: the table and the heap stay within their bounds, no more
// transports are built than the backoff allows, and that host recovers. It is
// one request in a hundred: the table can hold what is one in 256.
func TestAMillionHosts(t *testing.T) {
	const interval, batch = time.Second, 100
	hosts := 100_000
	if os.Getenv("RESPAWN_FULL") != "" {
		hosts = 1_000_000
	}
	for name, replay := range map[string]Replay{"each fails once": ReplayNever, "each trips": ReplayIdempotent} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tunnelDead atomic.Bool
				serve := func(fresh bool) http.RoundTripper {
					return rtFunc(func(req *http.Request) (*http.Response, error) {
						if req.URL.Host != "good.test" || tunnelDead.Load() && !fresh {
							return nil, refused()
						}
						return answer(req)
					})
				}
				f := builds(func() http.RoundTripper { return serve(true) })
				rt := start(t, serve(false), WithFactory(f.make), WithReplay(replay), every(interval))
				began, most := time.Now(), 0
				var died, recovered time.Time
				grown := heapAfter(func() {
					for i := range hosts {
						_, err := get(t.Context(), rt, fmt.Sprintf("http://%d.test/", i))
						require.Error(t, err)
						if i%batch > 0 {
							continue
						}
						if i == hosts/2 {
							tunnelDead.Store(true)
							died = time.Now()
						}
						// After the others at each instant: they are there
						// first when the backoff allows a trial.
						_, err = get(t.Context(), rt, "http://good.test/")
						if err == nil && !died.IsZero() && recovered.IsZero() {
							recovered = time.Now()
						}
						most = max(most, len(rt.Health().Streaks))
						time.Sleep(100 * time.Millisecond)
					}
				})
				assert.LessOrEqual(t, most, maxStreaks)
				assert.Less(t, grown, int64(2<<20))
				assert.LessOrEqual(t, f.calls.Load(), 1+int64(time.Since(began)/interval), "transports built")
				require.False(t, recovered.IsZero(), "it never recovered")
				assert.LessOrEqual(t, recovered.Sub(died), 3*interval)
				t.Logf("%d hosts in %s: %d streaks at most, %d bytes more on the heap, %d transports built; recovered after %s",
					hosts, time.Since(began), most, grown, f.calls.Load(), recovered.Sub(died))
			})
		})
	}
}

// Hosts that are down and always asked for first do not keep one from its trial
// whose transport is dead: trials go round, whether its callers come again or
// wait.
func TestTrialsTakeTurns(t *testing.T) {
	const down = 5
	for name, opts := range map[string][]Option{"come again": nil, "wait": {WithWaitForReady(time.Minute)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				serve := func(fresh bool) http.RoundTripper {
					return rtFunc(func(req *http.Request) (*http.Response, error) {
						if fresh && req.URL.Host == "good.test" {
							return answer(req)
						}
						return nil, refused()
					})
				}
				f := builds(func() http.RoundTripper { return serve(true) })
				rt := start(t, serve(false), append(opts, WithFactory(f.make), every(time.Second))...)
				var recovered atomic.Bool
				var callers sync.WaitGroup
				ask := func(host string) { // whoever waits holds up nobody
					callers.Go(func() {
						_, err := get(t.Context(), rt, "http://"+host)
						recovered.Store(recovered.Load() || err == nil)
					})
					synctest.Wait()
				}
				began := time.Now()
				for i := 0; !recovered.Load() && i < 1000; i++ {
					for n := range down {
						ask(fmt.Sprintf("down-%d.test", n))
					}
					if i >= 10 {
						ask("good.test")
					}
					time.Sleep(100 * time.Millisecond)
				}
				assert.True(t, recovered.Load(), "it never had its turn")
				assert.LessOrEqual(t, time.Since(began), time.Second+(down+2)*time.Second)
				callers.Wait()
			})
		})
	}
}

// What follows a redirect is the other host's own: a failure there says nothing
// about the host that sent it, and the other way round.
func TestRedirectsCarryNoStreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var to atomic.Pointer[string]
		redirect := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, *to.Load(), http.StatusFound) })
		n.serve("a.test:80", redirect)
		b := n.serve("b.test:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
		n.serve("c.test:80", redirect)
		b.set(true)
		o := newOutputs(t)
		f := builds(func() http.RoundTripper { return n.h1() })
		rt := start(t, n.h1(), append(o.options(), WithFactory(f.make), WithReplay(ReplayNever), every(time.Minute))...)
		client := &http.Client{Transport: rt}
		tracer := o.tracers.Tracer("caller")
		follow := func(from, target string) error {
			to.Store(&target)
			ctx, span := tracer.Start(t.Context(), from, trace.WithSpanKind(trace.SpanKindClient))
			defer span.End()
			resp, err := client.Do(mustRequest(ctx, http.MethodGet, from, nil))
			if err == nil {
				resp.Body.Close()
			}
			return err
		}

		// Two by way of a, one by way of c: three of b, none of the others.
		for _, from := range []string{"http://a.test/", "http://a.test/", "http://c.test/"} {
			require.Error(t, follow(from, "http://b.test/landing?token="+secret))
			time.Sleep(time.Second)
		}
		streaks := rt.Health().Streaks
		require.Len(t, streaks, 1)
		assert.Equal(t, "http://b.test:80", streaks[0].Authority)
		assert.Equal(t, 3, streaks[0].Failures)
		assert.True(t, streaks[0].Tripped)

		// Its trial is rejected; a and c stay as they are.
		require.Error(t, follow("http://a.test/", "http://b.test/"))
		assert.EqualValues(t, 1, f.calls.Load())
		assert.EqualValues(t, 1, rt.Health().Generation)
		for _, s := range o.spans.Ended() {
			if s.InstrumentationScope().Name == scopeName {
				assert.Equal(t, "b.test", attributesOf(s.Attributes())["server.address"])
			}
		}

		// And b's answers end no streak of another's.
		b.set(false)
		require.Error(t, follow("http://a.test/", "http://nowhere-1.test:1/"), "no such host is no failure of the transport")
		time.Sleep(time.Minute)
		require.NoError(t, follow("http://a.test/", "http://b.test/"))
		assert.Empty(t, rt.Health().Streaks)
		for name, text := range o.texts(rt) {
			assert.NotContains(t, text, secret, name)
		}
		settle()
	})
}

// A host that is asked for now and then has its turn, too, however many others
// are asked for at every moment.
func TestSeldomAskedHostHasItsTurn(t *testing.T) {
	for _, period := range []time.Duration{900 * time.Millisecond, 1700 * time.Millisecond, 2500 * time.Millisecond, 5 * time.Second} {
		t.Run(period.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				serve := func(fresh bool) http.RoundTripper {
					return rtFunc(func(req *http.Request) (*http.Response, error) {
						if fresh && req.URL.Host == "good.test" {
							return answer(req)
						}
						return nil, refused()
					})
				}
				rt := start(t, serve(false), WithFactory(builds(func() http.RoundTripper { return serve(true) }).make), every(time.Second))
				began := time.Now()
				next := began.Add(2550 * time.Millisecond)
				for n := 0; time.Since(began) < time.Minute; n++ {
					_, err := get(t.Context(), rt, fmt.Sprintf("http://%d.test/", n))
					require.Error(t, err)
					if time.Now().After(next) {
						next = next.Add(period)
						if _, err := get(t.Context(), rt, "http://good.test/"); err == nil {
							return
						}
					}
					time.Sleep(200 * time.Millisecond)
				}
				t.Error("it never had its turn")
			})
		})
	}
}

// Callers of a host that is known to be down do not wait for another's trial.
func TestKnownToBeDownWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve := rtFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "slow.test" { // nothing answers its dials
				time.Sleep(9 * time.Second)
			}
			return nil, refused()
		})
		rt := start(t, serve, WithFactory(builds(func() http.RoundTripper { return rtFunc(serve) }).make), doubling())
		ask := func() {
			for range 60 {
				began := time.Now()
				_, err := get(t.Context(), rt, "http://down.test/")
				require.Error(t, err)
				require.Zero(t, time.Since(began))
				time.Sleep(time.Second)
			}
		}
		ask()
		var slow sync.WaitGroup
		slow.Go(func() { _, _ = get(t.Context(), rt, "http://slow.test/") })
		ask()
		slow.Wait()
	})
}
