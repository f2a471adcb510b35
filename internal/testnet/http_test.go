package testnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/testkit"
)

// A web is a client and a server of net/http on the network.
type web struct {
	*Network
	*Host
	client *http.Transport
	url    string
	served atomic.Int64
	hold   chan struct{} // closed: /hold answers
}

func (w *web) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	w.served.Add(1)
	switch req.URL.Path {
	case "/hold":
		rw.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(rw).Flush()
		select {
		case <-w.hold:
		case <-req.Context().Done():
		}
	case "/unread":
		<-req.Context().Done()
	}
	_, _ = io.Copy(rw, req.Body)
}

// get sends a GET with a deadline.
func (w *web) get(t *testing.T, path string, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	code, err := testkit.Get(ctx, w.client, w.url+path)
	if err == nil {
		assert.Equal(t, http.StatusOK, code)
	}
	return err
}

// overHTTP runs a test over each protocol.
func overHTTP(t *testing.T, test func(t *testing.T, w *web)) {
	for _, proto := range []string{"HTTP/1", "HTTP/1 over TLS", "unencrypted HTTP/2", "HTTP/2 over TLS"} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(t)
				w := &web{Network: n, client: n.HTTP1(), hold: make(chan struct{})}
				if strings.Contains(proto, "HTTP/2") {
					w.client = n.HTTP2()
				}
				if strings.Contains(proto, "TLS") {
					w.Host, w.url = n.ServeTLS("good.test:443", w), "https://good.test"
				} else {
					w.Host, w.url = n.Serve("good.test:80", w), "http://good.test"
				}
				resp, err := w.client.RoundTrip(testkit.Request(t.Context(), http.MethodPost, w.url, strings.NewReader("hello")))
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				assert.Equal(t, "hello", string(body))
				assert.Equal(t, strings.Contains(proto, "HTTP/2"), resp.ProtoMajor == 2)
				assert.Equal(t, strings.Contains(proto, "TLS"), resp.TLS != nil)
				synctest.Wait() // net/http pools an HTTP/2 connection beside its first request
				require.NoError(t, w.get(t, "/", time.Second))
				assert.Equal(t, 1, w.Dials(), "the connection is kept")

				test(t, w)

				w.client.CloseIdleConnections()
				n.Close()
				synctest.Wait()
				assert.Zero(t, w.Open())
			})
		})
	}
}

func TestHTTPIsWell(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		assert.Equal(t, 1, w.Open())
		w.client.CloseIdleConnections()
		synctest.Wait()
		s := w.Stats()
		assert.Zero(t, s.OpenByClients)
		assert.Zero(t, s.OpenByServer)
		assert.Positive(t, s.BytesToHost)
		assert.Positive(t, s.BytesFromHost)
		assert.Zero(t, remaining(w.Host))
	})
}

// A test may end while an upload is under way, or while a handler is stuck. Close waits for the
// upload's connection, which net/http lets linger since Go 1.27. It waits no longer than a second
// for the handler.
func TestHTTPMayBeUnderWayAtTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler func(over <-chan struct{}, body io.Reader)
		wait    time.Duration
	}{
		{"upload", func(_ <-chan struct{}, body io.Reader) { _, _ = io.Copy(io.Discard, body) }, 500 * time.Millisecond},
		{"stuck", func(over <-chan struct{}, _ io.Reader) { <-over }, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, over := New(t), make(chan struct{})
				n.Serve("a.test:80", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { tt.handler(over, req.Body) }))
				body, more := io.Pipe()
				failed := make(chan error)
				go func() {
					_, err := n.HTTP1().RoundTrip(testkit.Request(t.Context(), http.MethodPost, "http://a.test/", body))
					failed <- err
				}()
				_, err := more.Write([]byte("some"))
				require.NoError(t, err)
				synctest.Wait()
				begin := time.Now()
				n.Close()
				assert.LessOrEqual(t, time.Since(begin), tt.wait)
				more.Close()
				require.Error(t, <-failed)
				close(over)
				time.Sleep(time.Second) // as net/http does after it
			})
		})
	}
}

func TestHTTPRefused(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		w.Refuse()
		require.NoError(t, w.get(t, "/", time.Second), "on the connection that is there")
		w.Reset()
		synctest.Wait()
		assert.ErrorIs(t, w.get(t, "/", time.Second), syscall.ECONNREFUSED)
		w.Heal()
		assert.NoError(t, w.get(t, "/", time.Second))
	})
}

func TestHTTPReset(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		resp, err := w.client.RoundTrip(testkit.Request(t.Context(), http.MethodGet, w.url+"/hold", nil))
		require.NoError(t, err)
		w.Links()[0].Reset()
		_, err = io.ReadAll(resp.Body)
		assert.ErrorIs(t, err, syscall.ECONNRESET)
		resp.Body.Close()
		synctest.Wait()
		assert.NoError(t, w.get(t, "/", time.Second))
		assert.Equal(t, 2, w.Dials())
	})
}

// Over HTTP/2 every request is lost until the kernel gives the connection up. Over HTTP/1 only the
// first one is: net/http closes its connection, and the next request gets a fresh one.
func TestHTTPInABlackHole(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		w.Links()[0].BlackHole()
		begin := time.Now()
		var lost int
		for w.get(t, "/", 10*time.Second) != nil {
			lost++
		}
		if w.client.Protocols.HTTP1() {
			assert.Equal(t, 1, lost)
			assert.Equal(t, 10*time.Second, time.Since(begin))
		} else {
			assert.Equal(t, 93, lost)
			assert.Equal(t, RetransmissionLimit, time.Since(begin))
		}
		assert.Equal(t, 2, w.Dials())
	})
}

