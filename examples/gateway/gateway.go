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

// newGateway returns the handler stack: everything under /v1/ goes to the
// upstream over the one shared client rt. A nil chaos leaves /chaos/ out.
func newGateway(target *url.URL, rt *respawn.RecoveringRoundTripper, t *telemetry, chaos http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", early(otelhttp.NewHandler(newProxy(target, traced(rt, t), t.logger), "gateway",
		otelhttp.WithTracerProvider(t.traces),
		otelhttp.WithMeterProvider(t.meters),
		otelhttp.WithPropagators(t.propagator))))
	mux.HandleFunc("GET /health/liveness", func(w http.ResponseWriter, _ *http.Request) {
		// Deliberately blind to the upstream: a restart heals nothing that
		// respawn does not.
		writeJSON(w, http.StatusOK, map[string]string{"status": "pass"})
	})
	mux.Handle("/health/readiness", respawn.HealthHandler(rt))
	mux.Handle("GET /metrics", t.metrics)
	mux.Handle("/debug/respawn", respawndebug.DebugHandler(rt))
	if chaos != nil {
		mux.Handle("POST /chaos/{fault}", chaos)
	}
	return mux
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
