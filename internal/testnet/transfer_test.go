package testnet

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"
)

// Whatever befalls a connection, short of its end, what arrives is what was
// sent: all of it, once, and in order.
func TestWhatArrivesIsWhatWasSent(t *testing.T) {
	for seed := range uint64(100) {
		chance := rand.New(rand.NewPCG(seed, 0))
		bubble(t, func(t *testing.T, n *Network, h *Host) {
			client, server := connect(t, keepAliveOff(n), h)
			server.SetKeepAliveConfig(net.KeepAliveConfig{})
			over := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() { // up to 10 spells of up to 10 s, each followed by fair weather
				defer close(over)
				chance := rand.New(rand.NewPCG(seed, 4))
				for range chance.IntN(10) {
					for _, c := range []*Conditions{&h.Conditions, &client.Link().Conditions} {
						c.Set(randomFaults(chance))
					}
					time.Sleep(time.Duration(chance.Int64N(int64(10 * time.Second))))
					h.Heal()
					client.Link().Heal()
					time.Sleep(time.Duration(chance.Int64N(int64(10 * time.Second))))
				}
			})
			for i, ends := range [][2]*Conn{{client, server}, {server, client}} {
				sent := make([]byte, chance.IntN(1<<19))
				rand.NewChaCha8([32]byte{byte(seed), byte(i)}).Read(sent)
				pace := rand.New(rand.NewPCG(seed, uint64(i)))
				wg.Go(func() { assert.NoError(t, write(pace, ends[0], sent)) })
				wg.Go(func() {
					got, err := read(rand.New(rand.NewPCG(seed, 2+uint64(i))), ends[1])
					assert.NoError(t, err)
					assert.True(t, bytes.Equal(sent, got), "seed %d: sent %d, got %d", seed, len(sent), len(got))
				})
			}
			wg.Wait()
			require.NoError(t, client.Close())
			require.NoError(t, server.Close())
			<-over
			time.Sleep(2 * RTOMax) // for what was lost at the end
			assert.Zero(t, remaining(h), "seed %d", seed)
		})
		if t.Failed() {
			return
		}
	}
}

func randomFaults(chance *rand.Rand) Faults {
	return Faults{
		Drop:           Direction(chance.IntN(4)) * Direction(chance.IntN(2)),
		Frozen:         chance.IntN(5) == 0,
		Unread:         Direction(chance.IntN(4)),
		DelayToHost:    time.Duration(chance.IntN(2)) * time.Duration(chance.Int64N(int64(time.Second))),
		DelayFromHost:  time.Duration(chance.IntN(2)) * time.Duration(chance.Int64N(int64(time.Second))),
		BytesPerSecond: chance.IntN(2) * (100_000 + chance.IntN(1<<20)),
	}
}

func write(chance *rand.Rand, c *Conn, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), 1+chance.IntN(100_000))
		if _, err := c.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
		if chance.IntN(2) == 0 {
			time.Sleep(time.Duration(chance.IntN(1000)) * time.Millisecond)
		}
	}
	return c.CloseWrite()
}

func read(chance *rand.Rand, c *Conn) (got []byte, err error) {
	buf := make([]byte, 100_000)
	for {
		n, err := c.Read(buf[:1+chance.IntN(len(buf))])
		got = append(got, buf[:n]...)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		if chance.IntN(2) == 0 {
			time.Sleep(time.Duration(chance.IntN(1000)) * time.Millisecond)
		}
	}
}

// The connection does what net.Conn promises, as the nettest package of x/net checks it. This
// runs in real time.
func TestConformance(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		n := New(t)
		client, server := connect(t, n, n.Listen(good))
		return client, server, n.Close, nil
	})
}

// No timer of the network goes on forever, so that synctest finds a stuck test to be deadlocked.
func TestNothingGoesOn(t *testing.T) {
	for name, trouble := range map[string]func(h *Host){
		"well":        func(*Host) {},
		"dark":        func(h *Host) { h.BlackHole() },
		"frozen":      func(h *Host) { h.Freeze() },
		"zero window": func(h *Host) { h.ZeroWindow() },
		"healed":      func(h *Host) { h.Partition(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				assert.Equal(t, "deadlock: all goroutines in bubble are blocked", fmt.Sprint(recover()))
			}()
			synctest.Test(t, func(t *testing.T) {
				n := New(t)
				h := n.Listen(good)
				client, server := connect(t, keepAliveOff(n), h)
				server.SetKeepAliveConfig(net.KeepAliveConfig{})
				connect(t, n, h)
				client.Write(make([]byte, ReceiveBuffer))
				trouble(h)
				client.Write(make([]byte, SendBuffer))
				<-make(chan int)
			})
		})
	}
}
