package testnet

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// keepAliveOff is for tests of other rules.
func keepAliveOff(n *Network) *Dialer { return &Dialer{Network: n, KeepAlive: -1} }

// Unacknowledged data in the dark ends the connection after 15 retransmissions.
func TestRetransmissionsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		time.Sleep(time.Minute)
		h.BlackHole()
		after(t, 924600*time.Millisecond, func() {
			writes(t, client, "lost") // keep-alive is on: it has nothing to say here
			readFails(t, client, syscall.ETIMEDOUT)
		})
		writeFails(t, client, syscall.ETIMEDOUT)
		readFails(t, server, syscall.ETIMEDOUT) // by keep-alive
		client.Close()
		server.Close()
		assert.Zero(t, remaining(h))
	})
}

func TestUnacknowledgedSinceTheOldest(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, _ := connect(t, n, h)
		h.BlackHole()
		go func() {
			for range 10 {
				io.WriteString(client, "more")
				time.Sleep(time.Minute)
			}
		}()
		after(t, RetransmissionLimit, func() { readFails(t, client, syscall.ETIMEDOUT) })
	})
}

// If only acknowledgments are lost, the data still arrives, and only once.
func TestLostAcknowledgments(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, keepAliveOff(n), h)
		h.BlackHole(FromHost)
		writes(t, client, "arrives")
		after(t, 0, func() { reads(t, server, "arrives") })
		after(t, RetransmissionLimit, func() { readFails(t, client, syscall.ETIMEDOUT) })
		server.SetReadDeadline(time.Now().Add(time.Second))
		readFails(t, server, os.ErrDeadlineExceeded)
		// The client's kernel knows nothing of the connection any more.
		h.Heal()
		server.SetReadDeadline(time.Time{})
		writes(t, server, "anybody there?")
		readFails(t, server, syscall.ECONNRESET)
	})
}

// Retransmissions are sent after 0.2, 0.6, 1.4, ... s: what was written in a
// partition arrives with the next one, and what is written after it waits, too.
func TestPartition(t *testing.T) {
	for heals, arrives := range map[time.Duration]time.Duration{
		100 * time.Millisecond: 200 * time.Millisecond,
		time.Second:            1400 * time.Millisecond,
		time.Minute:            102200 * time.Millisecond,
		10 * time.Minute:       684600 * time.Millisecond,
	} {
		bubble(t, func(t *testing.T, n *Network, h *Host) {
			client, server := connect(t, keepAliveOff(n), h)
			server.SetKeepAliveConfig(net.KeepAliveConfig{})
			h.Partition(heals)
			writes(t, client, "during")
			if heals >= time.Second {
				time.AfterFunc(heals+time.Millisecond, func() { io.WriteString(client, " after") })
			}
			after(t, arrives, func() { reads(t, server, "during") })
			if heals >= time.Second {
				after(t, 0, func() { reads(t, server, " after") })
			}
			assert.Zero(t, client.out.backoff)
			client.Close()
		})
	}
}

// A gap in what arrives is filled at once, if something after it arrives.
func TestFastRetransmission(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		h.Partition(50 * time.Millisecond)
		writes(t, client, "lost,")
		time.Sleep(100 * time.Millisecond)
		after(t, 0, func() {
			writes(t, client, "found")
			reads(t, server, "lost,found")
		})
	})
}

func TestSlowNetworkRetransmitsLater(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		h.Slow(time.Second)
		writes(t, client, "lost") // under way when the dark begins
		h.Set(Faults{DelayToHost: time.Second, DelayFromHost: time.Second, Drop: Both})
		time.Sleep(1500 * time.Millisecond)
		h.Heal()
		h.Slow(time.Second)
		after(t, 1700*time.Millisecond, func() { reads(t, server, "lost") }) // 2.2 s after the first, and 1 s on its way
	})
}

// TCP_USER_TIMEOUT ends a connection whose data is not acknowledged for that long. For keep-alive it
// takes the place of the number of probes.
func TestUserTimeout(t *testing.T) {
	keep := net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}
	for _, test := range []struct {
		user, unacknowledged, idle time.Duration
	}{
		{12 * time.Second, 12 * time.Second, 15 * time.Second},
		{60 * time.Second, 60 * time.Second, 60 * time.Second},
		{62 * time.Second, 62 * time.Second, 65 * time.Second},
		{time.Hour, time.Hour, time.Hour},
		{time.Second, time.Second, 15 * time.Second}, // one lost probe
	} {
		bubble(t, func(t *testing.T, n *Network, h *Host) {
			d := &Dialer{Network: n, KeepAliveConfig: keep, UserTimeout: test.user}
			idle, _ := connect(t, d, h)
			busy, _ := connect(t, d, h)
			h.BlackHole()
			begin := time.Now()
			writes(t, busy, "x")
			done := make(chan time.Duration)
			go func() {
				readFails(t, idle, syscall.ETIMEDOUT)
				done <- time.Since(begin)
			}()
			after(t, test.unacknowledged, func() { readFails(t, busy, syscall.ETIMEDOUT) })
			assert.Equal(t, test.idle, <-done)
		})
	}
}

// What was unsent when both programs closed their ends is sent once the network heals.
func TestOrphans(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		h.BlackHole()
		client.Close()
		server.Close()
		assert.Equal(t, 1, remaining(h))
		h.Heal()
		time.Sleep(RTOMin + time.Millisecond)
		assert.Zero(t, remaining(h))
	})
}
