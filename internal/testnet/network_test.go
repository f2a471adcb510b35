package testnet

import (
	"errors"
	"io"
	"net"
	"os"
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
		n := New(t)
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
		assert.Equal(t, []*Link{other.Link()}, h.Links())
		assert.Equal(t, []*Link{client.Link(), other.Link()}, h.AllLinks(), "the server has not closed it")
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
