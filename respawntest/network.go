// Package respawntest helps to test code that uses respawn: TestFactory finds mistakes
// in a [respawn.Factory], and a Network puts a client through an incident.
//
//	n := respawntest.NewNetwork(t)
//	api := n.Serve("api.test:80", handler)
//	client := newClient(n.DialContext) // yours
//	api.BlackHoleConnections()
//	// And now: what does the client do?
//
// # Time
//
// This package has no clock of its own. In a [testing/synctest] bubble, which is the
// place for such tests, a minute of silence takes no time and always takes the same
// course. Outside a bubble it takes a minute.
//
// Time stands still in a bubble while a goroutine waits for a mutex. Over HTTP/2, net/http
// holds one while it writes: more than 64 KiB that a fault keeps from arriving hang the
// test as soon as another request needs the connection. Test such uploads over HTTP/1, or
// outside a bubble.
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

// A Network is a network in memory: hosts with names, connections to them, and the
// faults of both. The connections behave like TCP connections on Linux, with errors of
// the same types, keep-alive probes and retransmissions. No socket is opened. A Network
// is made by [NewNetwork] and safe for concurrent use.
type Network struct {
	t   testing.TB
	net *testnet.Network
}

// NewNetwork returns a network without hosts. At the end of the test its servers are
// closed and its connections reset; if the test has failed, the network logs what
// happened on it. To use a network in a synctest bubble, create it inside the bubble,
// with the bubble's t.
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
// The address is "name:port"; the name need not exist anywhere. An address that is
// taken or malformed fails the test.
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

// Listen adds a host for a server of your own, such as a gRPC server or the far end of
// a tunnel. Pass the returned Host to the server as its listener.
func (n *Network) Listen(addr string) *Host {
	n.t.Helper()
	return &Host{n.net.Listen(addr)}
}

// DialContext connects to a host of the network, as the DialContext of a zero
// [net.Dialer] does: with TCP keep-alive, and no time limit but ctx's and the kernel's,
// which is about two minutes. Use it as the DialContext of an [http.Transport].
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.net.DialContext(ctx, network, addr)
}

// RootCAs returns the pool that verifies the certificates of ServeTLS, for a
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

// End ends the tunnel. From now on dials, and reads and writes on its connections, fail
// with exactly err. The hosts see the connections reset. If err is nil, the error is
// [net.ErrClosed] in a [*net.OpError]. After the first End, the error does not change.
func (t *Tunnel) End(err error) { t.dialer.End(err) }

// Close calls End(nil). It is for the Close method of a transport that owns its tunnel.
// The error is always nil.
func (t *Tunnel) Close() error {
	t.End(nil)
	return nil
}
