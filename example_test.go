package respawn_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/respawnhttp/respawn"
)

// One line makes an existing client recover: everything that uses it goes on
// as before.
func Example() {
	client := &http.Client{Transport: http.DefaultTransport, Timeout: 30 * time.Second}

	rt, err := respawn.New(client.Transport)
	if err != nil {
		log.Fatal(err)
	}
	client.Transport = rt

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	defer server.Close()
	resp, err := client.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body), rt.Health().State)
	// Output: hello healthy
}

// tunnel stands for an *ssh.Client: when it is dead every dial fails, for ever.
type tunnel struct{}

func dialTunnel(context.Context) (*tunnel, error) { return &tunnel{}, nil }
func (*tunnel) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, net.ErrClosed
}
func (*tunnel) Close() error { return nil }

// tunnelTransport closes its tunnel when respawn retires it.
type tunnelTransport struct {
	*http.Transport
	tunnel *tunnel
}

func (t *tunnelTransport) Close() error { return t.tunnel.Close() }

// A tunnel under the dialer is rebuilt with the transport: a clone would keep
// the dead one. The factory's context limits the dial; the tunnel itself must
// outlive it. Without a base the first request has the first tunnel dialed.
func ExampleWithFactory_tunnel() {
	tunneled := func(ctx context.Context) (http.RoundTripper, error) {
		tunnel, err := dialTunnel(ctx)
		if err != nil {
			return nil, err
		}
		return &tunnelTransport{
			Transport: &http.Transport{DialContext: tunnel.DialContext, ForceAttemptHTTP2: true},
			tunnel:    tunnel, // its Close closes the tunnel, when respawn retires it
		}, nil
	}
	rt, err := respawn.New(nil, respawn.WithFactory(tunneled))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
}

// Rotated certificates are read again by the factory: after failures by
// itself, and on SIGHUP at once.
func ExampleRecoveringRoundTripper_Recreate() {
	build := func(context.Context) (http.RoundTripper, error) {
		cert, err := tls.LoadX509KeyPair("client.crt", "client.key")
		if err != nil {
			return nil, err
		}
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		return t, nil
	}
	first, err := build(context.Background())
	if err != nil {
		fmt.Println("there are no certificates here:", errors.Is(err, os.ErrNotExist))
		return
	}
	rt, err := respawn.New(first, respawn.WithFactory(build))
	if err != nil {
		log.Fatal(err)
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	for range hup {
		if err := rt.Recreate(context.Background()); err != nil {
			log.Print("the old certificates stay in use: ", err)
		}
	}
	// Output: there are no certificates here: true
}

// Handlers take the shared client from the request's context.
func ExampleMiddleware() {
	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		client, ok := respawn.ClientFromContext(req.Context())
		fmt.Fprint(w, ok, client.Transport == rt)
	})
	server := httptest.NewServer(respawn.Middleware(rt)(handler))
	defer server.Close()

	resp, err := http.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body))
	// Output: true true
}

// Readiness answers at once, whatever a recreation is doing.
func ExampleHealthHandler() {
	rt, err := respawn.New(nil, respawn.WithName("llm"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	mux := http.NewServeMux()
	mux.Handle("GET /health/readiness", respawn.HealthHandler(rt))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/health/readiness", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 application/health+json
}

// The most likely misuse: a factory that hands back the transport it should
// replace. It is refused, and the current transport stays.
func ExampleWithFactory_incorrect() {
	shared := &http.Transport{}
	rt, err := respawn.New(shared, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
		return shared, nil // wrong: build a new one each time
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	fmt.Println(rt.Recreate(context.Background()))
	// Output: respawn: recreate: the factory returned a transport that is in service already, a client of this package, or a wrapper around one: return a new transport each time
}

// What the errors of a client's own say is added in front of the defaults.
func ExampleWithClassifier() {
	errSessionGone := errors.New("sdk: session gone")
	rt, err := respawn.New(nil, respawn.WithClassifier(func(req *http.Request, err error) respawn.Verdict {
		if errors.Is(err, errSessionGone) {
			return respawn.Ended // do not wait for two more
		}
		return respawn.DefaultClassifier(req, err)
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
}
