package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
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

// drawn are the chances of a client whose patience is four, five or six seconds.
var drawn = map[time.Duration]float64{4 * time.Second: 0, 5 * time.Second: 0.5, 6 * time.Second: 1}

// patient gives a client that patience.
func patient(p time.Duration) respawn.Option { return chance(func() float64 { return drawn[p] }) }

// A flow is what callers send, one request each period.
type flow struct {
	method   string
	period   time.Duration
	deadline time.Duration // of each; 0: none
	give     time.Duration // after which each is canceled by its caller; 0: never
	length   time.Duration // for how long
}

// A tally is what came of a flow.
type tally struct {
	sent, lost, twice int
	first             time.Duration // the first answer, since the flow began; 0: there was none
	longest           time.Duration // that an answered one waited
}

func (t tally) String() string {
	return fmt.Sprintf("%d sent, %d lost, %d processed twice, first answer after %v, longest wait %v", t.sent, t.lost, t.twice, t.first, t.longest)
}

// A seer counts how often each request has reached a server.
type seer struct {
	mu   sync.Mutex
	seen map[string]int
}

func (s *seer) see(req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]int{}
	}
	s.seen[req.Header.Get("X-Id")]++
}

func (s *seer) twice() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.seen {
		n += max(0, k-1)
	}
	return n
}

// run sends the flow to url, and waits for all its answers. Who has no deadline and
// no answer gives up ten minutes after the end.
func (f flow) run(t *testing.T, rt http.RoundTripper, url string) (sum tally) {
	t.Helper()
	over, stop := context.WithCancel(t.Context())
	begin := time.Now()
	defer time.AfterFunc(f.length+10*time.Minute, stop).Stop()
	defer stop()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for time.Since(begin) < f.length {
		mu.Lock()
		sum.sent++
		id := fmt.Sprint(sum.sent)
		mu.Unlock()
		wg.Go(func() {
			start := time.Now()
			err := f.send(over, rt, url, id)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				sum.lost++
				return
			}
			sum.longest = max(sum.longest, time.Since(start))
			if sum.first == 0 {
				sum.first = time.Since(begin)
			}
		})
		time.Sleep(f.period)
	}
	wg.Wait()
	return sum
}

func (f flow) send(ctx context.Context, rt http.RoundTripper, url, id string) error {
	if f.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.deadline)
		defer cancel()
	}
	if f.give > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer time.AfterFunc(f.give, cancel).Stop()
	}
	var body io.Reader
	if f.method == http.MethodPost {
		body = strings.NewReader("hello")
	}
	req := request(ctx, f.method, url, body)
	req.Header.Set("X-Id", id)
	_, err := testkit.Do(rt, req)
	return err
}

// blackHoled runs a flow through a client whose only connection has gone dark.
func blackHoled(t *testing.T, f flow, opts ...respawn.Option) (sum tally) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var s seer
		n := testnet.New(t)
		a := n.Serve("a.test:80", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			s.see(req)
			saysOK(w, req)
		}))
		rt := start(t, n.HTTP2(), opts...)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		goDark(a)
		sum = f.run(t, rt, "http://a.test/")
		sum.twice = s.twice()
		synctest.Wait()
	})
	return sum
}

// The first snippet of the README on the fault of its headline: net/http alone loses
// 250 requests here, in 25 s.
func TestNobodyIsLostWhoHasTimeToWait(t *testing.T) {
	for p := range drawn {
		sum := blackHoled(t, flow{method: http.MethodGet, period: 97 * time.Millisecond, deadline: 30 * time.Second, length: 40 * time.Second}, patient(p))
		t.Log(p, sum)
		assert.Zero(t, sum.lost)
		assert.LessOrEqual(t, sum.first, p+2*time.Second)
	}
}
