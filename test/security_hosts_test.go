package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// Hosts that a stranger chooses, by redirects or because the program sends where
// it is told to.

// mostStreaks is how many authorities a client remembers.
const mostStreaks = 256

// downBut answers as that one host does, and refuses all others.
func downBut(host string) http.RoundTripper {
	return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Host == host {
			return testkit.Answer(req)
		}
		return nil, testkit.Refused()
	})
}

func TestANameIsFitForEveryOutput(t *testing.T) {
	assert.Equal(t, "\ufffd.test", start(t, nil, respawn.WithName("\xff.test")).Health().Name)
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
func TestWhatIsRememberedLetsGoOfURLs(t *testing.T) {
	path := strings.Repeat("x", 1<<16)
	flood := func(t *testing.T, rt *respawn.RecoveringRoundTripper) {
		grown := heapAfter(func() {
			for i := range 2 * mostStreaks {
				_, err := get(t.Context(), rt, fmt.Sprintf("http://%d.test/%s", i, path))
				require.Error(t, err)
			}
		})
		require.Len(t, rt.Health().Streaks, mostStreaks)
		assert.Less(t, grown, int64(2<<20), "%d URLs of 64 KiB", mostStreaks)
		runtime.KeepAlive(rt)
	}
	t.Run("each fails once", func(t *testing.T) {
		flood(t, start(t, testkit.Dead(testkit.Refused()), respawn.WithReplay(respawn.ReplayNever),
			respawn.WithFactory(testkit.Fails(io.ErrClosedPipe).Make)))
	})
	t.Run("each trips, and tries", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			flood(t, start(t, testkit.Dead(testkit.Refused()), every(time.Second),
				respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return testkit.Dead(testkit.Refused()) }).Make)))
		})
	})
}

// A million host names, next to a host that matters and whose transport dies
// among them: the table and the heap stay within their bounds, no more
// transports are built than the backoff allows, and that host recovers. It is
// one request in a hundred: the table can hold what is one in 256.
func TestAMillionHosts(t *testing.T) {
	const interval, batch, pause = time.Second, 100, 100 * time.Millisecond
	hosts := testkit.InCI(20_000, 5_000)
	if os.Getenv("RESPAWN_FULL") != "" {
		hosts = 1_000_000
	}
	for name, replay := range map[string]respawn.Replay{"each fails once": respawn.ReplayNever, "each trips": respawn.ReplayIdempotent} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tunnelDead atomic.Bool
				serve := func(fresh bool) http.RoundTripper {
					well := downBut("good.test")
					return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
						if tunnelDead.Load() && !fresh {
							return nil, testkit.Refused()
						}
						return well.RoundTrip(req)
					})
				}
				f := testkit.Builds(func() http.RoundTripper { return serve(true) })
				rt := start(t, serve(false), respawn.WithFactory(f.Make), respawn.WithReplay(replay), every(interval))
				began, most, lost := time.Now(), 0, 0
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
						// first when the backoff allows a build.
						_, err = get(t.Context(), rt, "http://good.test/")
						switch {
						case died.IsZero():
							require.NoError(t, err)
						case err != nil:
							lost++
						case recovered.IsZero():
							recovered = time.Now()
						}
						most = max(most, len(rt.Health().Streaks))
						time.Sleep(pause)
					}
				})
				assert.LessOrEqual(t, most, mostStreaks)
				assert.Less(t, grown, int64(2<<20))
				require.False(t, recovered.IsZero(), "it never recovered")
				if replay == respawn.ReplayNever {
					// The others trip nothing: the first three requests are the
					// threshold, the fourth is served by what is built at once,
					// and the fifth is the control that is lost.
					assert.Equal(t, 3*pause, recovered.Sub(died))
					assert.Equal(t, 4, lost)
					assert.EqualValues(t, 1, f.Calls.Load(), "transports built")
				} else {
					assert.LessOrEqual(t, recovered.Sub(died), interval)
					assert.LessOrEqual(t, f.Calls.Load(), 1+int64(time.Since(began)/interval), "transports built")
				}
				t.Logf("%d hosts in %s: %d streaks at most, %d bytes more on the heap, %d transports built; recovered after %s, %d lost",
					hosts, time.Since(began), most, grown, f.Calls.Load(), recovered.Sub(died), lost)
			})
		})
	}
}

// told is all that a client has told anybody but its callers, by where.
func told(t *testing.T, p *testkit.Probe, rt *respawn.RecoveringRoundTripper) map[string]string {
	t.Helper()
	var logs, spans strings.Builder
	for _, r := range p.Logs(nil) {
		fmt.Fprintln(&logs, r.Message, r.Attrs)
	}
	for _, s := range p.Spans() {
		fmt.Fprintln(&spans, s.Name(), s.Attributes(), s.Events(), s.Links(), s.Status())
	}
	health, err := json.Marshal(rt.Health())
	require.NoError(t, err)
	records, err := json.Marshal(rt.Recreations())
	require.NoError(t, err)
	metrics, err := json.Marshal(p.Metrics())
	require.NoError(t, err)
	return map[string]string{
		"logs": logs.String(), "spans": spans.String(), "health": string(health), "records": string(records), "metrics": string(metrics),
	}
}

// What follows a redirect is the other host's own: a failure there says nothing
// about the host that sent it, and the other way round.
func TestRedirectsCarryNoStreak(t *testing.T) {
	const secret = "hunter2.Secret"
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		var to atomic.Pointer[string]
		redirect := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, *to.Load(), http.StatusFound) })
		n.Serve("a.test:80", redirect)
		b := n.Serve("b.test:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
		n.Serve("c.test:80", redirect)
		b.Set(testnet.Faults{Refuse: true})
		p := testkit.NewProbe(t)
		f := testkit.Builds(func() http.RoundTripper { return n.HTTP1() })
		rt := start(t, n.HTTP1(), append(observed(p), respawn.WithFactory(f.Make), respawn.WithReplay(respawn.ReplayNever), every(time.Minute))...)
		client := &http.Client{Transport: rt}
		tracer := p.TracerProvider().Tracer("caller")
		follow := func(from, target string) error {
			to.Store(&target)
			ctx, span := tracer.Start(t.Context(), from, trace.WithSpanKind(trace.SpanKindClient))
			defer span.End()
			resp, err := client.Do(request(ctx, http.MethodGet, from, nil))
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
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

		// Its trial is refused; a and c stay as they are.
		require.Error(t, follow("http://a.test/", "http://b.test/"))
		synctest.Wait()
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.EqualValues(t, 1, rt.Health().Generation)
		seen := 0
		for _, s := range p.Spans() {
			if s.Name() == "HTTP transport_recreation" {
				seen++
				assert.Equal(t, "b.test", testkit.Attributes(s.Attributes())["server.address"])
			}
		}
		assert.Equal(t, 1, seen)

		// And b's answers end no streak of another's.
		b.Set(testnet.Faults{})
		require.Error(t, follow("http://a.test/", "http://nowhere-1.test:1/"), "no such host is no failure of the transport")
		time.Sleep(time.Minute)
		require.NoError(t, follow("http://a.test/", "http://b.test/"))
		synctest.Wait()
		assert.Empty(t, rt.Health().Streaks)
		for where, text := range told(t, p, rt) {
			assert.NotEmpty(t, text, where)
			assert.NotContains(t, text, secret, where)
		}
	})
}
