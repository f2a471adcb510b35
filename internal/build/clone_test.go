package build

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// protoServer answers with the protocol and the address that it sees.
func protoServer(w http.ResponseWriter, req *http.Request) {
	fmt.Fprintf(w, "%s %s", req.Proto, req.RemoteAddr)
}

func unencryptedHTTP2() *http.Transport {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	return tr
}

// visit makes one request over tr and returns the protocol and the address of
// the connection as the server saw them.
func visit(t *testing.T, tr http.RoundTripper, url string) (proto, addr string, err error) {
	t.Helper()
	client := &http.Client{Transport: tr}
	resp, err := client.Get(url)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	_, err = fmt.Fscan(resp.Body, &proto, &addr)
	return proto, addr, err
}

// https2 is a TLS server that speaks h1 and h2, and a client config for it.
func https2(t *testing.T) (url string, config func() *tls.Config) {
	t.Helper()
	url, roots := serveH2(t, http.HandlerFunc(protoServer))
	return url, func() *tls.Config { return &tls.Config{RootCAs: roots} }
}

func mustVisit(t *testing.T, tr http.RoundTripper, url string) (proto, addr string) {
	t.Helper()
	proto, addr, err := visit(t, tr, url)
	require.NoError(t, err)
	return proto, addr
}

// zeroValueFor is &http.Transport{} as far as net/http's own HTTP/2 goes, for
// a test server: a zero TLSClientConfig is what makes it a zero value, so the
// server's certificate comes in through the default config after first use.
func zeroValueFor(t *testing.T, url string, config *tls.Config) *http.Transport {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	// The first use enables HTTP/2 and leaves a TLSClientConfig that offers
	// it. It does not know the certificate yet.
	_, _, err := visit(t, tr, url)
	require.ErrorContains(t, err, "certificate")
	require.NotNil(t, tr.TLSClientConfig, "net/http has left a TLSClientConfig, which is the trap")
	tr.TLSClientConfig.RootCAs = config.RootCAs
	return tr
}

// Clone of a used zero value offers HTTP/2 and does not speak it
// (golang/go#79418); CloneTransport does.
func TestCloneOfZeroValue(t *testing.T) {
	noLeaks(t)
	url, config := https2(t)
	base := zeroValueFor(t, url, config())
	proto, addr := mustVisit(t, base, url)
	require.Equal(t, "HTTP/2.0", proto)

	naive := base.Clone()
	defer naive.CloseIdleConnections()
	if proto, _, err := visit(t, naive, url); err == nil {
		t.Logf("the trap is gone: a naive clone of a zero value speaks %s", proto)
	} else {
		t.Logf("the trap is there: %v", err) // in one of several words, it is a race
	}

	ours := CloneTransport(base)
	defer ours.CloseIdleConnections()
	proto, fresh := mustVisit(t, ours, url)
	assert.Equal(t, "HTTP/2.0", proto)
	assert.NotEqual(t, addr, fresh, "a clone must have connections of its own")
	again := CloneTransport(ours) // and so on, generation after generation
	defer again.CloseIdleConnections()
	proto, _ = mustVisit(t, again, url)
	assert.Equal(t, "HTTP/2.0", proto)

	proto, still := mustVisit(t, base, url)
	assert.Equal(t, "HTTP/2.0", proto)
	assert.Equal(t, addr, still, "cloning must leave the original's pool alone")
}

// A zero value that was never used.
func TestCloneOfUnusedZeroValue(t *testing.T) {
	noLeaks(t)
	url, config := https2(t)
	ours := CloneTransport(&http.Transport{})
	defer ours.CloseIdleConnections()
	if ours.TLSClientConfig == nil {
		ours.TLSClientConfig = &tls.Config{}
	}
	ours.TLSClientConfig.RootCAs = config().RootCAs
	proto, _ := mustVisit(t, ours, url)
	assert.Equal(t, "HTTP/2.0", proto)
}

// configureTransports sets tr up as client-go does, which came before
// http.Transport.Protocols.
func configureTransports(t *testing.T, tr *http.Transport) {
	t.Helper()
	_, err := http2.ConfigureTransports(tr) //lint:ignore SA1019 many programs still do
	require.NoError(t, err)
}

