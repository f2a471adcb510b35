package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon answers what the tests ask of a Docker daemon: its version, and events.
var daemon = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(req.URL.Path, "/events") {
		clients.Pieces(w, event("a"), event("b"), event("c"))
		return
	}
	fmt.Fprint(w, `{"Version":"99.0"}`)
})

func event(id string) string {
	b, err := json.Marshal(map[string]any{"Type": "container", "Action": "start", "Actor": map[string]string{"ID": id}})
	if err != nil {
		panic(err)
	}
	return string(b) + "\n"
}

// newClient is a client of the daemon at host, as in Example_moby.
func newClient(t testing.TB, rt http.RoundTripper, host string) *client.Client {
	t.Helper()
	docker, err := client.New(
		client.WithHost(host),
		client.WithHTTPClient(&http.Client{Transport: rt, CheckRedirect: client.CheckRedirect}),
		client.WithAPIVersion("1.44"),
	)
	require.NoError(t, err)
	return docker
}

func version(ctx context.Context, docker *client.Client) error {
	got, err := docker.ServerVersion(ctx, client.ServerVersionOptions{})
	if err == nil && got.Version != "99.0" {
		err = fmt.Errorf("answered %q", got.Version)
	}
	return err
}

func TestMoby(t *testing.T) {
	clients.Client{
		Upstream: daemon,
		Plain:    true,
		Base: func(wire *clients.Wire) (*http.Transport, error) {
			return &http.Transport{DialContext: wire.DialContext, MaxIdleConns: 6, IdleConnTimeout: 30 * time.Second, DisableCompression: true}, nil
		},
		Adopt: func(t testing.TB, rt http.RoundTripper, url string) clients.Calls {
			docker := newClient(t, rt, strings.Replace(url, "http://", "tcp://", 1)+":80")
			return clients.Calls{
				Call: func(ctx context.Context) error { return version(ctx, docker) },
				Stream: func(ctx context.Context, piece func(string)) error {
					events := docker.Events(ctx, client.EventsListOptions{})
					for {
						select {
						case event := <-events.Messages:
							piece(event.Actor.ID)
						case err := <-events.Err:
							if errors.Is(err, io.EOF) {
								return nil
							}
							return err
						}
					}
				},
				Close: func() { _ = docker.Close() },
			}
		},
	}.Test(t)
}

// serveUnix serves the daemon on the socket at path until stop is called.
func serveUnix(t *testing.T, path string, handler http.Handler) (stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(handler)
	_ = server.Listener.Close()
	server.Listener, server.Config.ErrorLog = listener, log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return server.Close
}

// socketPath is a path that is short enough for a socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "docker")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "docker.sock")
}

func overUnix(t *testing.T, path string) *respawn.RecoveringRoundTripper {
	t.Helper()
	rt, err := respawn.New(&http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
		DisableCompression: true,
	}, respawn.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = rt.Close() })
	return rt
}

// A daemon that restarts takes its socket away and makes another. A fresh transport
// does not help while there is none, and is not needed once there is.
func TestMobyDaemonRestartsOnItsSocket(t *testing.T) {
	path := socketPath(t)
	stop := serveUnix(t, path, daemon)
	rt := overUnix(t, path)
	docker := newClient(t, rt, "unix://"+path)
	require.NoError(t, version(t.Context(), docker))
	stop()
	for range 5 {
		assert.ErrorIs(t, version(t.Context(), docker), os.ErrNotExist)
	}
	serveUnix(t, path, daemon)
	assert.NoError(t, version(t.Context(), docker))
	assert.EqualValues(t, 1, rt.Health().Generation)
	require.NoError(t, rt.Shutdown(t.Context()))
}

// WithHost, and FromEnv with DOCKER_HOST, configure nothing but an *http.Transport: they
// come before WithHTTPClient.
func TestMobyHostComesBeforeTheClient(t *testing.T) {
	rt := overUnix(t, socketPath(t))
	ours := client.WithHTTPClient(&http.Client{Transport: rt})
	_, err := client.New(ours, client.WithHost("unix:///var/run/docker.sock"))
	assert.ErrorContains(t, err, "cannot apply host to transport")
	_, err = client.New(client.WithHost("unix:///var/run/docker.sock"), ours)
	assert.NoError(t, err)
	_, err = client.New(ours, client.WithTLSClientConfig("", "", ""))
	assert.ErrorContains(t, err, "unsupported HTTP transport")
}

// The client looks at its transport to see whether to use TLS. Above respawn it must be
// told, by WithScheme. That does not help attach and exec, which dial without TLS.
func TestMobyOverTLSWantsItsScheme(t *testing.T) {
	server := httptest.NewTLSServer(daemon)
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	rt, err := respawn.New(server.Client().Transport.(*http.Transport).Clone(), respawn.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	defer rt.Close()
	newClient := func(opts ...client.Opt) *client.Client {
		docker, err := client.New(append([]client.Opt{
			client.WithHost("tcp://" + server.Listener.Addr().String()),
			client.WithHTTPClient(&http.Client{Transport: rt}),
			client.WithAPIVersion("1.44"),
		}, opts...)...)
		require.NoError(t, err)
		return docker
	}
	assert.Error(t, version(t.Context(), newClient()))
	docker := newClient(client.WithScheme("https"))
	assert.NoError(t, version(t.Context(), docker))
	_, err = docker.DialHijack(t.Context(), "http://docker/exec/1/start", "tcp", nil)
	assert.ErrorContains(t, err, "400") // an HTTP request to an HTTPS server
}

// Attach and exec dial for themselves: respawn never sees them, and they use neither the
// base's dialer nor its TLS settings.
func TestMobyHijackGoesAroundTheTransport(t *testing.T) {
	path := socketPath(t)
	serveUnix(t, path, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello")
	}))
	rt := overUnix(t, path)
	docker := newClient(t, rt, "unix://"+path)
	require.NoError(t, rt.Close())
	assert.ErrorIs(t, version(t.Context(), docker), respawn.ErrClosed)

	conn, err := docker.DialHijack(t.Context(), "http://docker/exec/1/start", "tcp", nil)
	require.NoError(t, err, "although respawn is closed")
	defer conn.Close()
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(got))
}
