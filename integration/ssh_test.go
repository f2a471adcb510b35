package integration

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
)

// An sshTransport dials through one SSH connection, as `ssh -W` does. A clone
// of it would keep the connection; only a factory can replace it.
type sshTransport struct {
	*http.Transport
	client *ssh.Client
}

func (t *sshTransport) Close() error { return t.client.Close() }

// sshdAddr is where serveSSH listens.
const sshdAddr = "bastion.test:22"

func dialSSH(ctx context.Context, n *respawntest.Network, hostKey ssh.PublicKey) (*sshTransport, error) {
	conn, err := n.DialContext(ctx, "tcp", sshdAddr)
	if err != nil {
		return nil, err
	}
	// The handshake knows no context. Closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, sshdAddr, &ssh.ClientConfig{
		User:            "gopher",
		HostKeyCallback: ssh.FixedHostKey(hostKey),
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	client := ssh.NewClient(c, channels, requests)
	return &sshTransport{&http.Transport{DialContext: client.DialContext}, client}, nil
}

// An sshd opens direct-tcpip tunnels to wherever on its network a client asks for.
type sshd struct {
	*respawntest.Host
	network *respawntest.Network
	config  *ssh.ServerConfig
	hostKey ssh.PublicKey
	serving sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// serveSSH runs an sshd at sshdAddr.
func serveSSH(t *testing.T, n *respawntest.Network) *sshd {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	s := &sshd{
		Host: n.Listen(sshdAddr), network: n, config: &ssh.ServerConfig{NoClientAuth: true},
		hostKey: signer.PublicKey(), conns: map[net.Conn]struct{}{},
	}
	s.config.AddHostKey(signer)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		s.Reset() // in the dark the sshd does not learn that the client is gone
		s.serving.Wait()
	})
	s.serving.Go(s.accept)
	return s
}

func (s *sshd) accept() {
	for {
		conn, err := s.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.serving.Go(func() {
			s.serve(conn)
			conn.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.conns, conn)
		})
	}
}

func (s *sshd) serve(conn net.Conn) {
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	s.serving.Go(func() { ssh.DiscardRequests(requests) })
	for channel := range channels {
		s.serving.Go(func() { tunnel(s.network, channel) })
	}
}

// hungUp closes the sshd's end of all connections.
func (s *sshd) hungUp(*testing.T, http.RoundTripper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.Close()
	}
}

// tunnel serves one direct-tcpip channel (RFC 4254, section 7.2).
func tunnel(n *respawntest.Network, channel ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if channel.ChannelType() != "direct-tcpip" || ssh.Unmarshal(channel.ExtraData(), &to) != nil {
		_ = channel.Reject(ssh.UnknownChannelType, "")
		return
	}
	conn, err := n.DialContext(context.Background(), "tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		_ = channel.Reject(ssh.ConnectionFailed, "")
		return
	}
	stream, requests, err := channel.Accept()
	if err != nil {
		conn.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { ssh.DiscardRequests(requests) })
	both.Go(func() {
		_, _ = io.Copy(conn, stream)
		conn.Close()
	})
	_, _ = io.Copy(stream, conn)
	stream.Close()
	both.Wait()
}

// newSSHWorld is an upstream that can only be reached through an sshd, on a network
// that can cut that off.
func newSSHWorld(r *report) (*world, *sshd) {
	s := newServer(r)
	n := respawntest.NewNetwork(r.t)
	n.Serve("api.test:80", s.Handler)
	sshd := serveSSH(r.t, n)
	r.connectionsTo(sshd.Host)
	return &world{
		r: r, server: s, url: "http://api.test/", way: sshd.Host,
		build: factory(func(ctx context.Context) (*sshTransport, error) {
			return dialSSH(ctx, n, sshd.hostKey)
		}),
	}, sshd
}

// The SSH connection under the dialer is closed. Every dial fails from then on,
// with nothing but io.EOF.
func TestSSHConnectionClosed(t *testing.T) {
	r := begin(t, "SSH connection under the dialer closed")
	w, sshd := newSSHWorld(r)
	rt := w.undergo(ordeal{fault: sshd.hungUp})
	r.healed()
	outages := rt.Health().EndedOutages
	require.Len(t, outages, 1)
	ended := []respawn.Trigger{respawn.TriggerConnectionClosed, respawn.TriggerConnectionReset}
	require.Contains(t, ended, outages[0].Trigger, "no deadline had to pass")
}

// The SSH connection goes dark: it is open, and nobody answers. Requests on it
// and dials through it wait until their deadline.
func TestSSHConnectionSilent(t *testing.T) {
	r := begin(t, "SSH connection under the dialer silent")
	w, _ := newSSHWorld(r)
	const deadline = 250 * time.Millisecond
	w.undergo(ordeal{fault: w.dark, deadline: deadline, window: 2 * time.Second})
	require.Equal(t, 2, r.Built, "one fault, one fresh transport")
	r.withinStallRule(workers, deadline)
}