func TestHTTPDialsIntoTheDark(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		w.client.CloseIdleConnections()
		w.BlackHole()
		begin := time.Now()
		assert.ErrorIs(t, w.get(t, "/", time.Hour), syscall.ETIMEDOUT)
		assert.Equal(t, DialLimit, time.Since(begin))
		assert.ErrorIs(t, w.get(t, "/", time.Second), context.DeadlineExceeded)
		time.Sleep(DialLimit) // net/http goes on with a dial whose request has left
	})
}

// A request that is sent in a partition of a minute is answered after it, with
// the retransmission.
func TestHTTPThroughAPartition(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		w.Partition(time.Minute)
		begin := time.Now()
		require.NoError(t, w.get(t, "/", time.Hour))
		assert.Equal(t, 102200*time.Millisecond, time.Since(begin))
		assert.Equal(t, 1, w.Dials())
	})
}

// Keep-alive ends an idle connection in the dark. Only the pool notices: the next request dials.
func TestHTTPKeepAlive(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		w.Partition(KeepAliveLimit)
		time.Sleep(KeepAliveLimit - time.Second)
		assert.Equal(t, 1, w.Open())
		time.Sleep(2 * time.Second)
		assert.Zero(t, w.Open())
		assert.NoError(t, w.get(t, "/", time.Second))
		assert.Equal(t, 2, w.Dials())
	})
}

// HTTP/2 pings find a black hole, and a frozen peer; a server whose handlers
// wait answers them.
func TestHTTPPings(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		if w.client.Protocols.HTTP1() {
			return
		}
		w.client.HTTP2 = &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}
		w.client.CloseIdleConnections()
		for _, fault := range []func(){func() { w.BlackHole() }, w.Freeze} {
			require.NoError(t, w.get(t, "/", time.Second))
			fault()
			begin := time.Now()
			assert.ErrorContains(t, w.get(t, "/unread", time.Hour), "client connection lost")
			assert.Equal(t, 15*time.Second, time.Since(begin))
			w.Heal()
		}
		assert.ErrorIs(t, w.get(t, "/unread", time.Minute), context.DeadlineExceeded)
		assert.Equal(t, 1, w.Open())
	})
}

func TestHTTPFrozen(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		w.Freeze()
		before := w.served.Load()
		time.AfterFunc(time.Hour, w.Heal)
		begin := time.Now()
		require.NoError(t, w.get(t, "/", 2*time.Hour))
		assert.Equal(t, time.Hour, time.Since(begin))
		assert.Equal(t, before+1, w.served.Load())
		assert.Equal(t, 1, w.Dials())

		w.client.CloseIdleConnections()
		w.Freeze()
		if w.client.TLSClientConfig.RootCAs != nil && strings.HasPrefix(w.url, "https") {
			w.client.TLSHandshakeTimeout = 10 * time.Second
			assert.ErrorContains(t, w.get(t, "/", time.Hour), "TLS handshake timeout")
		} else {
			assert.ErrorIs(t, w.get(t, "/", time.Hour), context.DeadlineExceeded, "it connects, and waits")
		}
	})
}

func TestHTTPSlow(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		w.Slow(500 * time.Millisecond)
		begin := time.Now()
		require.NoError(t, w.get(t, "/", time.Minute))
		assert.Equal(t, time.Second, time.Since(begin))
		w.Set(Faults{DelayFromHost: 3 * time.Second})
		assert.ErrorIs(t, w.get(t, "/", time.Second), context.DeadlineExceeded)
		assert.EqualValues(t, 4, w.served.Load(), "the request has arrived")
	})
}

// A server that does not read lets a POST block once the buffers are full;
// TCP_USER_TIMEOUT ends it.
func TestHTTPZeroWindow(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		d := &Dialer{Network: w.Network, UserTimeout: time.Minute}
		w.client = w.client.Clone()
		w.client.DialContext = d.DialContext
		require.NoError(t, w.get(t, "/", time.Second))
		w.ZeroWindow(ToHost)
		begin := time.Now()
		body := strings.NewReader(strings.Repeat("x", 1<<20))
		_, err := w.client.RoundTrip(testkit.Request(t.Context(), http.MethodPost, w.url, struct{ io.Reader }{body}))
		if w.client.Protocols.HTTP1() && errors.Is(err, net.ErrClosed) {
			err = syscall.ETIMEDOUT // net/http's reader may see it first, and close what is being written
		}
		assert.ErrorIs(t, err, syscall.ETIMEDOUT)
		assert.Equal(t, time.Minute+RTOMin, time.Since(begin))
	})
}

// A tunnel that has died fails all dials; another one works.
func TestHTTPTunnelEnds(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		tunnel := &Dialer{Network: w.Network}
		w.client = w.client.Clone()
		w.client.DialContext = tunnel.DialContext
		require.NoError(t, w.get(t, "/", time.Second))
		tunnel.End(io.ErrClosedPipe)
		synctest.Wait()
		for range 3 {
			assert.ErrorIs(t, w.get(t, "/", time.Second), io.ErrClosedPipe)
		}
		w.client = w.client.Clone()
		w.client.DialContext = (&Dialer{Network: w.Network}).DialContext
		assert.NoError(t, w.get(t, "/", time.Second))
	})
}

func TestHTTPHostEnds(t *testing.T) {
	overHTTP(t, func(t *testing.T, w *web) {
		w.End(nil)
		synctest.Wait()
		assert.ErrorIs(t, w.get(t, "/", time.Second), net.ErrClosed)
	})
}
