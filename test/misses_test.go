package test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// An upstream that misses half of the deadlines makes promotions that do not help, and after those a
// proof takes several answers. When its transport dies, the trials miss half of the deadlines, too. In
// few draws is the dead transport in service for long, and who has a fallback is served meanwhile.
func TestAnUpstreamThatMissesDeadlinesKeepsNoDeadTransportForLong(t *testing.T) {
	const dies, long = 30 * time.Minute, 2 * time.Hour
	draws, kept := 0, 0
	for _, load := range []struct{ every, deadline time.Duration }{
		{5 * time.Second, 10 * time.Second}, {time.Second, 2 * time.Second}, {100 * time.Millisecond, 300 * time.Millisecond},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for _, fallback := range []bool{false, true} {
				for seed := range uint64(4) {
					synctest.Test(t, func(t *testing.T) {
						rnd := rand.New(rand.NewPCG(seed, 9))
						draws++
						w := &lateUpstream{rnd: rnd, mean: 3 * load.deadline / 2, began: time.Now(), dies: dies} // e^(-2/3) of the answers are late
						opts := []respawn.Option{respawn.WithThreshold(1 + int(seed)), respawn.WithFactory(testkit.Builds(w.transport).Make)}
						if fallback {
							opts = append(opts, respawn.WithFallback(&testkit.Stub{}))
						}
						rt := start(t, w.transport(), opts...)
						before, took := w.load(t, rt, method, load.every, load.deadline, dies+long)
						if took > dies+long {
							kept++
							t.Logf("each %v, %v, %s, fallback: %v, draw %d", load.every, load.deadline, method, fallback, seed)
						}
						assert.Less(t, before, 10, fmt.Sprint(load, method, fallback, seed)) // A20: two in 20 min
					})
				}
			}
		}
	}
	assert.LessOrEqual(t, kept, draws/20, "of %d", draws)
}

// A lateUpstream answers after times that are spread exponentially. A transport to it that is built
// before it has lasted for dies is silent from then on.
type lateUpstream struct {
	mu         sync.Mutex
	rnd        *rand.Rand
	mean, dies time.Duration
	began      time.Time
}

func (w *lateUpstream) draw(mean time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(-math.Log(1-w.rnd.Float64()) * float64(mean))
}

func (w *lateUpstream) transport() http.RoundTripper {
	old := time.Since(w.began) < w.dies
	return testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
		if old && time.Since(w.began) >= w.dies {
			return staysSilent(nil).RoundTrip(req)
		}
		return answersAfter(w.draw(w.mean)).RoundTrip(req)
	})
}

// load sends requests until the transport that died is replaced. It returns how many swaps there were
// before, and when that one was.
func (w *lateUpstream) load(t *testing.T, rt *respawn.RecoveringRoundTripper, method string, every, left, end time.Duration) (before int, at time.Duration) {
	var under sync.WaitGroup
	defer under.Wait()
	first := rt.Health().Generation
	for generation := first; ; time.Sleep(w.draw(every)) {
		at = time.Since(w.began)
		now := rt.Health().Generation
		if at < w.dies {
			generation = now
		} else if now != generation || at > end {
			return int(generation - first), at
		}
		under.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), left)
			defer cancel()
			_, _ = testkit.Do(rt, request(ctx, method, "http://a.test/", strings.NewReader("")))
		})
	}
}
