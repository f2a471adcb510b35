// Package respawntest is for tests of what stands on respawn: TestFactory finds the
// traps of a [respawn.Factory], and a Network puts a client through an incident.
//
//	n := respawntest.NewNetwork(t)
//	api := n.Serve("api.test:80", handler)
//	client := newClient(n.DialContext) // yours
//	api.BlackHoleConnections()
//	// And now: what does the client do?
//
// # Time
//
// Nothing here has a clock of its own. In a [testing/synctest] bubble, which is the
// place for such tests, a minute of silence takes no time and always takes the same
// course. Outside of one it takes a minute.
package respawntest

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/respawnhttp/respawn/internal/testnet"
)

// A Network is an internet of its own, in memory: hosts with names, connections to
// them, and the faults of both. Its connections behave as those of TCP on Linux do,
// with errors of the same types, keep-alive probes and retransmissions. No socket is
// opened. A Network is made by [NewNetwork] and safe for concurrent use.
type Network struct {
	t   testing.TB
	net *testnet.Network
}

// NewNetwork returns a network without hosts. At the end of the test its servers are
// closed and its connections reset; if the test has failed, it logs what happened on
// the network. For a synctest bubble it has to be made inside, with the bubble's t.
func NewNetwork(t testing.TB) *Network {
	n := &Network{t: t, net: testnet.New(t)}
	t.Cleanup(n.tell)
	return n
}

// tell logs the network's story for the reader of a test that has failed.
func (n *Network) tell() {
	n.t.Helper()
	if !n.t.Failed() {
		return
	}
	var story strings.Builder
	for _, e := range n.net.Events() {
		fmt.Fprintf(&story, "\n%v", e)
	}
	n.t.Logf("what happened on the network:%s", &story)
}

// Serve adds a host that serves HTTP/1, and HTTP/2 to clients that use it without TLS.
// The address is "name:port"; name need not exist. An address that is taken or makes no
// sense fails the test.
func (n *Network) Serve(addr string, handler http.Handler) *Host {
	n.t.Helper()
	return &Host{n.net.Serve(addr, handler)}
}

// ServeTLS is [Network.Serve] over TLS, with HTTP/1 and HTTP/2. Clients need
// [Network.RootCAs] to trust its certificate.
func (n *Network) ServeTLS(addr string, handler http.Handler) *Host {
	n.t.Helper()
	return &Host{n.net.ServeTLS(addr, handler)}
}

// Listen adds a host for a server of your own: one of gRPC, the far end of a tunnel.
// The Host that it returns is the server's listener.
func (n *Network) Listen(addr string) *Host {
	n.t.Helper()
	return &Host{n.net.Listen(addr)}
}

// DialContext connects to a host of the network, as the DialContext of a zero
// [net.Dialer] does: with TCP keep-alive, and no time limit but ctx's and the kernel's,
// which is about two minutes. It is made for [http.Transport].
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.net.DialContext(ctx, network, addr)
}

// RootCAs returns what the certificates of ServeTLS are verified by, for
// [crypto/tls.Config].
func (n *Network) RootCAs() *x509.CertPool { return n.net.RootCAs() }

// NewTunnel returns a tunnel to the hosts of the network.
func (n *Network) NewTunnel() *Tunnel {
	return &Tunnel{testnet.Dialer{Network: n.net}}
}

// A Tunnel is a dialer that can die for good, as an SSH or yamux session does.
type Tunnel struct{ dialer testnet.Dialer }

// DialContext is [Network.DialContext] through the tunnel.
func (t *Tunnel) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return t.dialer.DialContext(ctx, network, addr)
}

// End ends the tunnel: dials fail with err from now on, as it is, and so do reads and
// writes on its connections. The hosts see these reset. A nil err is [net.ErrClosed] in
// a [*net.OpError]. What a tunnel has ended with first remains.
func (t *Tunnel) End(err error) { t.dialer.End(err) }

// Close is End(nil), for the Close of a transport that owns its tunnel. The error is
// always nil.
func (t *Tunnel) Close() error {
	t.End(nil)
	return nil
}