// After http2.ConfigureTransports, which client-go calls, a naive clone goes
// on using the original's connection, dead or alive: it dials and throws the
// new one away. CloneTransport has a pool of its own and speaks HTTP/2.
func TestCloneAfterConfigureTransports(t *testing.T) {
	noLeaks(t)
	url, config := https2(t)
	var dials atomic.Int64
	base := &http.Transport{TLSClientConfig: config(), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	defer base.CloseIdleConnections()
	configureTransports(t, base)
	proto, addr := mustVisit(t, base, url)
	require.Equal(t, "HTTP/2.0", proto)

	naive := base.Clone()
	defer naive.CloseIdleConnections()
	switch proto, shared, err := visit(t, naive, url); {
	case err == nil && shared == addr:
		// The trap: this is the original's connection.
	default:
		t.Logf("the trap is gone: a naive clone got %s on %s, %v", proto, shared, err)
	}

	ours := CloneTransport(base)
	defer ours.CloseIdleConnections()
	before := dials.Load()
	proto, fresh := mustVisit(t, ours, url)
	assert.Equal(t, "HTTP/2.0", proto)
	assert.NotEqual(t, addr, fresh, "a clone that shares the dead pool cures nothing")
	assert.EqualValues(t, 1, dials.Load()-before, "it dials once and keeps what it got")
	_, kept := mustVisit(t, ours, url)
	assert.Equal(t, fresh, kept)

	base.CloseIdleConnections() // respawn does that when it retires base
	_, kept = mustVisit(t, ours, url)
	assert.Equal(t, fresh, kept, "retiring the old one must not touch the fresh one's connections")
	_, still := base.TLSNextProto["h2"]
	assert.True(t, still, "cloning must not change the original")
}

// A base may be in use already when New looks for its pings, and net/http completes its
// settings at the first use: nobody who tests with -race hears of that.
func TestPingsAreLookedForBesideTheFirstUse(t *testing.T) {
	base := &http.Transport{ForceAttemptHTTP2: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, refused() }}
	used := make(chan error)
	go func() {
		_, err := base.RoundTrip(httptest.NewRequest(http.MethodGet, "https://a.test/", nil))
		used <- err
	}()
	assert.True(t, Pingless(base))
	require.ErrorIs(t, <-used, syscall.ECONNREFUSED)
	assert.True(t, Pingless(base), "and what net/http has filled in is no ping")
}

// HTTP/2 that was turned off stays off, and what was chosen is carried over.
func TestCloneKeepsTheChoiceOfProtocols(t *testing.T) {
	only := func(set func(*http.Protocols)) *http.Protocols {
		p := new(http.Protocols)
		set(p)
		return p
	}
	cases := map[string]struct {
		base *http.Transport
		want string
	}{
		"empty TLSNextProto": {&http.Transport{
			TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
		}, "HTTP/1.1"},
		"custom TLS config": {&http.Transport{}, "HTTP/1.1"}, // net/http is conservative then
		"ForceAttemptHTTP2": {&http.Transport{ForceAttemptHTTP2: true}, "HTTP/2.0"},
		"Protocols: HTTP1":  {&http.Transport{Protocols: only(func(p *http.Protocols) { p.SetHTTP1(true) })}, "HTTP/1.1"},
		"Protocols: HTTP2":  {&http.Transport{Protocols: only(func(p *http.Protocols) { p.SetHTTP2(true) })}, "HTTP/2.0"},
		"Protocols: both": {&http.Transport{Protocols: only(func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) })},
			"HTTP/2.0"},
		"Protocols: HTTP1 in spite of Force": {&http.Transport{
			ForceAttemptHTTP2: true, Protocols: only(func(p *http.Protocols) { p.SetHTTP1(true) }),
		}, "HTTP/1.1"},
	}
	for name, tc := range cases {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/used=%v", name, used), func(t *testing.T) {
				noLeaks(t)
				url, config := https2(t)
				base := &http.Transport{ // a fresh one for each run
					TLSClientConfig: config(), TLSNextProto: tc.base.TLSNextProto,
					ForceAttemptHTTP2: tc.base.ForceAttemptHTTP2, Protocols: tc.base.Protocols,
				}
				defer base.CloseIdleConnections()
				if used {
					proto, _ := mustVisit(t, base, url)
					require.Equal(t, tc.want, proto, "what net/http makes of it")
				}
				ours := CloneTransport(base)
				defer ours.CloseIdleConnections()
				proto, _ := mustVisit(t, ours, url)
				assert.Equal(t, tc.want, proto)
			})
		}
	}

	t.Run("unencrypted HTTP/2", func(t *testing.T) {
		noLeaks(t)
		srv := &http.Server{Handler: http.HandlerFunc(protoServer), Protocols: new(http.Protocols)}
		srv.Protocols.SetUnencryptedHTTP2(true)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go srv.Serve(l)
		t.Cleanup(func() { srv.Close() })
		base := unencryptedHTTP2()
		defer base.CloseIdleConnections()
		_, addr := mustVisit(t, base, "http://"+l.Addr().String())
		ours := CloneTransport(base)
		defer ours.CloseIdleConnections()
		proto, fresh := mustVisit(t, ours, "http://"+l.Addr().String())
		assert.Equal(t, "HTTP/2.0", proto)
		assert.NotEqual(t, addr, fresh)
	})
}

// Settings are carried over, those for HTTP/2 in net/http too.
func TestCloneKeepsSettings(t *testing.T) {
	base := &http.Transport{
		MaxIdleConns: 7, MaxConnsPerHost: 3, IdleConnTimeout: time.Minute, DisableCompression: true,
		ResponseHeaderTimeout: time.Second, TLSClientConfig: &tls.Config{ServerName: "a.test"},
		HTTP2: &http.HTTP2Config{SendPingTimeout: time.Second},
	}
	ours := CloneTransport(base)
	assert.Equal(t, 7, ours.MaxIdleConns)
	assert.Equal(t, 3, ours.MaxConnsPerHost)
	assert.Equal(t, time.Minute, ours.IdleConnTimeout)
	assert.True(t, ours.DisableCompression)
	assert.Equal(t, time.Second, ours.ResponseHeaderTimeout)
	assert.Equal(t, "a.test", ours.TLSClientConfig.ServerName)
	assert.Equal(t, time.Second, ours.HTTP2.SendPingTimeout)
	ours.TLSClientConfig.ServerName = "b.test"
	assert.Equal(t, "a.test", base.TLSClientConfig.ServerName, "a copy, not the same config")
}
