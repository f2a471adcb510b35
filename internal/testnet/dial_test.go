package testnet

import (
	"context"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/internal/testkit"
)

func TestDialErrors(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		_, err := n.Dial("udp", good)
		fails2 := func(want string) {
			t.Helper()
			var e *net.OpError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "dial", e.Op)
			assert.Contains(t, err.Error(), want)
		}
		fails2("unknown network udp")
		_, err = n.Dial("tcp", "nobody.test:443")
		fails2("no such host")
		var dns *net.DNSError
		require.ErrorAs(t, err, &dns)
		assert.True(t, dns.IsNotFound)
		_, err = n.Dial("tcp", "nonsense")
		fails2("missing port")
		_, err = n.Dial("tcp", "GOOD.test:80")
		fails(t, err, "dial", syscall.ECONNREFUSED)
		assert.Zero(t, h.Dials(), "nobody has asked for this port")
		c, err := n.Dial("tcp", "GOOD.TEST:443")
		require.NoError(t, err)
		c.Close()
	})
}

func TestRefuse(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		h.Refuse()
		_, err := n.Dial("tcp", good)
		fails(t, err, "dial", syscall.ECONNREFUSED)
		assert.Equal(t, "dial tcp 192.0.2.1:443: connect: connection refused", err.Error())
		writes(t, client, "lives on")
		reads(t, server, "lives on")
		h.Heal()
		connect(t, n, h)
		assert.Equal(t, 3, h.Dials())
	})
}

// A dial into the dark waits for the kernel, its dialer or its context.
func TestDialIntoTheDark(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		for _, way := range []Direction{ToHost, FromHost} {
			h.Set(Faults{Drop: way})
			after(t, 127*time.Second, func() {
				_, err := n.Dial("tcp", good)
				fails(t, err, "dial", syscall.ETIMEDOUT)
			})
		}
		assert.Equal(t, 127*time.Second, DialLimit)
		d := &Dialer{Network: n, Timeout: 30 * time.Second}
		after(t, 30*time.Second, func() {
			_, err := d.Dial("tcp", good)
			fails(t, err, "dial", os.ErrDeadlineExceeded)
		})
		for _, limit := range []time.Duration{5 * time.Second, time.Minute} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			after(t, min(limit, d.Timeout), func() {
				_, err := d.DialContext(ctx, "tcp", good)
				fails(t, err, "dial", os.ErrDeadlineExceeded)
			})
			cancel()
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		after(t, 5*time.Second, func() {
			_, err := d.DialContext(ctx, "tcp", good)
			assert.ErrorIs(t, err, context.Canceled)
			assert.Contains(t, err.Error(), "dial tcp 192.0.2.1:443: operation was canceled")
		})
		late, end := context.WithDeadline(t.Context(), time.Now())
		_, err := d.DialContext(late, "tcp", good)
		fails(t, err, "dial", os.ErrDeadlineExceeded)
		end()
		before := h.Dials()
		after(t, 0, func() {
			_, err := d.DialContext(ctx, "tcp", good)
			assert.ErrorIs(t, err, context.Canceled)
		})
		assert.Equal(t, before, h.Dials())
		go func() { time.Sleep(time.Second); n.Close() }()
		after(t, time.Second, func() {
			_, err := n.Dial("tcp", good)
			fails(t, err, "dial", net.ErrClosed)
		})
	})
}

// SYNs are sent after 1, 3, 7, ... s: the first one after the end of a
// partition connects.
func TestDialThroughAPartition(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		for heals, connects := range map[time.Duration]time.Duration{
			500 * time.Millisecond: time.Second,
			2 * time.Second:        3 * time.Second,
			time.Minute:            63 * time.Second,
		} {
			h.Partition(heals)
			after(t, connects, func() { connect(t, n, h) })
		}
	})
}

func TestDialSlowly(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		h.Set(Faults{DelayToHost: 100 * time.Millisecond, DelayFromHost: 50 * time.Millisecond})
		after(t, 150*time.Millisecond, func() { connect(t, n, h) })
		h.Refuse()
		after(t, 150*time.Millisecond, func() {
			_, err := n.Dial("tcp", good)
			fails(t, err, "dial", syscall.ECONNREFUSED)
		})
		h.Heal()
		h.Slow(time.Minute)
		d := &Dialer{Network: n, Timeout: time.Second}
		after(t, time.Second, func() {
			_, err := d.Dial("tcp", good)
			fails(t, err, "dial", os.ErrDeadlineExceeded)
		})
		// The answer to the first SYN is lost.
		h.Set(Faults{DelayFromHost: 100 * time.Millisecond})
		time.AfterFunc(50*time.Millisecond, func() { h.Partition(100 * time.Millisecond) })
		after(t, 1100*time.Millisecond, func() { connect(t, n, h) })
	})
}

// The kernel of a host that does not accept connects them until its backlog is
// full. Then it is as silent as the dark.
func TestBacklog(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		h.Freeze()
		for range Backlog {
			_, err := n.Dial("tcp", good)
			require.NoError(t, err)
		}
		time.AfterFunc(2*time.Second, h.Heal)
		time.AfterFunc(2*time.Second, func() { h.Accept() })
		after(t, 3*time.Second, func() {
			_, err := n.Dial("tcp", good)
			require.NoError(t, err)
		})
	})
}

// The errors of package testkit are those that the network gives.
func TestErrorsOfStubs(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		fails(t, testkit.Refused(), "dial", syscall.ECONNREFUSED)
		fails(t, testkit.ConnReset(), "read", syscall.ECONNRESET)
		h.BlackHole()
		_, err := (&Dialer{Network: n, Timeout: time.Second}).Dial("tcp", good)
		var timeout interface{ Timeout() bool }
		require.ErrorAs(t, testkit.DialTimeout(), &timeout)
		assert.True(t, timeout.Timeout())
		assert.Equal(t, strings.Replace(err.Error(), " 192.0.2.1:443", "", 1), testkit.DialTimeout().Error())
	})
}
