package test

import (
	"context"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/testnet"
)

// Behind a proxy callers have no deadline: they hang up. That after a second or more
// without an answer is a stall, too.
func TestCallersThatHangUpAreStalls(t *testing.T) {
	for _, tt := range []struct {
		give time.Duration
		most bound
	}{
		{3 * time.Second, bound{46, 6 * time.Second}},
		{30 * time.Second, bound{0, 7 * time.Second}},
	} {
		t.Run(tt.give.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				a := n.Serve("a.test:80", http.HandlerFunc(saysOK))
				rt := start(t, n.HTTP2(), patient(5*time.Second))
				proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "a.test"})
				proxy.Transport = rt
				proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
				n.Serve("proxy.test:80", proxy)
				client := n.HTTP1()
				defer client.CloseIdleConnections()
				_, err := get(t.Context(), client, "http://proxy.test/")
				require.NoError(t, err)
				goDark(a)
				sum := flow{method: http.MethodGet, period: 97 * time.Millisecond, give: tt.give, length: 20 * time.Second}.run(t, client, "http://proxy.test/")
				t.Log(sum)
				assert.LessOrEqual(t, sum.lost, tt.most.lost)
				assert.LessOrEqual(t, sum.first, tt.most.first)
				assert.NotZero(t, sum.first)
			})
		})
	}
}

// A peer that is frozen above its connection answers pings, which so notice nothing.
func TestAFrozenPeerThatAnswersPingsIsNoticed(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var frozen atomic.Value // the client's end of the connection
				var s seer
				n := testnet.New(t)
				n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					s.see(req)
					if frozen.CompareAndSwap(nil, req.RemoteAddr); frozen.Load() == req.RemoteAddr && req.URL.Path != "/first" {
						<-req.Context().Done()
						return
					}
					saysOK(w, req)
				}))
				base := n.HTTP2()
				base.HTTP2 = &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: time.Second}
				rt := start(t, base, patient(5*time.Second))
				_, err := get(t.Context(), rt, "http://a.test/first")
				require.NoError(t, err)
				f := flow{method: method, period: 97 * time.Millisecond, deadline: 30 * time.Second, length: 20 * time.Second}
				sum, most := f.run(t, rt, "http://a.test/"), f.most(5*time.Second)
				t.Log(sum)
				assert.LessOrEqual(t, sum.lost, most.lost)
				assert.LessOrEqual(t, sum.first, most.first)
				if method == http.MethodPost {
					assert.Zero(t, s.twice())
				}
			})
		})
	}
}

// Nobody gets through for a minute: then everybody is answered whose caller is there
// yet, and what was tried meanwhile has cost no POST.
func TestAPartitionLosesNobodyWhoWaitsItOut(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s seer
				n := testnet.New(t)
				a := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					s.see(req)
					saysOK(w, req)
				}))
				rt := start(t, n.HTTP2(), patient(5*time.Second))
				_, err := get(t.Context(), rt, "http://a.test/")
				require.NoError(t, err)
				a.Partition(time.Minute)
				sum := flow{method: method, period: 970 * time.Millisecond, deadline: 10 * time.Minute, length: 2 * time.Minute}.run(t, rt, "http://a.test/")
				t.Log(sum, rt.Health().Generation)
				assert.Zero(t, sum.lost)
				assert.LessOrEqual(t, sum.first, 90*time.Second, "bare: after 102 s, when TCP's next attempt is due")
				if method == http.MethodPost {
					assert.Zero(t, s.twice())
				}
			})
		})
	}
}

// The upstream takes its time, and the transport is dead: the candidate is as slow as
// the upstream is.
func TestADeadTransportToASlowUpstreamIsReplaced(t *testing.T) {
	for _, takes := range []time.Duration{5 * time.Second, 45 * time.Second, 90 * time.Second} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := testnet.New(t)
				a := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					time.Sleep(takes)
					saysOK(w, req)
				}))
				rt := start(t, n.HTTP2(), patient(5*time.Second))
				_, err := get(t.Context(), rt, "http://a.test/") // whoever learns
				require.NoError(t, err)
				goDark(a)
				sum := flow{method: http.MethodGet, period: 970 * time.Millisecond, length: 6 * time.Minute}.run(t, rt, "http://a.test/")
				t.Log(sum, rt.Health())
				assert.Zero(t, sum.lost)
				assert.EqualValues(t, 2, rt.Health().Generation)
			})
		})
	}
}

// With HTTP/1 each dead connection of the pool kills one request and no more. Where
// requests come one by one, the pool is replaced; where those beside them are
// answered by other connections, nothing is worse than without respawn.
func TestDeadPooledConnectionsOfHTTP1(t *testing.T) {
	run := func(t *testing.T, period, deadline time.Duration, client func(*testing.T, *http.Transport) http.RoundTripper) (sum tally) {
		synctest.Test(t, func(t *testing.T) {
			n := testnet.New(t)
			gate := make(chan struct{})
			a := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/warm" {
					<-gate
				}
				saysOK(w, req)
			}))
			base := n.HTTP1()
			base.MaxIdleConnsPerHost = 50
			rt := client(t, base)
			for range 10 {
				go func() { _, _ = get(context.WithoutCancel(t.Context()), rt, "http://a.test/warm") }()
			}
			synctest.Wait()
			close(gate)
			synctest.Wait()
			require.Len(t, a.Links(), 10)
			goDark(a)
			sum = flow{method: http.MethodGet, period: period, deadline: deadline, length: 60 * period}.run(t, rt, "http://a.test/")
			base.CloseIdleConnections()
		})
		return sum
	}
	bare := func(_ *testing.T, base *http.Transport) http.RoundTripper { return base }
	recovering := func(t *testing.T, base *http.Transport) http.RoundTripper {
		return start(t, base, patient(5*time.Second))
	}
	for _, period := range []time.Duration{97 * time.Millisecond, time.Second, 61 * time.Second} {
		for _, deadline := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 10 * time.Minute, 0} {
			plain, ours := run(t, period, deadline, bare), run(t, period, deadline, recovering)
			t.Log(period, deadline, "bare:", plain, "respawn:", ours)
			assert.LessOrEqual(t, ours.lost, plain.lost)
			if period == time.Second && deadline != time.Second && deadline != 5*time.Second {
				assert.Zero(t, ours.lost)
			}
		}
	}
}

// A stream whose connection goes dark hears of it from pings; what comes later does not
// wait for that.
func TestAStreamThatGoesDarkHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		a := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			for req.URL.Path == "/stream" {
				saysOK(w, req)
				w.(http.Flusher).Flush()
				select {
				case <-time.After(time.Second):
				case <-req.Context().Done():
					return
				}
			}
			saysOK(w, req)
		}))
		base := n.HTTP2()
		base.HTTP2 = &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second}
		rt := start(t, base, patient(5*time.Second))
		stream, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://a.test/stream", nil))
		require.NoError(t, err)
		time.Sleep(3500 * time.Millisecond)
		goDark(a)
		begin := time.Now()
		ended := make(chan time.Duration, 1)
		go func() {
			_, err := io.Copy(io.Discard, stream.Body)
			assert.Error(t, err)
			ended <- time.Since(begin)
		}()
		f := flow{method: http.MethodGet, period: 1030 * time.Millisecond, length: time.Minute}
		sum := f.run(t, rt, "http://a.test/")
		t.Log(sum)
		assert.Zero(t, sum.lost)
		assert.LessOrEqual(t, sum.first, f.most(5*time.Second).first)
		assert.LessOrEqual(t, <-ended, 46*time.Second)
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}
