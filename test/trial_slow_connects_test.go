package test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
)

// A fresh transport may take longer to connect than its callers wait. net/http finishes the dial
// without them, so that a later request finds the connection made. Where the dial outlasts the
// time of trials, too, that time grows with each candidate that is refused.
func TestTheDeadOneIsReplacedThoughTheFreshOneConnectsSlowly(t *testing.T) {
	for _, tt := range []struct {
		connects, every time.Duration
		most            int // as many times what a restart loses
	}{
		{3900 * time.Millisecond, 300 * time.Millisecond, 1}, {3900 * time.Millisecond, time.Second, 1},
		{3900 * time.Millisecond, 3 * time.Second, 1}, {3900 * time.Millisecond, 40 * time.Second, 1},
		{12900 * time.Millisecond, time.Second, 4}, {24900 * time.Millisecond, time.Second, 4},
	} {
		t.Run(tt.connects.String()+" "+tt.every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := respawntest.NewNetwork(t)
				n.Serve("a.test:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
				slow := func() *http.Transport {
					return &http.Transport{DialContext: func(ctx context.Context, nw, addr string) (net.Conn, error) {
						time.Sleep(tt.connects) // never when a request comes
						return n.DialContext(ctx, nw, addr)
					}}
				}
				ended := n.NewTunnel()
				ended.End(nil)
				rt := start(t, &http.Transport{DialContext: ended.DialContext}, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return slow(), nil }))
				bare := slow()
				defer bare.CloseIdleConnections()
				lost := map[string]int{}
				var mu sync.Mutex
				var wg sync.WaitGroup
				for range 120 {
					for name, rt := range map[string]http.RoundTripper{"respawn": rt, "a restart": bare} {
						wg.Go(func() {
							ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
							defer cancel()
							if _, err := get(ctx, rt, "http://a.test/"); err != nil {
								mu.Lock()
								lost[name]++
								mu.Unlock()
							}
						})
					}
					time.Sleep(tt.every)
				}
				wg.Wait()
				assert.EqualValues(t, 2, rt.Health().Generation)
				assert.LessOrEqual(t, lost["respawn"], tt.most*lost["a restart"]+2, lost)
			})
		})
	}
}
