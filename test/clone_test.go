package test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// protoServer answers with the protocol and the address that it sees.
func protoServer(w http.ResponseWriter, req *http.Request) {
	fmt.Fprintf(w, "%s %s", req.Proto, req.RemoteAddr)
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
	srv, transport := h2.serve(t, http.HandlerFunc(protoServer))
	return srv.URL, func() *tls.Config { return transport().TLSClientConfig }
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

// configureTransports sets tr up as client-go does, which came before
// http.Transport.Protocols.
func configureTransports(t *testing.T, tr *http.Transport) {
	t.Helper()
	_, err := http2.ConfigureTransports(tr) //lint:ignore SA1019 many programs still do
	require.NoError(t, err)
}

// The same as respawn does it, with a promotion on real traffic.
func TestCloneInService(t *testing.T) {
	setups := map[string]func(t *testing.T, url string, config *tls.Config) *http.Transport{
		"zero value": zeroValueFor,
		"ConfigureTransports": func(t *testing.T, _ string, config *tls.Config) *http.Transport {
			tr := &http.Transport{TLSClientConfig: config}
			configureTransports(t, tr)
			return tr
		},
		"ForceAttemptHTTP2": func(_ *testing.T, _ string, config *tls.Config) *http.Transport {
			return &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		},
	}
	for name, setup := range setups {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			url, config := https2(t)
			rt := start(t, setup(t, url, config()))
			seen := map[string]bool{}
			for generation := range 3 {
				proto, addr := mustVisit(t, rt, url)
				assert.Equal(t, "HTTP/2.0", proto, "generation %d", generation+1)
				seen[addr] = true
				require.NoError(t, rt.Recreate(t.Context()))
			}
			assert.Len(t, seen, 3, "each generation has a connection of its own")
		})
	}
}

// What was set on x/net's http2.Transport cannot be read, so that a clone would have no
// pings where base had some: it gets ours, and a line says so. Pings of net/http's own,
// and a base without, are as they were.
func TestACloneHasPingsForThoseThatItCannotHave(t *testing.T) {
	const second = time.Second
	for name, tt := range map[string]struct {
		base          func() *http.Transport
		after, answer time.Duration
		lost, warned  int
	}{
		"x/net's": {func() *http.Transport {
			tr := &http.Transport{DialContext: new(net.Dialer).DialContext} // as client-go's
			t2, err := http2.ConfigureTransports(tr)                        //lint:ignore SA1019 many programs still do
			require.NoError(t, err)
			t2.ReadIdleTimeout = time.Minute //lint:ignore SA1019 so does client-go
			return tr
		}, 30 * second, 15 * second, 1, 0},
		"net/http's": {func() *http.Transport {
			return &http.Transport{HTTP2: &http.HTTP2Config{SendPingTimeout: 7 * second, PingTimeout: 3 * second}}
		}, 7 * second, 3 * second, 0, 0},
		"none":                {func() *http.Transport { return &http.Transport{ForceAttemptHTTP2: true} }, 0, 0, 0, 1},
		"none, and no HTTP/2": {func() *http.Transport { return &http.Transport{DialContext: new(net.Dialer).DialContext} }, 0, 0, 0, 0},
		"none, HTTP/1 alone": {func() *http.Transport {
			p := new(http.Protocols)
			p.SetHTTP1(true)
			return &http.Transport{Protocols: p}
		}, 0, 0, 0, 0},
		"respawn.NewTransport": {respawn.NewTransport, 30 * second, 15 * second, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, base := testkit.NewProbe(t), tt.base()
			was := http2Config(base)
			rt := start(t, base, observed(p)...)
			for range 3 {
				require.NoError(t, rt.Recreate(t.Context()))
				next := rt.WrappedRoundTripper().(*http.Transport)
				require.NotSame(t, base, next)
				var after, answer time.Duration
				if next.HTTP2 != nil {
					after, answer = next.HTTP2.SendPingTimeout, next.HTTP2.PingTimeout
				}
				assert.Equal(t, tt.after, after)
				assert.Equal(t, tt.answer, answer)
			}
			assert.Equal(t, was, http2Config(base), "base is never changed")
			assert.Len(t, p.Logged("cannot be carried over"), tt.lost, "once")
			assert.Len(t, p.Logged("base sends no HTTP/2 pings"), tt.warned, "once")
			assert.Empty(t, p.Warnings())
		})
	}
}

// http2Config is what tr.HTTP2 says. Since Go 1.27 net/http puts an empty one where there
// was none.
func http2Config(tr *http.Transport) http.HTTP2Config {
	if tr.HTTP2 == nil {
		return http.HTTP2Config{}
	}
	return *tr.HTTP2
}

// The clone is made when it is needed, of what base is then: fields that the
// caller set after New count.
func TestCloneIsMadeLate(t *testing.T) {
	base := &http.Transport{}
	rt := start(t, base)
	base.MaxConnsPerHost = 11
	require.NoError(t, rt.Recreate(t.Context()))
	got, ok := rt.WrappedRoundTripper().(*http.Transport)
	require.True(t, ok)
	assert.NotSame(t, base, got)
	assert.Equal(t, 11, got.MaxConnsPerHost)
}

// embedding has a RoundTrip of its own, which the promoted Clone would lose.
type embedding struct{ *http.Transport }

func (e embedding) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "signed")
	return e.Transport.RoundTrip(req)
}

func TestCloneIsNotDetectedByMethod(t *testing.T) {
	base := embedding{&http.Transport{}}
	var _ interface{ Clone() *http.Transport } = base
	_, err := respawn.New(base)
	require.ErrorContains(t, err, "WithFactory")
	assert.ErrorContains(t, err, "test.embedding", "it names the type")
	_, err = respawn.New(&base)
	require.ErrorContains(t, err, "WithFactory")
	_, err = respawn.New(base, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return embedding{&http.Transport{}}, nil }))
	assert.NoError(t, err)
}
