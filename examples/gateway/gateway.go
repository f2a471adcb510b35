package main

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawndebug"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// publicRoutes are for those whom the gateway serves: everything under /v1/ goes
// to the upstream over the one shared client rt.
func publicRoutes(target *url.URL, rt *respawn.RecoveringRoundTripper, t *telemetry) []route {
	return []route{
		{"/v1/", "the upstream's API; streams come word by word", early(otelhttp.NewHandler(
			newProxy(target, traced(rt, t), t.logger), "gateway",
			otelhttp.WithTracerProvider(t.traces),
			otelhttp.WithMeterProvider(t.meters),
			otelhttp.WithPropagators(t.propagator)))},
	}
}

// debugRoutes are for those who run it: they name hosts.
func debugRoutes(rt *respawn.RecoveringRoundTripper, t *telemetry, c *contact) []route {
	alive := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		// Deliberately blind to the upstream: a restart heals nothing that
		// respawn does not.
		writeJSON(w, http.StatusOK, map[string]string{"status": "pass"})
	})
	return []route{
		{"GET /health/liveness", "200 while the process runs", alive},
		{"/health/readiness", "200 while requests can be served or tried, else 503, and why", c.readiness(respawn.HealthHandler(rt))},
		{"GET /metrics", "for Prometheus", t.metrics},
		{"/debug/respawn", "what respawn has done and is doing", respawndebug.DebugHandler(rt)},
	}
}

func newProxy(target *url.URL, transport http.RoundTripper, logger *slog.Logger) http.Handler {
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target) // and the Host header with it
			r.SetXForwarded()
		},
		FlushInterval: -1, // each word of a stream at once
		ErrorLog:      slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			drainInbound(req) // the transport is done with it
			status, message := http.StatusBadGateway, "the upstream could not be reached"
			switch {
			case req.Context().Err() != nil:
				w.WriteHeader(status) // for our own records: the caller has left
				return
			case isTimeout(err):
				status, message = http.StatusGatewayTimeout, "the upstream took too long"
			}
			// The error itself is for the log: it can name internal hosts.
			logger.WarnContext(req.Context(), "gateway: "+message, "error", err.Error())
			writeError(w, status, "upstream_error", message)
		},
	}
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}
