package main

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// echo serves a door until the test ends.
func echo(t *testing.T) *door {
	t.Helper()
	d, err := openDoor(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	go func() {
		for {
			conn, err := d.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return d
}

// ping asks for an answer on a connection, and returns what comes of it.
func ping(conn net.Conn) error { return pingFor(conn, patience) }

// pingFor does not wait longer than that.
func pingFor(conn net.Conn, limit time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("ping")); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 4))
	return err
}

func dialDoor(t *testing.T, d *door) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", d.address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestASilencedDoorSwallowsOldConnectionsOnly(t *testing.T) {
	d := echo(t)
	old := dialDoor(t, d)
	require.NoError(t, ping(old))
	d.silence()
	for range 2 {
		require.ErrorIs(t, pingFor(old, 200*time.Millisecond), os.ErrDeadlineExceeded, "no RST, no FIN, no answer")
	}
	require.NoError(t, ping(dialDoor(t, d)))
	require.EqualValues(t, 2, d.accepted.Load())
}

func TestAShutDoorRefusesAndComesBackOnItsPort(t *testing.T) {
	d := echo(t)
	old := dialDoor(t, d)
	require.NoError(t, ping(old))
	d.shut()
	d.shut() // twice is once
	require.ErrorIs(t, ping(old), syscall.ECONNRESET)
	_, err := net.Dial("tcp", d.address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	require.NoError(t, d.reopen(t.Context()))
	require.NoError(t, d.reopen(t.Context()))
	require.NoError(t, ping(dialDoor(t, d)))
}

func TestAClosedDoorEndsAccept(t *testing.T) {
	for name, shut := range map[string]bool{"open": false, "shut": true} {
		t.Run(name, func(t *testing.T) {
			d, err := openDoor(t.Context())
			require.NoError(t, err)
			ended := make(chan error, 1)
			go func() {
				_, err := d.Accept()
				ended <- err
			}()
			if shut {
				d.shut()
			}
			require.NoError(t, d.Close())
			require.NoError(t, d.Close())
			require.ErrorIs(t, <-ended, net.ErrClosed)
			require.NoError(t, d.reopen(t.Context()), "it stays closed")
			_, err = net.Dial("tcp", d.address)
			require.Error(t, err)
		})
	}
}
