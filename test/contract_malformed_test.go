package test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
	"github.com/respawnhttp/respawn/internal/testnet"
)

// A flaw makes a request one that net/http does not send. Some are noticed only by one
// protocol, and some only when there is a connection.
type flaw struct {
	name   string
	on     string // the protocol; "": both
	change func(*http.Request)
}

func header(name, value string) func(*http.Request) {
	return func(req *http.Request) { req.Header[name] = []string{value} }
}

// length gives the request a body, and says that it has that length.
func length(n int64) func(*http.Request) {
	return func(req *http.Request) {
		req.Method, req.Body, req.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader(payload)), n
	}
}

var flaws = []flaw{
	{"a header that is none", "", header("X", "a\nb")},
	{"a header's name that is none", "", header("bad header", "1")},
	{"a scheme that nobody knows", "", func(req *http.Request) { req.URL.Scheme = "gopher" }},
	{"no host", "", func(req *http.Request) { req.URL.Host = "" }},
	{"no URL", "", func(req *http.Request) { req.URL = nil }},
	{"a port that cannot be", "", func(req *http.Request) { req.URL.Host = "a.test:99999" }},
	{"a method that is none", "h1", func(req *http.Request) { req.Method = "G T" }},
	{"a control character in the URL", "h1", func(req *http.Request) { req.URL.RawQuery = "a\x01b" }},
	{"a path that is none", "h2", func(req *http.Request) { req.URL.Opaque = "a\x01b" }},
	{"a Host that is none", "h2", func(req *http.Request) { req.Host = "a b\x01" }},
	{"a header of HTTP/1, Connection", "h2", header("Connection", "x")},
	{"a header of HTTP/1, Upgrade", "h2", header("Upgrade", "x")},
	{"a header of HTTP/1, Transfer-Encoding", "h2", header("Transfer-Encoding", "gzip")},
	{"a body that is too short", "h1", length(100)},
	{"a body that is too long", "h2", length(5)},
}

// dialsPorts dials by name on n, unless the port can be none: that is for package net to say.
func dialsPorts(n *testnet.Network) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasSuffix(addr, ":99999") {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:99999")
		}
		return n.DialContext(ctx, network, addr)
	}
}

// A request that net/http does not send is asked once, and counted nowhere, whatever its
// flaw, and however many there are of its kind.
func TestARequestThatCannotBeSentIsAskedOnce(t *testing.T) {
	for _, flaw := range flaws {
		t.Run(flaw.name, func(t *testing.T) {
			overDraws(t, 8, func(t *testing.T, d draw) {
				n := testnet.New(t)
				n.Serve("a.test:80", drains)
				on := flaw.on
				if on == "" {
					on = oneOf(d, "h1", "h2")
				}
				transport := func() *http.Transport {
					tr := overPipes[on](n)
					tr.DialContext = dialsPorts(n)
					return tr
				}
				f := testkit.Builds(func() http.RoundTripper { return transport() })
				fallback, _ := d.mayHaveFallback()
				rt := start(t, transport(), append(append(d.options(), fallback...), respawn.WithFactory(f.Make))...)
				between := d.chance(0.5)
				for range 1 + d.IntN(20) {
					req := request(t.Context(), oneOf(d, http.MethodGet, http.MethodHead, http.MethodPost), "http://a.test/", nil)
					flaw.change(req)
					_, err := testkit.Do(rt, req)
					require.Error(t, err)
					if between {
						_, err := get(t.Context(), rt, "http://a.test/")
						require.NoError(t, err)
					}
					time.Sleep(d.between(0, time.Second))
				}
				assert.Zero(t, rt.Health().Replays)
				nothingBuilt(t, rt, f)
				rt.CloseIdleConnections()
			})
		})
	}
}

// garbled draws an answer that net/http cannot read, or does not, for its size.
func garbled(d draw) string {
	return oneOf(d,
		"nonsense\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		fmt.Sprintf("HTTP/1.1 200 OK\r\nX: %s\r\n\r\n", strings.Repeat("x", 5000+d.IntN(100000))),
	)
}

// An answer that cannot be read is the upstream's word all the same: it is not asked for
// again, and counted nowhere.
func TestAnAnswerThatCannotBeReadIsAskedForOnce(t *testing.T) {
	overDraws(t, 40, func(t *testing.T, d draw) {
		n := testnet.New(t)
		said := garbled(d)
		host := hangsUp(n, said, d.between(0, 500*time.Millisecond), false)
		transport := func() http.RoundTripper {
			tr := n.HTTP1()
			tr.MaxResponseHeaderBytes = 4096
			return tr
		}
		f := testkit.Builds(transport)
		fallback, _ := d.mayHaveFallback()
		rt := start(t, transport(), append(append(d.options(), fallback...), respawn.WithFactory(f.Make))...)
		asked := 1 + d.IntN(20)
		for range asked {
			_, err := testkit.Do(rt, request(t.Context(), oneOf(d, http.MethodGet, http.MethodHead, http.MethodPost), "http://a.test/", nil))
			require.Error(t, err)
			time.Sleep(d.between(0, time.Second))
		}
		assert.Equal(t, asked, host.Dials(), "%.50q", said)
		assert.Zero(t, rt.Health().Replays)
		nothingBuilt(t, rt, f)
		require.NoError(t, host.Close())
		time.Sleep(time.Second) // until it has hung up
	})
}
