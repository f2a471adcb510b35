package integration

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// protocols are those that a TCP server offers: HTTP/1.1 and HTTP/2, over TLS.
var protocols = map[string]func(*http.Protocols){
	"h1": func(p *http.Protocols) { p.SetHTTP1(true) },
	"h2": func(p *http.Protocols) { p.SetHTTP2(true) },
}

// sorted returns the keys in an order that a table can rely on.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// newClientConnWorld is an upstream over TLS for one of the protocols, whose
// clients have one connection each.
func newClientConnWorld(r *report, choose func(*http.Protocols)) *world {
	s := newServer(r)
	ca := newAuthority(r.t)
	addr := s.serveTLS(r.t, ca.server())
	dialer := &http.Transport{TLSClientConfig: ca.client(), Protocols: new(http.Protocols)}
	choose(dialer.Protocols)
	return &world{
		r: r, server: s, url: "https://" + addr + "/",
		build: factory(func(ctx context.Context) (*http.ClientConn, error) {
			return dialer.NewClientConn(ctx, "https", addr)
		}),
	}
}

// hungUp closes the server's end of all connections.
func (w *world) hungUp(*testing.T, http.RoundTripper) { w.server.hangUp() }

// lastAnswer asks for an answer that is announced to be the connection's last.
func (w *world) lastAnswer(t *testing.T, inService http.RoundTripper) {
	require.NoError(t, client{RoundTripper: inService, url: w.url + "last", deadline: patience}.get())
}

// An http.ClientConn is one connection and nothing else: when the server ends
// it, it is of no more use. It says so itself, by Err, and respawn asks before
// it sends, so that even a POST whose body can be read only once is safe.
func TestClientConnEnded(t *testing.T) {
	endings := map[string]func(*world, *testing.T, http.RoundTripper){
		"server hangs up":          (*world).hungUp,
		"server announces the end": (*world).lastAnswer,
	}
	for _, protocol := range sorted(protocols) {
		for _, how := range sorted(endings) {
			choose, end := protocols[protocol], endings[how]
			t.Run(protocol+" "+how, func(t *testing.T) {
				r := begin(t, "http.ClientConn, "+protocol+": "+how)
				w := newClientConnWorld(r, choose)
				// endConn ends a connection and waits until its client knows.
				// A POST that met the end on its way might be lost: if it may have
				// been processed, nobody may send it again.
				endConn := func(transport http.RoundTripper) {
					conn := transport.(*http.ClientConn)
					end(w, t, conn)
					require.Eventually(t, func() bool { return conn.Err() != nil }, patience, time.Millisecond)
				}

				bare := w.first(t)
				c := client{RoundTripper: bare, url: w.url, deadline: patience}
				require.NoError(t, c.get())
				endConn(bare)
				r.keepsFailing(c, 300*time.Millisecond)
				w.discard(bare)

				rt := w.start(t)
				c = client{RoundTripper: rt, url: w.url, deadline: patience}
				var turn sync.Mutex
				posted := 0
				l := run(t, 1, func() error {
					turn.Lock()
					defer turn.Unlock()
					posted++
					return c.send(shotPost, fmt.Sprintf("message#%d", posted))
				})
				l.awaitSuccesses(20, time.Now())
				turn.Lock()
				endConn(rt.WrappedRoundTripper())
				curable := time.Now()
				turn.Unlock()
				l.awaitSuccesses(50, curable)

				r.take(curable, rt, l)
				r.healed()
				require.Zero(t, r.Cut)
				require.Equal(t, posted, w.server.ledger.messages(), "a POST has not reached the server")
				require.Empty(t, w.server.ledger.twice("message"), "reached the server more than once")
			})
		}
	}
}
