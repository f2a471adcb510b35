package testkit

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const good = "good.test:443"

// bubble runs a test in virtual time, with a network and a host on it.
func bubble(t *testing.T, test func(t *testing.T, n *Network, h *Host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(t)
		test(t, n, n.Listen(good))
	})
}

// connect returns both ends of a new connection.
func connect(t *testing.T, d interface {
	Dial(network, addr string) (net.Conn, error)
}, h *Host) (client, server *Conn) {
	t.Helper()
	c, err := d.Dial("tcp", h.Name())
	require.NoError(t, err)
	s, err := h.Accept()
	require.NoError(t, err)
	return c.(*Conn), s.(*Conn)
}

// remaining counts the connections that a kernel knows of.
func remaining(h *Host) int {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	return len(h.links)
}

// after asserts how long f takes.
func after(t *testing.T, want time.Duration, f func()) {
	t.Helper()
	begin := time.Now()
	f()
	assert.Equal(t, want, time.Since(begin))
}

// reads asserts that c reads text.
func reads(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

func writes(t *testing.T, c net.Conn, text string) {
	t.Helper()
	n, err := io.WriteString(c, text)
	require.NoError(t, err)
	require.Equal(t, len(text), n)
}

// readFails and writeFails assert the error of one call.
func readFails(t *testing.T, c net.Conn, want error) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	assert.Zero(t, n)
	fails(t, err, "read", want)
}

func writeFails(t *testing.T, c net.Conn, want error) {
	t.Helper()
	_, err := c.Write([]byte("x"))
	fails(t, err, "write", want)
}

// fails asserts an error as package net returns it.
func fails(t *testing.T, err error, op string, want error) {
	t.Helper()
	require.ErrorIs(t, err, want)
	var e *net.OpError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, op, e.Op)
	assert.Equal(t, "tcp", e.Net)
	var s *os.SyscallError
	if errors.As(want, new(syscall.Errno)) {
		require.ErrorAs(t, err, &s, "as package net wraps an errno")
	}
	assert.Equal(t, want == os.ErrDeadlineExceeded || want == syscall.ETIMEDOUT, e.Timeout())
}

func TestConnection(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		after(t, 0, func() {
			writes(t, client, "hello")
			reads(t, server, "hello")
			writes(t, server, "well")
			reads(t, client, "well")
		})
		assert.Equal(t, client.LocalAddr(), server.RemoteAddr())
		assert.Equal(t, h.Addr(), client.RemoteAddr())
		assert.Equal(t, Stats{Dials: 1, Connected: 1, OpenByClients: 1, OpenByServer: 1, BytesToHost: 5, BytesFromHost: 4}, h.Stats())
		assert.Equal(t, []*Link{client.Link()}, h.Links())
		assert.Equal(t, good+"#1", server.Link().Name())
		other, _ := connect(t, n, h)
		assert.NotEqual(t, other.LocalAddr(), client.LocalAddr())

		require.NoError(t, client.Close())
		assert.Equal(t, 1, h.Open(), "a connection is open until its client has closed it")
		fails(t, client.Close(), "close", net.ErrClosed)
		readFails(t, client, net.ErrClosed)
		writeFails(t, client, net.ErrClosed)
		_, err := server.Read(make([]byte, 1))
		assert.Equal(t, io.EOF, err)
		require.NoError(t, server.Close())
		assert.Equal(t, Stats{Dials: 2, Connected: 2, OpenByClients: 1, OpenByServer: 1, BytesToHost: 5, BytesFromHost: 4}, h.Stats())
		assert.Equal(t, 1, remaining(h), "what is over is forgotten")
	})
}

func TestStory(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, _ := connect(t, n, h)
		time.Sleep(time.Second)
		h.BlackHole()
		writes(t, client, "x")
		readFails(t, client, syscall.ETIMEDOUT)
		h.Heal()
		client.Close()
		var story []string
		for _, e := range n.Events() {
			story = append(story, e.String())
		}
		assert.Equal(t, []string{
			"0s good.test:443: listens",
			"0s good.test:443: dialed",
			"0s good.test:443#1: connected",
			"1s good.test:443: drops both ways",
			"2m30s good.test:443#1 server: gives up a silent peer by keep-alive",
			"15m25.6s good.test:443#1 client: gives up unacknowledged data after its retransmissions",
			"15m25.6s good.test:443: is well",
			"15m25.6s good.test:443#1 client: closed",
		}, story)
		assert.Equal(t, "refuses, drops both ways, is frozen, leaves unread from the host, takes 1s there and 2s back, carries 9 bytes/s",
			Faults{true, Both, true, FromHost, time.Second, 2 * time.Second, 9}.String())
	})
}

