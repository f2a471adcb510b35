package respawntest

import (
	"net"
	"time"

	"github.com/respawnhttp/respawn/internal/testnet"
)

// A Host is an address of a [Network], and what befalls those who connect to it. Faults
// add up and last until Heal. Only BlackHoleConnections and Reset are about the
// connections of the moment alone; the others are met by later ones, too, so that no
// fresh transport gets around them. All methods are safe for concurrent use.
type Host struct{ host *testnet.Host }

// Refuse refuses connections, as a host does whose server has stopped. Those that are
// there live on: see Reset.
func (h *Host) Refuse() { h.host.Refuse() }

// Reset resets the connections of the moment, whose both ends see ECONNRESET.
func (h *Host) Reset() { h.host.Reset() }

// BlackHole loses every packet to and from the host, and nobody is told: dials hang, and
// requests wait for answers. Left alone, a kernel gives up on a connection after about
// 15 minutes, or sooner by keep-alive probes.
func (h *Host) BlackHole() { h.host.BlackHole() }

// BlackHoleConnections does that to the connections of the moment alone, as a NAT or load
// balancer that has forgotten them: a new connection would work.
func (h *Host) BlackHoleConnections() {
	for _, l := range h.host.Links() {
		l.BlackHole()
	}
}

// Freeze stops the host's process while its kernel goes on: connections are made, data
// is acknowledged, and nothing is answered.
func (h *Host) Freeze() { h.host.Freeze() }

// Slow delays every packet by oneWay, so that a round trip takes twice as long.
func (h *Host) Slow(oneWay time.Duration) { h.host.Slow(oneWay) }

// Heal ends all faults. What a black hole has lost arrives with its next
// retransmission, which can take a minute; what was reset stays so.
func (h *Host) Heal() {
	h.host.Heal()
	for _, l := range h.host.Links() {
		l.Heal()
	}
}

// Dials returns how often somebody has tried to connect, with or without success.
func (h *Host) Dials() int { return h.host.Dials() }

// Connections returns how many connections clients have open.
func (h *Host) Connections() int { return h.host.Open() }

// Accept implements [net.Listener], for hosts made by [Network.Listen].
func (h *Host) Accept() (net.Conn, error) { return h.host.Accept() }

// Close implements [net.Listener]: dials are refused from now on, and what was accepted
// lives on. Listen can be called again for the address.
func (h *Host) Close() error { return h.host.Close() }

// Addr implements [net.Listener].
func (h *Host) Addr() net.Addr { return h.host.Addr() }
