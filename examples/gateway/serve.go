package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/respawnhttp/respawn"
)

const (
	// grace is how long requests may go on after SIGTERM.
	grace = 30 * time.Second
	// typingPace is the embedded upstream's when people look at it.
	typingPace = 50 * time.Millisecond
)

// A service is what -serve runs.
type service struct {
	address   string
	debug     string   // "": on the same address
	upstream  *url.URL // nil: the embedded one
	firstByte time.Duration
}

// serve runs the gateway until ctx ends, and then lets running requests finish.
func serve(ctx context.Context, s service, stdout, stderr io.Writer) error {
	t, err := newTelemetry(ctx, summary{
		spans: &recreationPrinter{w: stdout},
		logs:  slog.NewTextHandler(stderr, nil),
	})
	if err != nil {
		return err
	}
	defer flush(t, stderr)

	listeners, err := listen(ctx, s)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		defer l.Close()
	}

	target, pool, chaos := s.upstream, &sessions{cfg: sessionConfig{firstByte: s.firstByte}}, []route(nil)
	if target == nil {
		embedded, err := newUpstream(typingPace)
		if err != nil {
			return err
		}
		defer embedded.close()
		l, err := newLink(ctx, embedded, pool.cfg)
		if err != nil {
			return err
		}
		if target, err = url.Parse(l.url()); err != nil {
			return err
		}
		pool, chaos = l.sessions, chaosRoutes(l, t.logger)
	}
	rt, err := recovering("upstream", pool, t)
	if err != nil {
		return err
	}
	defer rt.Close()
	c := newContact(target, pool.cfg, t.logger)

	g := &running{rt: rt, contact: c, logger: t.logger}
	public, debug := publicRoutes(target, rt, t), append(debugRoutes(rt, t, c), chaos...)
	if s.debug == "" {
		g.serve(listeners[0], mount("respawn's gateway", append(public, debug...)...))
	} else {
		g.serve(listeners[0], mount("respawn's gateway", public...))
		g.serve(listeners[1], mount("respawn's gateway, for those who run it", debug...))
	}
	announce(stdout, listeners, s.upstream)
	return g.untilDrained(ctx)
}

// listen takes the ports before anything else is done: a taken one is the
// cheapest mistake.
func listen(ctx context.Context, s service) ([]net.Listener, error) {
	listeners := make([]net.Listener, 0, 2)
	for _, at := range [][2]string{{"-serve", s.address}, {"-debug", s.debug}} {
		if at[1] == "" {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at[1])
		if err != nil {
			for _, open := range listeners {
				_ = open.Close()
			}
			return nil, fmt.Errorf("cannot listen, choose another address for %s: %w", at[0], err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// A running gateway has one server a port. The first is the public one.
type running struct {
	rt      *respawn.RecoveringRoundTripper
	contact *contact
	logger  *slog.Logger
	servers []*http.Server
	failed  chan error
}

func (g *running) serve(l net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(g.logger.Handler(), slog.LevelWarn),
	}
	if g.failed == nil {
		g.failed = make(chan error, 2)
	}
	g.servers = append(g.servers, server)
	go func() { g.failed <- server.Serve(l) }()
}

// untilDrained returns when ctx has ended and what was in flight then has
// finished. Requests do not end with ctx: they have the grace to finish, and so
// has what the recovering client still drains. The debug port stays until then.
func (g *running) untilDrained(ctx context.Context) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	establishing, cancel := context.WithCancel(ctx)
	defer cancel()
	asking.Go(func() { g.contact.establish(establishing) })

	select {
	case err := <-g.failed:
		return fmt.Errorf("cannot serve any longer: %w", err)
	case <-ctx.Done():
	}
	asking.Wait() // it must not call the gateway ready now
	g.contact.setUnfit("the gateway is shutting down")
	g.logger.Info("gateway: shutting down, running requests may finish", "grace", grace)
	ctx, cancelGrace := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancelGrace()
	public, others := g.servers[0], g.servers[1:]
	err := public.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("some requests had to be cut off: %w", errors.Join(err, public.Close()))
	} else if err = g.rt.Shutdown(ctx); err != nil {
		err = fmt.Errorf("the recovering client could not finish: %w", err)
	}
	for _, server := range others {
		err = errors.Join(err, server.Close())
	}
	return err
}

func announce(w io.Writer, listeners []net.Listener, upstream *url.URL) {
	base := "http://" + listeners[0].Addr().String()
	debug := "http://" + listeners[len(listeners)-1].Addr().String()
	fmt.Fprintf(w, "gateway: listening on %s\n", base)
	if debug != base {
		fmt.Fprintf(w, "gateway: for those who run it %s\n", debug)
	}
	fmt.Fprintf(w, "  ask:    curl -N %s/v1/chat/completions -d '{\"model\":\"m\",\"stream\":true,\"messages\":[]}'\n", base)
	fmt.Fprintf(w, "  look:   curl %s/health/readiness; curl %s/metrics\n", debug, debug)
	fmt.Fprintf(w, "  watch:  %s/debug/respawn in a browser\n", debug)
	if upstream == nil {
		fmt.Fprintf(w, "  break:  curl -X POST %s/chaos/%s (or %s; curl %s/chaos/ explains them)\n",
			debug, faultBlackhole, strings.Join(faultList()[1:], ", "), debug)
	}
}

// flush sends the last of the telemetry, also when the program was interrupted.
// A collector that is away is no failure of the program's.
func flush(t *telemetry, stderr io.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := t.shutdown(ctx); err != nil {
		fmt.Fprintf(stderr, "gateway: warning: %s\n", oneLine(err))
	}
}
