package servers

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// newProxy is a reverse proxy as in Example_reverseProxy.
func newProxy(t *testing.T, rt http.RoundTripper) *httputil.ReverseProxy {
	t.Helper()
	upstream, err := url.Parse(upstreamURL)
	require.NoError(t, err)
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		Transport: rt,
		ErrorLog:  log.New(io.Discard, "", 0),
	}
}

func TestProxyFlushesAStreamThatOutlivesRecreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan string)
		w := newWorld(t, lines(next))
		w.serve(newProxy(t, w.rt))
		s := w.open(t, "/stream")
		next <- "one"
		assert.Equal(t, "one\n", s.line())
		require.NoError(t, w.rt.Recreate(t.Context()))
		assert.EqualValues(t, 2, w.rt.Health().Generation)
		next <- "two"
		assert.Equal(t, "two\n", s.line())
		s.close()
		settle()
		assert.Zero(t, w.rt.Health().Draining, "a visitor who leaves ends the stream, and so the drain")
		assert.Zero(t, w.upstream.Connections())
	})
}

func TestProxyBlackHoleCostsNoVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, http.HandlerFunc(hammer))
		w.serve(newProxy(t, w.rt))
		w.surviveABlackHole(t)
	})
}

func TestProxyDeadTunnelCostsNoVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, http.HandlerFunc(hammer))
		all := w.tunnel(t)
		w.serve(newProxy(t, w.rt))
		w.surviveADeadTunnel(t, all)
	})
}

func TestProxyFailsOnceTheTransportIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, http.HandlerFunc(hammer))
		proxy := newProxy(t, w.rt)
		proxy.ErrorHandler = func(rw http.ResponseWriter, _ *http.Request, err error) {
			assert.ErrorIs(t, err, respawn.ErrClosed)
			http.Error(rw, err.Error(), http.StatusBadGateway)
		}
		w.serve(proxy)
		w.failOnceClosed(t)
		settle()
		assert.Zero(t, w.upstream.Connections())
	})
}

// Visitors who leave before the first byte of a slow upstream's answer are no proof
// against the transport, however many they are: the control answers, and all
// connections stay.
func TestProxyVisitorsThatHangUpOnASlowUpstreamReplaceNothing(t *testing.T) {
	for _, patience := range []time.Duration{500 * time.Millisecond, 3 * time.Second} {
		t.Run(patience.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
					if req.URL.Path == "/slow" {
						select {
						case <-time.After(4 * time.Second):
						case <-req.Context().Done():
						}
					}
					hammer(rw, req)
				}))
				w.serve(newProxy(t, w.rt))
				hasty := w.newVisitor(t)
				hasty.Timeout = patience
				for range 20 {
					_, err := hasty.Get(frontURL + "/slow")
					require.Error(t, err)
				}
				status, body, err := w.get(t, "/quick")
				require.NoError(t, err)
				assert.Equal(t, http.StatusOK, status)
				assert.Equal(t, "hammer", body)
				settle()
				h := w.rt.Health()
				assert.Zero(t, h.Promotions)
				assert.Zero(t, h.Failures)
				assert.Zero(t, h.InFlight)
				assert.Empty(t, h.OpenOutages)
				if patience > time.Second {
					assert.NotZero(t, h.Rejections, "they were suspicious: it was tried")
				}
			})
		})
	}
}

// The proxy panics with http.ErrAbortHandler when the upstream's answer breaks. That
// passes through the middleware, the visitor is told, and nothing stays in flight.
func TestProxyPassesOnABrokenAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, http.HandlerFunc(breaks))
		var seen any
		proxy := respawn.Middleware(w.rt)(newProxy(t, w.rt))
		w.serve(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			defer func() {
				seen = recover()
				panic(seen)
			}()
			proxy.ServeHTTP(rw, req)
		}))
		status, body, err := w.get(t, "/item")
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, "ham", body)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Equal(t, http.ErrAbortHandler, seen)
		settle()
		h := w.rt.Health()
		assert.Zero(t, h.InFlight)
		assert.Zero(t, h.Failures, "a body that breaks speaks against nobody's transport")
	})
}

