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
	"time"
)

const (
	// grace is how long requests may go on after SIGTERM.
	grace = 30 * time.Second
	// probeTimeout is how long an upstream may take to answer at the start.
	probeTimeout = 5 * time.Second
	// typingPace is the embedded upstream's when people look at it.
	typingPace = 50 * time.Millisecond
)

// A service is what -serve runs.
type service struct {
	address   string
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

	// Before the upstream is asked: a taken port is the cheaper mistake.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("cannot listen, choose another address for -serve: %w", err)
	}
	defer listener.Close()

	target, pool, chaos := s.upstream, &sessions{cfg: sessionConfig{firstByte: s.firstByte}}, http.Handler(nil)
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
		pool, chaos = l.sessions, chaosHandler(l, t.logger)
	}
	if err := probe(ctx, target, pool.cfg); err != nil {
		return err
	}
	rt, err := recovering("upstream", pool, t)
	if err != nil {
		return err
	}
	defer rt.Close()

	announce(stdout, listener.Addr(), s.upstream)
	return listenAndDrain(ctx, listener, newGateway(target, rt, t, chaos), t.logger)
}

// probe asks the upstream for anything at all, on a session of its own so that
// a mistyped address is no business of the recovering client. Any answer will
// do: most upstreams refuse those who come without a key.
func probe(ctx context.Context, target *url.URL, cfg sessionConfig) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, target.String(), nil)
	if err != nil {
		return fmt.Errorf("cannot ask the upstream, check -upstream: %w", err)
	}
	s := newSession(cfg)
	defer s.Close()
	resp, err := s.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("cannot reach the upstream %s, check -upstream: %w", target.Redacted(), err)
	}
	return resp.Body.Close()
}

// listenAndDrain serves until ctx ends. Requests do not end with it: they have
// the grace to finish.
func listenAndDrain(ctx context.Context, listener net.Listener, handler http.Handler, logger *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("cannot serve any longer: %w", err)
	case <-ctx.Done():
	}
	logger.Info("gateway: shutting down, running requests may finish", "grace", grace)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("some requests had to be cut off: %w", errors.Join(err, server.Close()))
	}
	return nil
}

func announce(w io.Writer, address net.Addr, upstream *url.URL) {
	base := "http://" + address.String()
	fmt.Fprintf(w, "gateway: listening on %s\n", base)
	fmt.Fprintf(w, "  ask:    curl -N %s/v1/chat/completions -d '{\"model\":\"m\",\"stream\":true,\"messages\":[]}'\n", base)
	fmt.Fprintf(w, "  look:   curl %s/health/readiness; curl %s/metrics\n", base, base)
	fmt.Fprintf(w, "  watch:  %s/debug/respawn in a browser\n", base)
	if upstream == nil {
		fmt.Fprintf(w, "  break:  curl -X POST %s/chaos/%s (one of %s; %s undoes it)\n", base, faultBlackhole, faultNames(), chaosNone)
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
