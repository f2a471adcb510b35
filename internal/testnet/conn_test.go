package testnet

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

// The acknowledgment of the client's FIN is lost. When the client sends the FIN again, the server's
// end is over, and what is left of it still has to answer.
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

// An end that closes with unread data resets the connection. What arrived at the other end before
// the reset can still be read there.
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
	n := New(t)
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
