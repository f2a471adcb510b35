package respawntest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
)

// The tests are those of docs/testing.md. First what they test: a catalog, which
// asks its upstream through a tunnel.

// A tunnel is what the catalog needs of an *ssh.Client.
type tunnel interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	Close() error
}

// A tunnelTransport closes its tunnel when respawn retires it.
type tunnelTransport struct {
	*http.Transport
	tunnel tunnel
}

func (t *tunnelTransport) Close() error { return t.tunnel.Close() }

// transports is the catalog's factory: each transport has a tunnel of its own.
func transports(dial func(context.Context) (tunnel, error)) respawn.Factory {
	return func(ctx context.Context) (http.RoundTripper, error) {
		tunnel, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return &tunnelTransport{&http.Transport{DialContext: tunnel.DialContext}, tunnel}, nil
	}
}

type catalog struct {
	client *http.Client
	rt     *respawn.RecoveringRoundTripper
}

func newCatalog(dial func(context.Context) (tunnel, error)) (*catalog, error) {
	factory := transports(dial)
	base, err := factory(context.Background())
	if err != nil {
		return nil, err
	}
	rt, err := respawn.New(base, respawn.WithFactory(factory))
	if err != nil {
		return nil, err
	}
	return &catalog{&http.Client{Transport: rt, Timeout: 10 * time.Second}, rt}, nil
}

func (c *catalog) item() (string, error) {
	resp, err := c.client.Get("http://items.internal/7")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func (c *catalog) close() error { return c.rt.Close() }

func hammer(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hammer") }

func TestCatalogSurvivesADeadTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := respawntest.NewNetwork(t)
		network.Serve("items.internal:80", http.HandlerFunc(hammer))
		var current *respawntest.Tunnel
		catalog, err := newCatalog(func(context.Context) (tunnel, error) {
			current = network.NewTunnel()
			return current, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		defer catalog.close()
		if _, err := catalog.item(); err != nil {
			t.Fatal(err)
		}

		current.End(errors.New("session shutdown")) // and every dial fails, for good
		start := time.Now()
		if got, err := catalog.item(); got != "hammer" || err != nil {
			t.Errorf("item() = %q, %v, with a dead tunnel", got, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("recovered after %v", took)
		}
	})
}

func TestCatalogsFactory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := respawntest.NewNetwork(t)
		network.Serve("items.internal:80", http.HandlerFunc(hammer))
		factory := transports(func(context.Context) (tunnel, error) { return network.NewTunnel(), nil })
		respawntest.TestFactory(t, nil, factory, "http://items.internal/7")
	})
}
