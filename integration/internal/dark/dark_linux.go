// Package dark is a real kernel's network whose connections can go dark: a server
// and its client in two network namespaces, and a wire between them. It needs Linux,
// root, and the ip command.
package dark

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	clientAddress = "10.99.0.1"
	first, second = "10.99.0.2", "10.99.0.3" // the server's
)

// A Network has a server and its client. Dials lead to one address of the server's until that goes
// dark, and then to another one, as when a name leads to a new host while the old one is silent.
type Network struct {
	server, client string // the namespaces
	dark           atomic.Bool
}

// Missing says what the machine does not have that a Network needs; "" if nothing.
func Missing() string {
	if os.Geteuid() != 0 {
		return "only root may make network namespaces"
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return "there is no ip command: install iproute2"
	}
	return ""
}

// New makes a network. Close removes it.
func New() (*Network, error) {
	id := fmt.Sprintf("respawn-%d-%d", os.Getpid(), made.Add(1))
	n := &Network{server: id + "-s", client: id + "-c"}
	for _, args := range []string{
		"netns add " + n.server,
		"netns add " + n.client,
		"link add wire netns " + n.server + " type veth peer name wire netns " + n.client,
		"-n " + n.client + " addr add " + clientAddress + "/24 dev wire",
		"-n " + n.server + " addr add " + second + "/24 dev wire",
		"-n " + n.server + " addr add " + first + "/32 dev wire", // GoDark removes it alone
		"-n " + n.client + " link set wire up",
		"-n " + n.server + " link set wire up",
	} {
		if err := ip(args); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

var made atomic.Int64

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

// Close removes the network.
func (n *Network) Close() error {
	return errors.Join(ip("netns del "+n.server), ip("netns del "+n.client))
}

// Listen listens on the server's side.
func (n *Network) Listen() (l net.Listener, err error) {
	entered := within(n.server, func() { l, err = net.Listen("tcp", ":443") })
	return l, errors.Join(entered, err)
}

// DialContext dials the server from the client's side, wherever it is by now.
func (n *Network) DialContext(ctx context.Context, _, _ string) (c net.Conn, err error) {
	address := first
	if n.dark.Load() {
		address = second
	}
	entered := within(n.client, func() { c, err = new(net.Dialer).DialContext(ctx, "tcp", address+":443") })
	return c, errors.Join(entered, err)
}

// GoDark makes all present connections lose their packets. The server's side silently drops packets
// for an address that it does not have any more.
func (n *Network) GoDark() error {
	err := ip("-n " + n.server + " addr del " + first + "/32 dev wire")
	n.dark.Store(true)
	return err
}

// within calls f on a thread that is in the named network namespace. A socket belongs to the
// namespace in which it is made.
func within(namespace string, f func()) error {
	fd, err := unix.Open("/run/netns/"+namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Setns(fd, unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}
