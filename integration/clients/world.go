package clients

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A World is a network with one upstream on it, and clients that reach the upstream
// through tunnels which can die. It belongs to the bubble that it was made in.
type World struct {
	Network *respawntest.Network
	Host    *respawntest.Host // the upstream
	URL     string            // the upstream's, without a path

	t      testing.TB
	client Client
	wire   *Wire        // the one that was laid last
	dials  atomic.Int64 // through all wires, whatever came of them
}

// NewWorld returns a world for the client. Without an Upstream the world has no host,
// and the caller adds those that it needs to Network.
func NewWorld(t testing.TB, c Client) *World {
	t.Cleanup(func() { time.Sleep(time.Minute) }) // until no handler is in Pieces any more
	w := &World{Network: respawntest.NewNetwork(t), t: t, client: c}
	switch {
	case c.Upstream == nil:
	case c.Plain:
		w.Host, w.URL = w.Network.Serve("api.test:80", c.Upstream), "http://api.test"
	default:
		w.Host, w.URL = w.Network.ServeTLS("api.test:443", c.Upstream), "https://api.test"
	}
	return w
}

// Dials returns how often the clients' transports have tried to connect. The count of
// respawntest.Host lacks the dials that a dead tunnel has refused.
func (w *World) Dials() int { return int(w.dials.Load()) }

// KillTunnel ends the tunnel of the transport that was made last: its connections are
// gone, and each dial fails at once, for good. Only a new tunnel helps.
func (w *World) KillTunnel() {
	w.wire.tunnel.End(errors.New("session shutdown"))
	synctest.Wait()
}

// Transport returns a fresh transport with a tunnel of its own, as the library's users
// have it.
func (w *World) Transport() *http.Transport {
	t, err := w.client.base(w.lay())
	require.NoError(w.t, err)
	w.t.Cleanup(t.CloseIdleConnections)
	return t
}

// Respawn returns respawn above a fresh transport. By default a fresh transport is a
// clone, with the same tunnel under it.
func (w *World) Respawn(opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	return w.respawnAbove(w.Transport(), opts...)
}

func (w *World) respawnAbove(base *http.Transport, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	logger := slog.New(slog.NewTextHandler(w.t.Output(), nil))
	rt, err := respawn.New(base, append([]respawn.Option{respawn.WithLogger(logger)}, opts...)...)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { assert.NoError(w.t, rt.Close()) })
	return rt
}

// Factory makes transports with a tunnel of their own. It is for [respawn.WithFactory].
func (w *World) Factory(context.Context) (http.RoundTripper, error) {
	wire := w.lay()
	t, err := w.client.base(wire)
	return &tunneled{t, wire.tunnel}, err
}

// tunneled is a transport that owns its tunnel.
type tunneled struct {
	*http.Transport
	tunnel *respawntest.Tunnel
}

func (t *tunneled) Close() error { return t.tunnel.Close() }

// Adopt makes a client of the library above rt.
func (w *World) Adopt(rt http.RoundTripper) Calls {
	calls := w.client.Adopt(w.t, rt, w.URL)
	if calls.Close != nil {
		w.t.Cleanup(calls.Close)
	}
	return calls
}

// End closes rt and checks that nothing is left of its requests: neither a body that
// nobody closes, which would hold its generation for good, nor a connection.
func (w *World) End(rt *respawn.RecoveringRoundTripper) {
	synctest.Wait()
	assert.Zero(w.t, rt.Health().InFlight, "a response body was left open")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	assert.NoError(w.t, rt.Shutdown(ctx))
	time.Sleep(10 * time.Second) // HTTP/2 gives up a connection that was silent a little later
	assert.Zero(w.t, w.Host.Connections(), "connections were left open")
}

// A Wire is what a transport needs to reach the hosts of a world.
type Wire struct {
	Roots *x509.CertPool // verifies the upstream's certificate

	world  *World
	tunnel *respawntest.Tunnel
}

// lay returns a new wire.
func (w *World) lay() *Wire {
	w.wire = &Wire{Roots: w.Network.RootCAs(), world: w, tunnel: w.Network.NewTunnel()}
	return w.wire
}

// DialContext dials through the wire's tunnel.
func (wire *Wire) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	wire.world.dials.Add(1)
	return wire.tunnel.DialContext(ctx, network, addr)
}

// Prepare makes t reach the world's hosts, and nothing else of t different.
func (wire *Wire) Prepare(t *http.Transport) {
	t.DialContext, t.Proxy = wire.DialContext, nil
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.RootCAs = wire.Roots
}

// base makes a transport for users of the library.
func (c Client) base(wire *Wire) (*http.Transport, error) {
	if c.Base != nil {
		return c.Base(wire)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	wire.Prepare(t)
	return t, nil
}
