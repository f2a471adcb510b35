package testkit

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

// Where acknowledgments alone are lost, the data has arrived, once.
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

// A moment of light between two probes is no answer.
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
		after(t, 135*time.Second, func() { readFails(t, client, syscall.ETIMEDOUT) }) // it was idle long ago
	})
}

// One answered probe is as good as a new beginning.
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

// TCP_USER_TIMEOUT ends what is unacknowledged for longer, and takes the place
// of the number of keep-alive's probes.
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

// A peer that lives and does not read is ended by TCP_USER_TIMEOUT as well,
// counted from the first probe of its window.
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

// The news of an open window was lost: a probe finds out, in the dark 15 of
// them end the connection.
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

// Each answer begins the count of lost probes anew.
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

// What a window that opens lets through is as young as that, and has the
// timer of what is sent.
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

// What has no room is not taken, a FIN after it included.
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

// Both ends have closed: what could not be sent is still sent.
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