// A proxied request has no GetBody, and is sent again all the same if it never reached
// the upstream. A POST that may have been processed is not: its visitor gets the proxy's
// 502.
func TestProxySendsAgainOnlyWhatWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var posts sync.Map
		w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			if n, again := posts.LoadOrStore(string(body), 1); again && len(body) > 0 {
				posts.Store(string(body), n.(int)+1)
			}
			if req.URL.Path == "/breaks" {
				panic(http.ErrAbortHandler)
			}
			hammer(rw, req)
		}))
		all := w.tunnel(t)
		w.serve(newProxy(t, w.rt))
		post := func(path, body string) int {
			resp, err := w.visitor.Post(frontURL+path, "text/plain", strings.NewReader(body))
			require.NoError(t, err)
			_ = resp.Body.Close()
			return resp.StatusCode
		}
		assert.Equal(t, http.StatusOK, post("/item", "one"))
		all.newest.End(nil) // and every dial fails, for good
		assert.Equal(t, http.StatusOK, post("/item", "two"))
		assert.Equal(t, 2, all.laid)
		assert.Equal(t, http.StatusBadGateway, post("/breaks", "three"))
		for _, body := range []string{"one", "two", "three"} {
			n, _ := posts.Load(body)
			assert.Equal(t, 1, n, body)
		}
	})
}

// An upgraded connection is in flight until it ends: a swap does not touch it, and the
// drain of the old transport waits for it.
func TestProxyUpgradeOutlivesRecreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, http.HandlerFunc(hammer))
		echoes := w.network.Serve("items.internal:80", http.HandlerFunc(echoUpgraded))
		proxy := newProxy(t, w.rt)
		proxy.Rewrite = func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "items.internal"})
		}
		w.serve(proxy)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, frontURL+"/echo", nil)
		require.NoError(t, err)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "echo")
		resp, err := w.visitor.Do(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		conn := resp.Body.(io.ReadWriteCloser)
		says := bufio.NewReader(conn)
		for i, line := range []string{"one\n", "two\n"} {
			_, err := io.WriteString(conn, line)
			require.NoError(t, err)
			echoed, err := says.ReadString('\n')
			require.NoError(t, err)
			assert.Equal(t, line, echoed)
			if i == 0 {
				require.NoError(t, w.rt.Recreate(t.Context()))
			}
		}
		assert.Equal(t, 1, w.rt.Health().Draining)
		require.NoError(t, conn.Close())
		settle()
		assert.Zero(t, w.rt.Health().Draining)
		assert.Zero(t, echoes.Connections())
	})
}

// echoUpgraded speaks a protocol of its own after the upgrade: it echoes.
func echoUpgraded(w http.ResponseWriter, _ *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	_, _ = io.Copy(conn, buffered)
}

// While the upstream is down the proxy's ErrorHandler gets the transport's own error,
// and the transport stays.
func TestProxyErrorHandlerGetsTheTransportsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, http.HandlerFunc(hammer))
		w.upstream.Refuse()
		proxy := newProxy(t, w.rt)
		var refused atomic.Int64
		proxy.ErrorHandler = func(rw http.ResponseWriter, _ *http.Request, err error) {
			if strings.Contains(err.Error(), "connection refused") {
				refused.Add(1)
			}
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
		w.serve(proxy)
		for range 10 {
			status, _, err := w.get(t, "/item")
			require.NoError(t, err)
			assert.Equal(t, http.StatusServiceUnavailable, status)
		}
		assert.EqualValues(t, 10, refused.Load())
		assert.EqualValues(t, 1, w.rt.Health().Generation)
		w.upstream.Heal()
		status, _, err := w.get(t, "/item")
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status)
	})
}
