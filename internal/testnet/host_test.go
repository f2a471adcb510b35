package testnet

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
