package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

const (
	// probeTimeout is how long an upstream may take to answer at the start.
	probeTimeout = 5 * time.Second
	// probePause is between two attempts to reach it.
	probePause = time.Second
)

// A contact knows whether the gateway can be of use to anybody: it has reached
// its upstream once, and is not about to end. Between these two respawn's own
// health says more.
type contact struct {
	target *url.URL
	cfg    sessionConfig
	logger *slog.Logger
	unfit  atomic.Pointer[string] // why; nil: fit
}

func newContact(target *url.URL, cfg sessionConfig, logger *slog.Logger) *contact {
	c := &contact{target: target, cfg: cfg, logger: logger}
	c.setUnfit("the upstream has not been asked yet")
	return c
}

func (c *contact) setUnfit(why string) { c.unfit.Store(&why) }

// establish asks the upstream until it answers, or ctx ends.
func (c *contact) establish(ctx context.Context) {
	for attempt := 0; ; attempt++ {
		err := c.probe(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			c.logger.InfoContext(ctx, "gateway: ready, the upstream answers", "upstream", c.target.Redacted())
			c.unfit.Store(nil)
			return
		}
		c.setUnfit("the upstream has not answered since the gateway started: " + err.Error())
		if attempt == 0 {
			c.logger.WarnContext(ctx, "gateway: not ready, the upstream does not answer; it is asked again until it does",
				"upstream", c.target.Redacted(), "every", probePause, "error", err.Error())
		}
		if !sleepUntil(ctx, time.Now().Add(probePause)) {
			return
		}
	}
}

// probe asks the upstream for anything at all, on a session of its own so that
// a mistyped address is no business of the recovering client. Any answer will
// do: most upstreams refuse those who come without a key.
func (c *contact) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.target.String(), nil)
	if err != nil {
		return fmt.Errorf("cannot ask the upstream, check -upstream: %w", err)
	}
	s := newSession(c.cfg)
	defer s.Close()
	resp, err := s.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("cannot reach %s, check -upstream: %w", c.target.Redacted(), err)
	}
	return resp.Body.Close()
}

// readiness is next's answer, unless the gateway is not fit at all.
func (c *contact) readiness(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if why := c.unfit.Load(); why != nil {
			w.Header().Set("Content-Type", "application/health+json")
			w.Header().Set("Cache-Control", "no-store")
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "fail", "output": *why})
			return
		}
		next.ServeHTTP(w, req)
	})
}
