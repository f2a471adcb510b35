package docker

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/moby/client"

	"github.com/respawnhttp/respawn"
)

// The base dials the daemon's socket, with the limits of the client's own transport.
// WithHost comes first, since it configures nothing but an *http.Transport.
func Example_moby() {
	dir, err := os.MkdirTemp("", "docker")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "docker.sock") // /var/run/docker.sock
	defer serve(socket).Close()

	rt, err := respawn.New(&http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
		MaxIdleConns:       6,
		IdleConnTimeout:    30 * time.Second,
	}, respawn.WithName("docker"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	docker, err := client.New(
		client.WithHost("unix://"+socket),
		client.WithHTTPClient(&http.Client{Transport: rt, CheckRedirect: client.CheckRedirect}),
		client.WithAPIVersionFromEnv(),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer docker.Close()

	version, err := docker.ServerVersion(context.Background(), client.ServerVersionOptions{})
	fmt.Println(version.Version, err)
	// Output: 99.0 <nil>
}

// serve serves the daemon of the example.
func serve(socket string) *httptest.Server {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewUnstartedServer(daemon)
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	return server
}
