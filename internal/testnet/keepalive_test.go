package testnet

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An idle connection in the dark ends by keep-alive, whose probes were answered
// until then.
func TestKeepAlive(t *testing.T) {
	for name, test := range map[string]struct {
		dialer Dialer
		idle   time.Duration // before the dark begins
		ends   time.Duration // after that
	}{
		"Go's defaults":         {Dialer{}, 0, 150 * time.Second},
		"after a while":         {Dialer{}, 20 * time.Second, 145 * time.Second},
		"KeepAlive":             {Dialer{KeepAlive: 30 * time.Second}, 0, 165 * time.Second},
		"KeepAliveConfig":       {Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}, 3 * time.Second, 22 * time.Second},
		"the system's defaults": {Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}}, time.Hour, time.Hour + 675*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *Network, h *Host) {
				test.dialer.Network = n
				client, _ := connect(t, &test.dialer, h)
				time.Sleep(test.idle)
				h.BlackHole()
				after(t, test.ends, func() { readFails(t, client, syscall.ETIMEDOUT) })
			})
		})
	}
	assert.Equal(t, 150*time.Second, KeepAliveLimit)
}

// If the way heals for a moment between two probes, that is no answer to a probe.
func TestKeepAliveBlinks(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, _ := connect(t, n, h)
		h.BlackHole()
		time.AfterFunc(100*time.Second, func() { h.Heal(); h.BlackHole() })
		after(t, KeepAliveLimit, func() { readFails(t, client, syscall.ETIMEDOUT) })
	})
}

// Keep-alive looks at what is heard, not at what gets through: a peer whose
// retransmissions arrive lives, and one that gives up says so if it can.
func TestKeepAliveOneWay(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		server.SetKeepAliveConfig(net.KeepAliveConfig{})
		h.BlackHole(ToHost)
		time.Sleep(10 * time.Second)
		writes(t, server, "heard")
		reads(t, client, "heard")
		lastHeard := RetransmissionLimit - RTOMax
		after(t, lastHeard+KeepAliveLimit, func() { readFails(t, client, syscall.ETIMEDOUT) })
	})
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		h.BlackHole(FromHost)
		after(t, KeepAliveLimit, func() { readFails(t, server, syscall.ECONNRESET) })
		readFails(t, client, syscall.ETIMEDOUT)
	})
}

func TestKeepAliveOff(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, _ := connect(t, keepAliveOff(n), h)
		h.BlackHole()
		client.SetReadDeadline(time.Now().Add(24 * time.Hour))
		after(t, 24*time.Hour, func() { readFails(t, client, os.ErrDeadlineExceeded) })
		client.SetReadDeadline(time.Time{})
		require.NoError(t, client.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true}))
		after(t, 135*time.Second, func() { readFails(t, client, syscall.ETIMEDOUT) }) // the connection has long been idle: the first probe is due at once
	})
}

// A probe that is answered starts the count of lost ones over.
func TestKeepAliveIsAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		for range 3 {
			h.Partition(134 * time.Second) // the last probe is sent after 135 s
			time.Sleep(time.Hour)
		}
		writes(t, client, "alive")
		reads(t, server, "alive")
		h.BlackHole()
		after(t, 150*time.Second, func() { readFails(t, client, syscall.ETIMEDOUT) })
	})
}

// A server whose client has gone in the dark is told by the first probe that
// gets through.
func TestKeepAliveFindsThePeerGone(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		server.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 10 * time.Minute})
		h.Partition(5 * time.Minute)
		after(t, 150*time.Second, func() { readFails(t, client, syscall.ETIMEDOUT) })
		after(t, 450*time.Second, func() { readFails(t, server, syscall.ECONNRESET) })
	})
}
