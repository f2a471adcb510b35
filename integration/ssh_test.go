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
)

// An sshTransport dials through one SSH connection, as `ssh -W` does. A clone
// of it would keep the connection; only a factory can replace it.
type sshTransport struct {
	*http.Transport
	client *ssh.Client
}

func (t *sshTransport) Close() error { return t.client.Close() }

func dialSSH(ctx context.Context, addr string, hostKey ssh.PublicKey) (*sshTransport, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// The handshake knows no context. Closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
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

// serveSSH runs an sshd that opens direct-tcpip tunnels to wherever a client
// asks for.
func serveSSH(t *testing.T) (addr string, hostKey ssh.PublicKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)

	l := listen(t)
	var all sync.WaitGroup
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				_, channels, requests, err := ssh.NewServerConn(conn, config)
				if err != nil {
					return
				}
				all.Go(func() { ssh.DiscardRequests(requests) })
				for channel := range channels {
					all.Go(func() { tunnel(channel) })
				}
			})
		}
	})
	return l.Addr().String(), signer.PublicKey()
}

// tunnel serves one direct-tcpip channel (RFC 4254, section 7.2).
func tunnel(channel ssh.NewChannel) {
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
	conn, err := net.Dial("tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
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

// newSSHWorld is an upstream that can only be reached through an sshd, which is
// behind a proxy that can cut it off.
func newSSHWorld(r *report) *world {
	s := newServer(r)
	l := listen(r.t)
	s.serve(r.t, l)
	sshd, hostKey := serveSSH(r.t)
	way := newProxy(r.t, sshd)
	return &world{
		r: r, server: s, url: "http://" + l.Addr().String() + "/", way: way,
		build: factory(func(ctx context.Context) (*sshTransport, error) {
			return dialSSH(ctx, way.addr(), hostKey)
		}),
	}
}

// The SSH connection under the dialer is closed. Every dial fails from then on,
// with nothing but io.EOF.
func TestSSHConnectionClosed(t *testing.T) {
	r := begin(t, "SSH connection under the dialer closed")
	w := newSSHWorld(r)
	w.undergo(ordeal{fault: w.severed})
	r.healed()
	require.Less(t, r.Recovery, slack*50*time.Millisecond)
}

// The SSH connection goes dark: it is open, and nobody answers. Requests on it
// and dials through it wait until their deadline.
func TestSSHConnectionSilent(t *testing.T) {
	r := begin(t, "SSH connection under the dialer silent")
	w := newSSHWorld(r)
	const deadline = 250 * time.Millisecond
	w.undergo(ordeal{fault: w.dark, deadline: deadline, window: 2 * time.Second})
	require.Equal(t, 2, r.Built, "one fault, one fresh transport")
	r.withinStallRule(workers, deadline)
}
