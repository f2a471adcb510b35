package testnet

import (
	"net"
	"time"
)

// What Linux does about a network that loses packets. The names of the
// settings are those of tcp(7) and of the kernel's ip-sysctl documentation
// (https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html); the
// retransmission timer is that of RFC 6298.
const (
	// SendBuffer is how many bytes a connection takes from its writer that
	// the peer has not acknowledged (tcp_wmem).
	SendBuffer = 64 << 10
	// ReceiveBuffer is how many bytes a connection keeps that its reader has
	// not read, and so the largest window that it advertises (tcp_rmem).
	ReceiveBuffer = 64 << 10
	// Backlog is how many connections a listener keeps that nobody has
	// accepted (net.core.somaxconn). A SYN for one more is dropped.
	Backlog = 4096

	// RTOMin and RTOMax bound the retransmission timeout, which is RTOMin
	// plus the round trip at first and doubles with each retransmission that
	// is not answered (TCP_RTO_MIN, TCP_RTO_MAX).
	RTOMin = 200 * time.Millisecond
	RTOMax = 120 * time.Second
	// RetransmissionLimit is the age of unacknowledged data at which a
	// connection gives up: 15 retransmissions (tcp_retries2), and the wait
	// for the last one's answer.
	RetransmissionLimit = 924600 * time.Millisecond
	// ProbeLimit is how many probes of a zero window go unanswered before a
	// connection gives up (tcp_retries2).
	ProbeLimit = 15

	// SYNTimeout is how long the first SYN waits for its answer. Each of the
	// SYNRetries that follow (tcp_syn_retries) waits twice as long as the one
	// before. Linux 6.5 and later send the first few of them faster
	// (tcp_syn_linear_timeouts), which is not modeled.
	SYNTimeout = time.Second
	SYNRetries = 6
	// DialLimit is the age at which a dial gives up: 1 + 2 + 4 + ... + 64 s.
	DialLimit = (1<<(SYNRetries+1) - 1) * SYNTimeout

	// KeepAliveIdle, KeepAliveInterval and KeepAliveCount are Go's own
	// defaults for TCP keep-alive, which package net turns on for connections
	// that are dialed and for those that are accepted.
	KeepAliveIdle     = 15 * time.Second
	KeepAliveInterval = 15 * time.Second
	KeepAliveCount    = 9
	// KeepAliveLimit is the age at which a connection gives up by these
	// defaults, if it is idle and its peer is out of reach.
	KeepAliveLimit = KeepAliveIdle + KeepAliveCount*KeepAliveInterval

	// What Linux uses where a net.KeepAliveConfig leaves it to the system
	// (tcp_keepalive_time, tcp_keepalive_intvl, tcp_keepalive_probes).
	systemKeepAliveIdle     = 2 * time.Hour
	systemKeepAliveInterval = 75 * time.Second
	systemKeepAliveCount    = 9

	// segmentSize is how much data travels in one packet. It is larger than on
	// an Ethernet, as with segmentation offload, and shows where the bandwidth
	// is limited.
	segmentSize = 16 << 10
)

// keepAlive is a net.KeepAliveConfig with its defaults filled in. An idle of 0
// is keep-alive turned off.
type keepAlive struct {
	idle, interval time.Duration
	count          int
}

// keepAliveOf reads a net.KeepAliveConfig as package net does.
func keepAliveOf(c net.KeepAliveConfig) keepAlive {
	if !c.Enable {
		return keepAlive{}
	}
	return keepAlive{
		idle:     setting(c.Idle, KeepAliveIdle, systemKeepAliveIdle),
		interval: setting(c.Interval, KeepAliveInterval, systemKeepAliveInterval),
		count:    setting(c.Count, KeepAliveCount, systemKeepAliveCount),
	}
}

// setting is a value of net.KeepAliveConfig, where 0 means Go's default and a
// negative one the system's.
func setting[T int | time.Duration](v, byGo, bySystem T) T {
	switch {
	case v == 0:
		return byGo
	case v < 0:
		return bySystem
	}
	return v
}

// backedOff is the timeout after it has been doubled so many times.
func backedOff(rto time.Duration, doublings int) time.Duration {
	for range doublings {
		if rto >= RTOMax {
			break
		}
		rto *= 2
	}
	return min(rto, RTOMax)
}
