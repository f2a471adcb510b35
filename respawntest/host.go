package respawntest

import (
	"net"
	"time"

	"github.com/respawnhttp/respawn/internal/testnet"
)

// A Host is an address of a [Network]. Its methods inject faults, which add up and last
// until Heal. BlackHoleConnections and Reset affect only the connections that exist at
// the time. All other faults affect later connections, too, so that no fresh transport
// gets around them. All methods are safe for concurrent use.
type Host struct{ host *testnet.Host }

// Refuse refuses new connections, like a host whose server has stopped. Existing
// connections live on: see Reset.
func (h *Host) Refuse() { h.host.Refuse() }

// Reset resets the existing connections; both ends see ECONNRESET.
func (h *Host) Reset() { h.host.Reset() }

// BlackHole loses every packet to and from the host, and nobody is told: dials hang,
// and requests wait for answers. If the fault lasts, a kernel gives up on a connection
// after about 15 minutes, or sooner by keep-alive probes.
func (h *Host) BlackHole() { h.host.BlackHole() }

// BlackHoleConnections loses every packet of the existing connections only, like a NAT
// or load balancer that has forgotten them: a new connection works.
func (h *Host) BlackHoleConnections() {
	for _, l := range h.host.Links() {
		l.BlackHole()
	}
}

// Freeze stops the host's process while its kernel goes on: connections are accepted
// and data is acknowledged, but nothing is answered.
func (h *Host) Freeze() { h.host.Freeze() }

// Slow delays every packet by oneWay, so that a round trip takes twice as long.
func (h *Host) Slow(oneWay time.Duration) { h.host.Slow(oneWay) }

// Heal ends all faults. Data that a black hole has lost arrives with its next
// retransmission, which can take a minute, and so does the close of a connection.
// Connections that were reset stay reset.
func (h *Host) Heal() {
	h.host.Heal()
	for _, l := range h.host.AllLinks() {
		l.Heal()
	}
}

// Dials returns how often somebody has tried to connect, with or without success.
func (h *Host) Dials() int { return h.host.Dials() }

// Connections returns how many connections clients have open.
func (h *Host) Connections() int { return h.host.Open() }

// Accept implements [net.Listener], for hosts made by [Network.Listen].
func (h *Host) Accept() (net.Conn, error) { return h.host.Accept() }

// Close implements [net.Listener]: dials are refused from now on, and accepted
// connections live on. Listen can be called again for the address.
func (h *Host) Close() error { return h.host.Close() }

// Addr implements [net.Listener].
func (h *Host) Addr() net.Addr { return h.host.Addr() }
