package testnet

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TCP_USER_TIMEOUT also ends a connection whose peer is alive but does not read. It is counted
// from the first probe of the window.
func TestUserTimeoutOfAZeroWindow(t *testing.T) {
	full := strings.Repeat("x", ReceiveBuffer+1)
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, _ := connect(t, &Dialer{Network: n, UserTimeout: 3 * time.Second}, h)
		after(t, 3200*time.Millisecond, func() {
			writes(t, client, full)
			readFails(t, client, syscall.ETIMEDOUT)
		})
	})
	bubble(t, func(t *testing.T, n *Network, h *Host) { // set late
		client, _ := connect(t, keepAliveOff(n), h)
		writes(t, client, full)
		time.Sleep(30 * time.Second)
		require.NoError(t, client.SetUserTimeout(time.Minute))
		after(t, 30*time.Second+RTOMin, func() { readFails(t, client, syscall.ETIMEDOUT) })
	})
	bubble(t, func(t *testing.T, n *Network, h *Host) { // a reader that pauses
		client, server := connect(t, keepAliveOff(n), h)
		writes(t, client, full)
		time.Sleep(30 * time.Second)
		require.NoError(t, client.SetUserTimeout(time.Minute))
		time.Sleep(25 * time.Second)
		reads(t, server, full)
		time.Sleep(time.Hour)
		writes(t, client, "still there")
		reads(t, server, "still there")
	})
}

// If the news of an open window is lost, a probe finds out. In the dark, 15 unanswered probes end
// the connection.
func TestWindowProbes(t *testing.T) {
	full := strings.Repeat("x", ReceiveBuffer+1)
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, keepAliveOff(n), h)
		writes(t, client, full)
		time.Sleep(time.Second)
		h.Partition(time.Second)
		reads(t, server, full[1:])
		after(t, 2*time.Second, func() { reads(t, server, "x") }) // after 0.2, 0.6, 1.4, 3 s
	})
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, _ := connect(t, keepAliveOff(n), h)
		writes(t, client, full)
		h.BlackHole()
		after(t, RetransmissionLimit, func() { readFails(t, client, syscall.ETIMEDOUT) })
	})
}

// Each answer to a probe of the window resets the count of lost probes.
func TestWindowProbesAreAnswered(t *testing.T) {
	full := strings.Repeat("x", ReceiveBuffer+1)
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, keepAliveOff(n), h)
		server.SetKeepAliveConfig(net.KeepAliveConfig{})
		writes(t, client, full)
		time.Sleep(time.Hour) // probes are two minutes apart by then
		for range 3 {
			h.Partition(12 * RTOMax)
			time.Sleep(15 * RTOMax)
		}
		reads(t, server, full)
	})
}

// Data that has waited for a window counts as sent, and grows old, only from when the window opens.
// From then on it has the timer of retransmissions, not that of probes.
func TestWindowOpensInTheDark(t *testing.T) {
	full := strings.Repeat("x", ReceiveBuffer+1)
	for _, heals := range []bool{true, false} {
		bubble(t, func(t *testing.T, n *Network, h *Host) {
			client, server := connect(t, keepAliveOff(n), h)
			server.SetKeepAliveConfig(net.KeepAliveConfig{})
			client.SetWriteBuffer(2 * len(full))
			writes(t, client, full)
			time.Sleep(time.Hour)
			h.BlackHole(ToHost)
			reads(t, server, full[1:])
			if heals {
				time.AfterFunc(time.Second, h.Heal)
				after(t, 1400*time.Millisecond, func() { reads(t, server, "x") })
			} else {
				after(t, RetransmissionLimit, func() { readFails(t, client, syscall.ETIMEDOUT) })
			}
		})
	}
}

// Data that has no room in the receive buffer is not taken, and neither is a FIN after it.
func TestReceiveBufferShrinks(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		require.NoError(t, server.SetReadBuffer(10))
		h.Partition(time.Second) // so that all of it is sent at once
		writes(t, client, strings.Repeat("x", 95))
		require.NoError(t, client.CloseWrite())
		got := make([]byte, 100)
		at, err := server.Read(got)
		require.NoError(t, err)
		assert.Equal(t, 10, at)
		rest, err := io.ReadAll(server)
		require.NoError(t, err)
		assert.Len(t, rest, 85)
	})
}
