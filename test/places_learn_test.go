package test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// Whoever has waited for a place has not waited for the upstream: of ten requests of 4 s each on one
// connection the last is answered after 40 s, and an answer still takes 4 s.
func TestAWaitForAPlaceTeachesNoPatience(t *testing.T) {
	replacedAfter := func(t *testing.T, atOnce bool) (after time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			n := testnet.New(t)
			n.Serve("a.test:80", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				select {
				case <-time.After(4 * time.Second):
				case <-req.Context().Done():
				}
			}))
			limited := func() *http.Transport {
				tr := n.HTTP1()
				tr.MaxConnsPerHost = 1
				return tr
			}
			base, tunnel := limited(), &mortal{dial: n.DialContext}
			base.DialContext = tunnel.DialContext
			rt := start(t, base, respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return limited() }).Make))
			all, stop := context.WithCancel(t.Context())
			var under sync.WaitGroup
			for range 10 {
				under.Go(func() { _, _ = get(all, rt, "http://a.test/") })
				if !atOnce {
					under.Wait()
				}
			}
			under.Wait()
			tunnel.die()
			died := time.Now()
			for rt.Health().Generation == 1 && time.Since(died) < 20*time.Minute {
				under.Go(func() { _, _ = get(all, rt, "http://a.test/") })
				time.Sleep(5 * time.Second)
			}
			after = time.Since(died)
			stop()
			under.Wait()
			rt.CloseIdleConnections()
			tunnel.close()
			time.Sleep(time.Minute) // dials end
		})
		return after
	}
	inTurn, atOnce := replacedAfter(t, false), replacedAfter(t, true)
	t.Log("replaced after", inTurn, "and", atOnce)
	assert.Less(t, inTurn, 2*time.Minute)
	assert.Less(t, atOnce, 2*time.Minute)
}

// blind is a context without values: a dialer that does not fire net's hooks.
type blind struct{ context.Context }

func (blind) Value(any) any { return nil }

// A dial that took half a minute to fail took that long also where the pool has places and nobody tells
// a dial from a wait for one: whoever fails waits for none.
func TestADialWithoutHooksThatFailsLateWasSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(t)
		n.Serve("a.test:80", http.HandlerFunc(serveKinds))
		tunnel := &mortal{dial: n.DialContext}
		tunnel.die()
		base := n.HTTP1()
		base.MaxConnsPerHost = 20
		base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return tunnel.DialContext(blind{ctx}, network, addr)
		}
		rt := start(t, base, respawn.WithThreshold(1), respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return n.HTTP1() }).Make))
		all, stop := context.WithCancel(t.Context())
		var under sync.WaitGroup
		began := time.Now()
		for rt.Health().Generation == 1 && time.Since(began) < 3*time.Minute {
			under.Go(func() {
				ctx, cancel := context.WithTimeout(all, 40*time.Second)
				defer cancel()
				_, _ = testkit.Do(rt, request(ctx, http.MethodPost, "http://a.test/", strings.NewReader(payload)))
			})
			time.Sleep(10 * time.Second)
		}
		assert.LessOrEqual(t, time.Since(began), time.Minute)
		stop()
		under.Wait()
		rt.CloseIdleConnections()
		time.Sleep(time.Minute) // dials end
	})
}
