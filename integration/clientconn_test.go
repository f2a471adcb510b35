package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
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

// An http.ClientConn is one connection and nothing else: when the server ends
// it, it is of no more use. It says so itself, by Err, and respawn asks before
// it sends, so that even a POST whose body can be read only once is safe.
func TestClientConnEnded(t *testing.T) {
	endings := map[string]func(t *testing.T, s *server, bare *http.ClientConn, url string){
		"server hangs up": func(_ *testing.T, s *server, _ *http.ClientConn, _ string) { s.hangUp() },
		"server announces the end": func(t *testing.T, _ *server, conn *http.ClientConn, url string) {
			require.NoError(t, get(conn, url+"last", patience))
		},
	}
	for protocol, choose := range protocols {
		for how, end := range endings {
			t.Run(protocol+" "+how, func(t *testing.T) {
				r := begin(t)
				s := newServer(r)
				ca := newAuthority(t)
				addr := s.serveTLS(t, ca.server())
				url := "https://" + addr + "/"
				dialer := &http.Transport{TLSClientConfig: ca.client(), Protocols: new(http.Protocols)}
				choose(dialer.Protocols)
				conns := &maker[*http.ClientConn]{make: func(ctx context.Context) (*http.ClientConn, error) {
					return dialer.NewClientConn(ctx, "https", addr)
				}}
				// endConn ends a connection and waits until its client knows: a
				// request that meets the end on its way is a race that nobody
				// can win for a POST.
				endConn := func(conn *http.ClientConn) {
					end(t, s, conn, url)
					require.Eventually(t, func() bool { return conn.Err() != nil }, patience, time.Millisecond)
				}

				bare := conns.first(t)
				require.NoError(t, get(bare, url, patience))
				endConn(bare)
				r.keepsFailing(bare, url, 300*time.Millisecond, patience)
				require.NoError(t, bare.Close())

				rt := start(t, conns.first(t), withFactory(conns))
				var turn sync.Mutex
				posted := 0
				l := run(t, 1, func() error {
					turn.Lock()
					defer turn.Unlock()
					posted++
					return post(rt, url, fmt.Sprintf("message %d", posted))
				})
				l.awaitSuccesses(20, time.Now())
				turn.Lock()
				endConn(*conns.last.Load())
				curable := time.Now()
				turn.Unlock()
				l.awaitSuccesses(50, curable)

				r.take(l, curable, rt)
				require.Zero(t, r.failed+r.cut, "a POST was lost")
				require.Equal(t, 2, r.built, "one fault, one fresh transport")
				require.Len(t, s.bodies, posted, "a POST has not reached the server")
				for body, n := range s.bodies {
					require.Equal(t, 1, n, "%s reached the server more than once", body)
				}
			})
		}
	}
}

// post sends a body that can be read only once.
func post(rt http.RoundTripper, url, body string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	oneShot := io.NopCloser(struct{ io.Reader }{strings.NewReader(body)})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, oneShot)
	if err != nil {
		return err
	}
	return do(rt, req)
}
