package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// upgrader answers 101 and then echoes lines in upper case, until the client
// has closed its half, when it says how many there were.
func upgrader() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", req.Header.Get("Upgrade"))
		n := 0
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				fmt.Fprintf(conn, "%d lines\n", n)
				return
			}
			n++
			fmt.Fprint(conn, strings.ToUpper(line))
		}
	})
}

// A 101's body is an io.Writer with a CloseWrite (FACTS: request and response
// contract). Both directions work, each to its own end, and the request is in
// flight until Close, whatever a Read says.
func TestContractUpgrade(t *testing.T) {
	limited := respawn.WithDrainTimeout(time.Hour)
	for _, tc := range []struct {
		method string
		opts   []respawn.Option
	}{{http.MethodGet, nil}, {http.MethodGet, []respawn.Option{limited}}, {http.MethodHead, nil}, {http.MethodHead, []respawn.Option{limited}}} {
		noLeaks(t)
		srv, transport := h1.serve(t, upgrader())
		rt := start(t, transport(), tc.opts...)
		req := request(t.Context(), tc.method, srv.URL, nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "shout")
		resp, err := rt.RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)

		conn, ok := resp.Body.(io.ReadWriteCloser)
		require.True(t, ok, "a %T cannot be written to", resp.Body)
		half, ok := resp.Body.(interface{ CloseWrite() error })
		require.True(t, ok, "a %T has no CloseWrite", resp.Body)
		lines := bufio.NewReader(conn)
		for _, word := range []string{"one", "two"} {
			_, err = io.WriteString(conn, word+"\n")
			require.NoError(t, err)
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			assert.Equal(t, strings.ToUpper(word)+"\n", line)
		}
		require.NoError(t, half.CloseWrite())
		line, err := lines.ReadString('\n')
		require.NoError(t, err, "closing one half must leave the other open")
		assert.Equal(t, "2 lines\n", line)
		_, err = lines.ReadByte()
		require.Equal(t, io.EOF, err)
		assert.EqualValues(t, 1, rt.Health().InFlight, "an upgraded connection is in flight until Close")
		require.NoError(t, conn.Close())
		assert.Zero(t, rt.Health().InFlight)
	}
}

// httputil.ReverseProxy, which insists on an io.ReadWriteCloser, can carry an
// upgrade over respawn.
func TestContractUpgradeThroughReverseProxy(t *testing.T) {
	noLeaks(t)
	srv, transport := h1.serve(t, upgrader())
	rt := start(t, transport())
	target, err := url.Parse(srv.URL)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Transport: rt, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	done := make(chan struct{})
	front, _ := h1.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer close(done)
		proxy.ServeHTTP(w, req)
	}))

	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: front.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	require.Equal(t, "websocket", resp.Header.Get("Upgrade"))
	for _, word := range []string{"both", "ways"} {
		_, err = io.WriteString(conn, word+"\n")
		require.NoError(t, err)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, strings.ToUpper(word)+"\n", line)
	}
	assert.EqualValues(t, 1, rt.Health().InFlight)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	line, err := r.ReadString('\n')
	require.NoError(t, err, "the half-close must reach the upstream through respawn")
	assert.Equal(t, "2 lines\n", line)
	require.NoError(t, conn.Close())
	<-done
	// ReverseProxy closes the upstream's half in a goroutine of its own.
	assert.Eventually(t, func() bool { return rt.Health().InFlight == 0 }, 5*time.Second, time.Millisecond)
}

// A stream arrives flush by flush: the server sends the next chunk only when
// the client has shown that it has the one before.
func TestContractStreaming(t *testing.T) {
	for _, proto := range protocols {
		for _, opts := range [][]respawn.Option{nil, {respawn.WithDrainTimeout(time.Hour)}} {
			t.Run(fmt.Sprint(proto.name, len(opts)), func(t *testing.T) {
				noLeaks(t)
				seen := make(chan struct{})
				srv, transport := proto.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					for i := range 5 {
						fmt.Fprintf(w, "data: %d\n", i)
						http.NewResponseController(w).Flush()
						<-seen
					}
				}))
				rt := start(t, transport(), opts...)
				resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, srv.URL, nil))
				require.NoError(t, err)
				defer resp.Body.Close()
				lines := bufio.NewReader(resp.Body)
				for i := range 5 {
					line, err := lines.ReadString('\n')
					require.NoError(t, err)
					assert.Equal(t, fmt.Sprintf("data: %d\n", i), line)
					assert.EqualValues(t, 1, rt.Health().InFlight, "a stream is in flight until its end")
					seen <- struct{}{}
				}
				_, err = lines.ReadByte()
				require.Equal(t, io.EOF, err)
				assert.Zero(t, rt.Health().InFlight)
			})
		}
	}
}

// Both directions of one exchange at once: the response is read while the
// request body is still being written, which a copy that waits would break.
func TestContractFullDuplex(t *testing.T) {
	noLeaks(t)
	srv, transport := h2.serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		r := bufio.NewReader(req.Body)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprint(w, strings.ToUpper(line))
			http.NewResponseController(w).Flush()
		}
	}))
	rt := start(t, transport())
	pr, pw := io.Pipe()
	resp, err := rt.RoundTrip(request(t.Context(), http.MethodPost, srv.URL, pr))
	require.NoError(t, err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for _, word := range []string{"ping", "pong"} {
		_, err := io.WriteString(pw, word+"\n")
		require.NoError(t, err)
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, strings.ToUpper(word)+"\n", line)
	}
	require.NoError(t, pw.Close())
	_, err = lines.ReadByte()
	require.Equal(t, io.EOF, err)
}
