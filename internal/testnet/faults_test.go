package testnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReset(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		var wg sync.WaitGroup
		wg.Go(func() { readFails(t, client, syscall.ECONNRESET) })
		wg.Go(func() { readFails(t, server, syscall.ECONNRESET) })
		time.Sleep(time.Second)
		h.BlackHole() // Reset acts on both ends themselves: no packet has to get through
		h.Reset()
		wg.Wait()
		writeFails(t, client, syscall.ECONNRESET)
		writeFails(t, server, syscall.ECONNRESET)
		assert.Equal(t, 1, h.Open(), "a program has it until it closes it")
		assert.Equal(t, []*Link{client.Link()}, h.Links())
		client.Close()
		assert.Zero(t, h.Open())
		h.Heal()
		connect(t, n, h)
	})
}

// The faults of a connection affect no other one.
func TestOneLink(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		lost, _ := connect(t, n, h)
		slow, slowServer := connect(t, n, h)
		well, wellServer := connect(t, n, h)
		assert.Equal(t, "good.test:443#2", slow.Link().Name())
		assert.Same(t, h, slow.Link().Host())
		lost.Link().Reset()
		slow.Link().Slow(time.Second)
		readFails(t, lost, syscall.ECONNRESET)
		after(t, time.Second, func() {
			writes(t, slow, "x")
			reads(t, slowServer, "x")
		})
		after(t, 0, func() {
			writes(t, well, "x")
			reads(t, wellServer, "x")
		})
		h.Slow(time.Second)
		slow.Link().Set(Faults{DelayToHost: time.Second, BytesPerSecond: 1})
		after(t, 3*time.Second, func() {
			writes(t, slow, "x")
			reads(t, slowServer, "x")
		})
		slow.Link().Set(Faults{DelayToHost: time.Second, DelayFromHost: 3 * time.Second})
		after(t, 4*time.Second, func() {
			writes(t, slowServer, "x")
			reads(t, slow, "x")
		})
		slow.Link().Set(Faults{DelayToHost: time.Second, BytesPerSecond: 1})
		assert.Equal(t, Faults{DelayToHost: time.Second, BytesPerSecond: 1}, slow.Link().Faults())
	})
}

func TestSlow(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		h.Set(Faults{DelayToHost: 3 * time.Second, DelayFromHost: time.Second})
		after(t, 0, func() { writes(t, client, "there") })
		after(t, 3*time.Second, func() { reads(t, server, "there") })
		after(t, time.Second, func() {
			writes(t, server, "back")
			reads(t, client, "back")
		})
		// Nothing overtakes when the delay shrinks.
		writes(t, client, "first ")
		time.Sleep(time.Second)
		h.Heal()
		writes(t, client, "second")
		after(t, 2*time.Second, func() { reads(t, server, "first second") })
	})
}

func TestBandwidth(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		h.Set(Faults{BytesPerSecond: 16 << 10})
		writes(t, client, string(make([]byte, 48<<10)))
		for range 3 {
			after(t, time.Second, func() { io.ReadFull(server, make([]byte, 16<<10)) })
		}
		after(t, 0, func() { writes(t, client, string(make([]byte, SendBuffer))) })
		h.Heal()
		client.Close()
		rest, err := io.ReadAll(server)
		require.NoError(t, err)
		assert.Len(t, rest, SendBuffer)
	})
}

// The host's kernel works on while its process is stopped.
func TestFreeze(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		h.Freeze()
		var wg sync.WaitGroup
		wg.Go(func() {
			after(t, time.Hour, func() {
				got := make([]byte, 5)
				_, err := io.ReadFull(server, got)
				assert.NoError(t, err)
				assert.Equal(t, "hello", string(got))
			})
		})
		wg.Go(func() { after(t, time.Hour, func() { _, err := h.Accept(); assert.NoError(t, err) }) })
		writes(t, client, "hello")
		assert.False(t, client.out.unanswered(), "the kernel has acknowledged it")
		_, err := n.Dial("tcp", good)
		require.NoError(t, err)
		wg.Go(func() { after(t, time.Hour, func() { io.WriteString(server, "late") }) })
		require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Hour)))
		after(t, time.Hour, func() { readFails(t, client, os.ErrDeadlineExceeded) })
		h.Heal()
		wg.Wait()
		client.SetReadDeadline(time.Time{})
		reads(t, client, "late")
	})
}

// If a stopped process's connection is closed, its peer learns of that when the process thaws.
func TestFreezeOutlastsClose(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		server.SetDeadline(time.Now().Add(time.Second))
		h.Freeze()
		after(t, time.Second, func() { readFails(t, server, os.ErrDeadlineExceeded) })
		writeFails(t, server, os.ErrDeadlineExceeded)
		require.NoError(t, server.Close())
		readFails(t, server, net.ErrClosed)
		time.AfterFunc(time.Second, h.Refuse)
		time.AfterFunc(time.Minute, h.Heal)
		after(t, time.Minute, func() {
			_, err := client.Read(make([]byte, 1))
			assert.Equal(t, io.EOF, err)
		})

		client, server = connect(t, n, h)
		server.Link().Freeze()
		time.AfterFunc(time.Second, n.Close)
		after(t, time.Second, func() { writeFails(t, server, syscall.ECONNRESET) })
		readFails(t, client, syscall.ECONNRESET)
	})
}

func TestZeroWindow(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		client, server := connect(t, n, h)
		h.ZeroWindow(ToHost)
		time.AfterFunc(24*time.Hour, h.Heal)
		go io.Copy(io.Discard, server)
		writes(t, server, "still sends")
		reads(t, client, "still sends")
		after(t, 0, func() { writes(t, client, string(make([]byte, SendBuffer+ReceiveBuffer))) })
		after(t, 24*time.Hour, func() { writes(t, client, "x") }) // the peer lives, so nobody gives up
		client.Close()

		client, server = connect(t, n, h)
		client.Link().ZeroWindow(FromHost)
		after(t, 0, func() { writes(t, server, string(make([]byte, SendBuffer+ReceiveBuffer))) })
		server.SetWriteDeadline(time.Now().Add(time.Second))
		writeFails(t, server, os.ErrDeadlineExceeded)
		client.Link().ZeroWindow()
		writes(t, client, "x")
		time.AfterFunc(time.Minute, client.Link().Heal)
		after(t, time.Minute, func() { reads(t, server, "x") })
	})
}

func TestPartitionKeepsOtherFaults(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, h *Host) {
		h.Refuse()
		h.Partition(time.Second)
		assert.Equal(t, Faults{Refuse: true, Drop: Both}, h.Faults())
		time.Sleep(2 * time.Second)
		assert.Equal(t, Faults{Refuse: true}, h.Faults())
		h.Partition(time.Second)
		h.BlackHole()
		time.Sleep(2 * time.Second)
		assert.Equal(t, Both, h.Faults().Drop, "what is set later counts")
	})
}
