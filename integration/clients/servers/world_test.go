package servers

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
)

const (
	upstreamURL = "https://items.internal"
	frontURL    = "http://front.test"
)

// A world is a server under test between its visitors and its upstream, which it asks
// through rt. All of it is on a network in memory.
type world struct {
	network  *respawntest.Network
	upstream *respawntest.Host // HTTP/2
	rt       *respawn.RecoveringRoundTripper
	visitor  *http.Client
}

func newWorld(t *testing.T, upstream http.Handler, opts ...respawn.Option) *world {
	t.Helper()
	network := respawntest.NewNetwork(t)
	w := &world{network: network, upstream: network.ServeTLS("items.internal:443", upstream)}
	w.rt = w.client(t, opts...)
	w.visitor = w.newVisitor(t)
	return w
}

// client is a recovering client of the upstream.
func (w *world) client(t *testing.T, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	t.Helper()
	return w.above(t, w.transport(w.network.DialContext), opts...)
}

// transport reaches the network's hosts by dial.
func (w *world) transport(dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	transport := respawn.NewTransport()
	transport.DialContext = dial
	transport.TLSClientConfig = &tls.Config{RootCAs: w.network.RootCAs()}
	return transport
}

func (w *world) above(t *testing.T, base http.RoundTripper, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	t.Helper()
	rt, err := respawn.New(base, append([]respawn.Option{respawn.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rt.Close() })
	return rt
}

// tunnels count those that a client has laid, and the dials through them.
type tunnels struct {
	newest *respawntest.Tunnel
	laid   int
	dials  atomic.Int64
}

// tunnel puts w.rt behind tunnels: each of its transports has one of its own.
func (w *world) tunnel(t *testing.T) *tunnels {
	t.Helper()
	all := &tunnels{}
	lay := func() *http.Transport {
		tunnel := w.network.NewTunnel()
		all.newest = tunnel
		all.laid++
		return w.transport(func(ctx context.Context, network, addr string) (net.Conn, error) {
			all.dials.Add(1)
			return tunnel.DialContext(ctx, network, addr)
		})
	}
	w.rt = w.above(t, lay(), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return lay(), nil }))
	return all
}

// surviveADeadTunnel ends the tunnel under the dialer for good, and has visitors come.
func (w *world) surviveADeadTunnel(t *testing.T, all *tunnels) {
	t.Helper()
	_, _, err := w.get(t, "/item")
	require.NoError(t, err)
	all.newest.End(errors.New("session shutdown"))
	_, err = all.newest.DialContext(t.Context(), "tcp", "items.internal:443")
	require.Error(t, err, "the fault is not real")
	before := all.dials.Load()
	for range 3 {
		status, body, err := w.get(t, "/item")
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, "hammer", body)
	}
	assert.Equal(t, 2, all.laid)
	assert.EqualValues(t, 2, w.rt.Health().Generation)
	// Those that trip, one more that nobody watched, the control, and one that succeeds.
	assert.LessOrEqual(t, all.dials.Load()-before, int64(3+1+1+1))
}

// failOnceClosed closes the client: visitors are told why, and nothing is left of it.
func (w *world) failOnceClosed(t *testing.T) {
	t.Helper()
	status, _, err := w.get(t, "/item")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	require.NoError(t, w.rt.Shutdown(t.Context()))
	status, body, err := w.get(t, "/item")
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadGateway, status)
	assert.Contains(t, body, respawn.ErrClosed.Error())
	assert.Zero(t, w.rt.Health().InFlight)
}

// newVisitor is a visitor with connections of its own to the front.
func (w *world) newVisitor(t *testing.T) *http.Client {
	transport := &http.Transport{DialContext: w.network.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// serve serves the front.
func (w *world) serve(handler http.Handler) { w.network.Serve("front.test:80", handler) }

// get is what a visitor gets for a path of the front. The body can be cut: err is of
// reading it.
func (w *world) get(t *testing.T, path string) (status int, body string, err error) {
	t.Helper()
	resp, err := w.visitor.Get(frontURL + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// A stream is a visitor's answer that has only begun.
type stream struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Reader
	leave context.CancelFunc
}

// open has a visitor open path, and returns when the headers are there.
func (w *world) open(t *testing.T, path string) *stream {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, frontURL+path, nil)
	require.NoError(t, err)
	resp, err := w.visitor.Do(req)
	require.NoError(t, err)
	s := &stream{t, resp, bufio.NewReader(resp.Body), leave}
	t.Cleanup(s.close)
	return s
}

func (s *stream) line() string {
	s.t.Helper()
	line, err := s.lines.ReadString('\n')
	require.NoError(s.t, err)
	return line
}

func (s *stream) close() {
	s.leave()
	_ = s.resp.Body.Close()
}

// lines is an upstream that answers with a line for each value of next, at once.
func lines(next <-chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case line, more := <-next:
				if !more {
					return
				}
				fmt.Fprintln(w, line)
				_ = http.NewResponseController(w).Flush()
			case <-req.Context().Done():
				return
			}
		}
	}
}

// breaks is an upstream whose connection breaks in the middle of the answer.
func breaks(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte("ham"))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func hammer(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hammer") }

// fetch is the handler that everybody writes: it asks the upstream with the shared
// client for the same path, and hands on the answer as it comes.
func fetch(w http.ResponseWriter, req *http.Request) {
	client, ok := respawn.ClientFromContext(req.Context())
	if !ok {
		http.Error(w, "no client", http.StatusInternalServerError)
		return
	}
	out, err := http.NewRequestWithContext(req.Context(), http.MethodGet, upstreamURL+req.URL.Path, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	resp, err := client.Do(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.WriteHeader(resp.StatusCode)
	copyFlushing(w, resp.Body)
}

// ask asks the upstream with the client that ctx has.
func ask(ctx context.Context) (string, error) {
	client, ok := respawn.ClientFromContext(ctx)
	if !ok {
		return "", errNoClient
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, upstreamURL+"/item", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

var errNoClient = errors.New("the context has no client")

// copyFlushing panics with http.ErrAbortHandler where the body breaks, as
// httputil.ReverseProxy does, so that the visitor is told.
func copyFlushing(w http.ResponseWriter, body io.Reader) {
	flush := http.NewResponseController(w).Flush
	_ = flush()
	buf := make([]byte, 1024)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			_ = flush()
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// settle waits until all that is still under way has ended. In a bubble that takes no time.
func settle() { time.Sleep(time.Minute) }