func TestHalfClose(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		writes(t, client, "all")
		require.NoError(t, client.CloseWrite())
		writeFails(t, client, syscall.EPIPE)
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		assert.Equal(t, "all", string(got))
		writes(t, server, "answer")
		require.NoError(t, server.Close())
		got, err = io.ReadAll(client)
		require.NoError(t, err)
		assert.Equal(t, "answer", string(got))
		require.NoError(t, client.Close())
		assert.Zero(t, remaining(h))
	})
}

// The last acknowledgment was lost: the FIN that is sent again is answered by
// what is left of a connection that is over.
func TestTimeWait(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		h.BlackHole(FromHost)
		require.NoError(t, client.CloseWrite())
		_, err := server.Read(make([]byte, 1))
		assert.Equal(t, io.EOF, err)
		time.Sleep(RTOMin / 2)
		h.Heal()
		require.NoError(t, server.Close())
		time.Sleep(RTOMin)
		_, err = client.Read(make([]byte, 1))
		assert.Equal(t, io.EOF, err)
		require.NoError(t, client.Close())
		assert.Zero(t, remaining(h))
	})
}

// What is written to a peer that has closed is lost, and the writer is reset.
func TestWriteToAClosedPeer(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		require.NoError(t, server.Close())
		writes(t, client, "lost")
		writeFails(t, client, syscall.EPIPE)
		readFails(t, client, syscall.EPIPE)
	})
}

// Who closes without having read all resets the connection, and what arrived
// before can still be read at the other end.
func TestCloseWithUnreadData(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		writes(t, server, "early answer")
		writes(t, client, "nobody reads it")
		require.NoError(t, server.Close())
		reads(t, client, "early answer")
		readFails(t, client, syscall.ECONNRESET)
		writeFails(t, client, syscall.ECONNRESET)
		fails(t, client.CloseWrite(), "close", syscall.ENOTCONN)
		require.NoError(t, client.Close())

		client, server = connect(t, n, h)
		require.NoError(t, server.SetLinger(0))
		require.NoError(t, server.Close())
		readFails(t, client, syscall.ECONNRESET)
	})
}

func TestCloseWakes(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		time.AfterFunc(time.Second, func() { client.Close() })
		after(t, time.Second, func() { readFails(t, client, net.ErrClosed) })
		client, _ = connect(t, n, h)
		time.AfterFunc(time.Second, func() { client.Close() })
		after(t, time.Second, func() {
			_, err := client.Write(make([]byte, SendBuffer+ReceiveBuffer+1))
			fails(t, err, "write", net.ErrClosed)
		})
		server.Close()
	})
}

func TestDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		writes(t, server, "ready")
		require.NoError(t, client.SetReadDeadline(time.Now().Add(-time.Second)))
		readFails(t, client, os.ErrDeadlineExceeded) // although something is there
		require.NoError(t, client.SetReadDeadline(time.Time{}))
		reads(t, client, "ready")

		require.NoError(t, client.SetDeadline(time.Now().Add(time.Second)))
		after(t, time.Second, func() { readFails(t, client, os.ErrDeadlineExceeded) })
		writeFails(t, client, os.ErrDeadlineExceeded)

		require.NoError(t, client.SetDeadline(time.Time{}))
		time.AfterFunc(2*time.Second, func() { client.SetReadDeadline(time.Now()) })
		after(t, 2*time.Second, func() { readFails(t, client, os.ErrDeadlineExceeded) })

		require.NoError(t, client.SetWriteDeadline(time.Now().Add(3*time.Second)))
		after(t, 3*time.Second, func() {
			sent, err := client.Write(make([]byte, 1<<20))
			fails(t, err, "write", os.ErrDeadlineExceeded)
			assert.Equal(t, SendBuffer+ReceiveBuffer, sent)
		})
		client.Close()
		fails(t, client.SetDeadline(time.Time{}), "set", net.ErrClosed)
	})
}

func TestWriteReturnsWhenBuffered(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		after(t, 0, func() { writes(t, client, string(make([]byte, SendBuffer+ReceiveBuffer))) })
		time.AfterFunc(time.Second, func() { io.ReadFull(server, make([]byte, 1)) })
		after(t, time.Second, func() { writes(t, client, "x") })
		require.NoError(t, client.SetWriteBuffer(1<<20))
		require.NoError(t, server.SetReadBuffer(1<<20))
		after(t, 0, func() { writes(t, client, string(make([]byte, 1<<20))) })
		n2, _ := io.CopyN(io.Discard, server, SendBuffer+ReceiveBuffer+1<<20)
		assert.EqualValues(t, SendBuffer+ReceiveBuffer+1<<20, n2)
	})
}

