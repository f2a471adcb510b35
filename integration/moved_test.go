package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// A server moves to another address, and its name with it. The old one still
// answers, and connections that are never idle never ask for the name again: a
// bare transport stays for good. With WithMaxAge, respawn leaves the old address.
func TestServerMoved(t *testing.T) {
	for _, protocol := range sorted(protocols) {
		t.Run(protocol, func(t *testing.T) {
			r := begin(t, "server moved while its connections are busy, WithMaxAge(0.5 s), "+protocol)
			ca := newAuthority(t)
			before, after := newServer(r), newServer(r)
			places := []string{before.serveTLS(t, ca.server()), after.serveTLS(t, ca.server())}
			var place atomic.Int32
			lookup := func(string) string { return places[place.Load()] }
			w := &world{r: r, cloned: true, url: "https://api.example/"}
			w.build = factory(func(context.Context) (*http.Transport, error) {
				config := ca.client()
				config.ServerName = "127.0.0.1"
				tr := &http.Transport{
					TLSClientConfig: config, MaxIdleConnsPerHost: workers, Protocols: new(http.Protocols),
					DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
						return new(net.Dialer).DialContext(ctx, network, lookup(addr))
					},
				}
				protocols[protocol](tr.Protocols)
				return tr, nil
			})
			const age = 500 * time.Millisecond

			bare := w.first(t)
			l := client{RoundTripper: bare, url: w.url, deadline: patience}.gets(t, workers)
			l.awaitSuccesses(50, time.Now())
			moved := time.Now()
			place.Store(1)
			l.awaitSuccesses(1, time.Now().Add(4*age))
			r.BareWindow = time.Since(moved)
			for _, o := range l.stop() {
				if o.began.After(moved) {
					assert.NoError(t, o.err)
					r.BareSent++
				}
			}
			require.Zero(t, after.clients(), "the bare transport follows by itself: the fault is not real")
			r.BareNote = fmt.Sprintf("%d of %d at the old address, in %.0f s", r.BareSent, r.BareSent, r.BareWindow.Seconds())
			w.discard(bare)
			place.Store(0)

			started := time.Now()
			rt := w.start(t, respawn.WithMaxAge(age))
			l = client{RoundTripper: rt, url: w.url, deadline: patience}.gets(t, workers)
			l.awaitSuccesses(50, time.Now())
			moved = time.Now()
			place.Store(1)
			planned := promotedSince(moved, rt)
			for len(planned) < 3 { // however long a busy machine takes
				require.Less(t, time.Since(moved), 3*patience, "the age replaces nothing")
				l.awaitSuccesses(1, time.Now())
				planned = promotedSince(moved, rt)
			}

			r.take(moved, rt, l)
			r.Recovery = before.lastRequest().Sub(moved)
			require.Zero(t, r.Failed+r.Cut, "a request was lost on the way")
			third := planned[2]
			require.True(t, before.lastRequest().Before(third.Time.Add(third.Duration)), "the old address is still in use after three replacements")
			require.LessOrEqual(t, r.Promoted, int(time.Since(started)/(age*9/10)), "one in each age, whose jitter is 10 %")
			require.Equal(t, r.Built, 1+r.Promoted, "a planned transport was rejected")
			require.NotZero(t, after.clients())
		})
	}
}

// promotedSince returns the recreations that began after then and were promoted.
func promotedSince(then time.Time, rt *respawn.RecoveringRoundTripper) []respawn.RecreationRecord {
	return slices.DeleteFunc(rt.Recreations(), func(r respawn.RecreationRecord) bool {
		return r.Outcome != respawn.OutcomePromoted || !r.Time.After(then)
	})
}
