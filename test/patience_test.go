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

// A bound is what a flow may lose, and when it has to be answered again.
type bound struct {
	lost  int
	first time.Duration
}

// most is the bound of a flow that meets a black hole with its first request, through
// a client of patience p.
func (f flow) most(p time.Duration) bound {
	within := p + time.Second + max(time.Second, 2*f.period)
	switch {
	case f.deadline > 0 && 2*f.deadline < 3*p: // its deadline speaks for it
		if f.period > time.Minute {
			return bound{3, 4 * f.period}
		}
		lost := int((f.deadline+1500*time.Millisecond)/f.period) + 2
		return bound{lost, f.deadline + time.Duration(lost)*f.period}
	case f.method == http.MethodPost:
		return bound{int(within/f.period) + 2, within + f.period}
	case f.period > time.Minute && f.deadline > 0 && f.deadline < 30*time.Second:
		return bound{3, 4 * f.period} // it waits for less than three patiences
	case f.period > time.Minute:
		return bound{0, 3*p + time.Second}
	}
	return bound{0, within}
}

// A connection goes dark: net/http alone loses all it is sent for 25 s at ten requests a
// second, and for minutes, or for ever, at fewer and with deadlines that are far.
func TestWhatABlackHoleCosts(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, period := range []time.Duration{97 * time.Millisecond, 1030 * time.Millisecond, 61 * time.Second} {
			if method == http.MethodPost && period > time.Minute {
				continue // each is lost that its caller sends until three have waited
			}
			for _, deadline := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, 10 * time.Minute, 0} {
				for p := range testkit.InCI(drawn, map[time.Duration]float64{4 * time.Second: 0}) {
					f := flow{method: method, period: period, deadline: deadline, length: max(20*time.Second, 5*period)}
					t.Run(fmt.Sprintf("%s each %v, deadline %v, patience %v", method, period, deadline, p), func(t *testing.T) {
						sum, most := blackHoled(t, f, patient(p)), f.most(p)
						t.Log(sum)
						assert.LessOrEqual(t, sum.lost, most.lost)
						assert.LessOrEqual(t, sum.first, most.first)
						assert.NotZero(t, sum.first)
						if method == http.MethodPost {
							assert.Zero(t, sum.twice)
						}
					})
				}
			}
		}
	}
}

// The first snippet of the README: http.Client's Timeout is a deadline, too.
func TestABlackHoleBehindAClientWithATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		a := n.Serve("a.test:80", http.HandlerFunc(saysOK))
		client := &http.Client{Transport: start(t, n.HTTP2(), patient(5*time.Second)), Timeout: 30 * time.Second}
		do := testkit.RoundTripperFunc(client.Do)
		_, err := get(t.Context(), do, "http://a.test/")
		require.NoError(t, err)
		goDark(a)
		f := flow{method: http.MethodGet, period: 97 * time.Millisecond, length: 20 * time.Second}
		sum := f.run(t, do, "http://a.test/")
		assert.Zero(t, sum.lost)
		assert.LessOrEqual(t, sum.first, f.most(5*time.Second).first)
		client.CloseIdleConnections()
	})
}