func TestSmallThings(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		after(t, 0, func() {
			got, err := client.Read(nil)
			assert.Zero(t, got)
			assert.NoError(t, err)
			got, err = client.Write(nil)
			assert.Zero(t, got)
			assert.NoError(t, err)
		})
		require.NoError(t, client.SetNoDelay(true))
		require.NoError(t, client.SetLinger(0))
		require.NoError(t, client.SetLinger(-1))
		require.NoError(t, client.Close())
		fails(t, client.CloseWrite(), "close", net.ErrClosed)
		_, err := server.Read(make([]byte, 1))
		assert.Equal(t, io.EOF, err)
		assert.Equal(t, "nothing", Direction(0).String())
	})
}

// One Write is not torn apart by others. This runs in real time, where they
// really meet.
func TestWritesDoNotMix(t *testing.T) {
	n := NewNetwork(t)
	client, server := connect(t, n, n.Listen(good))
	const long, short = 4 << 20, 100_000
	go io.WriteString(client, strings.Repeat("a", long))
	go func() {
		for range short {
			io.WriteString(client, "b")
		}
	}()
	got := make([]byte, long+short)
	_, err := io.ReadFull(server, got)
	require.NoError(t, err)
	assert.Contains(t, string(got), strings.Repeat("a", long))
}

func TestListener(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		_, err := n.listen(good)
		assert.Error(t, err, "in use")
		_, err = n.listen("nonsense")
		assert.Error(t, err)
		_, err = n.listen("port.test:http")
		assert.Error(t, err)

		queued, err := n.Dial("tcp", good)
		require.NoError(t, err)
		client, server := func() (net.Conn, net.Conn) {
			s, err := h.Accept()
			require.NoError(t, err)
			c := queued
			queued, err = n.Dial("tcp", good)
			require.NoError(t, err)
			return c, s
		}()
		time.AfterFunc(time.Second, func() { h.Close() })
		reads := func() { readFails(t, queued, syscall.ECONNRESET) }
		after(t, time.Second, reads)
		assert.Equal(t, 1, h.Stats().OpenByServer, "nobody has that one")
		_, err = h.Accept()
		fails(t, err, "accept", net.ErrClosed)
		fails(t, h.Close(), "close", net.ErrClosed)
		_, err = n.Dial("tcp", good)
		fails(t, err, "dial", syscall.ECONNREFUSED)
		writes(t, client, "accepted ones live on")
		server.Close()

		again := n.Listen(good)
		assert.Same(t, h, again)
		connect(t, n, again)
		assert.Equal(t, 4, h.Dials())

		go func() { time.Sleep(time.Second); n.Close() }()
		after(t, time.Second, func() {
			_, err = h.Accept()
			fails(t, err, "accept", net.ErrClosed)
		})
		_, err = n.listen("late.test:1")
		assert.ErrorIs(t, err, net.ErrClosed)
		_, err = n.Dial("tcp", good)
		assert.Error(t, err)
		n.Close()
	})
}

// A host that has ended does not come back, and its connections are reset.
func TestHostEnds(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		h.End(nil)
		readFails(t, client, syscall.ECONNRESET)
		readFails(t, server, syscall.ECONNRESET)
		_, err := h.Accept()
		fails(t, err, "accept", net.ErrClosed)
		_, err = n.Dial("tcp", good)
		fails(t, err, "dial", net.ErrClosed)
		_, err = n.listen(good)
		assert.Error(t, err)
		h.End(io.EOF)
		_, err = n.Dial("tcp", good)
		fails(t, err, "dial", net.ErrClosed)

		other := n.Listen("other.test:443")
		other.BlackHole()
		shutdown := errors.New("session shutdown")
		time.AfterFunc(time.Second, func() { other.End(shutdown) })
		after(t, time.Second, func() {
			_, err = n.Dial("tcp", "other.test:443")
			assert.Equal(t, shutdown, err)
		})
	})
}

// A dialer that has died takes its connections along, and no others.
func TestDialerEnds(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		shutdown := errors.New("session shutdown")
		tunnel := &Dialer{Network: n}
		lost, far := connect(t, tunnel, h)
		kept, _ := connect(t, n, h)
		time.AfterFunc(time.Second, func() { tunnel.End(shutdown); tunnel.End(io.EOF) })
		_, err := lost.Read(make([]byte, 1))
		assert.Equal(t, shutdown, err)
		_, err = lost.Write([]byte("x"))
		assert.Equal(t, shutdown, err)
		readFails(t, far, syscall.ECONNRESET)
		_, err = tunnel.DialContext(t.Context(), "tcp", good)
		assert.Equal(t, shutdown, err)
		assert.NoError(t, lost.Close())
		readFails(t, lost, net.ErrClosed)
		writes(t, kept, "well")

		dark := &Dialer{Network: n}
		h.BlackHole()
		time.AfterFunc(time.Second, func() { dark.End(nil) })
		after(t, time.Second, func() {
			_, err = dark.DialContext(context.Background(), "tcp", good)
			fails(t, err, "dial", net.ErrClosed)
		})
	})
}
