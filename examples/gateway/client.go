package main

import (
	"fmt"
	"net/http"

	"github.com/respawnhttp/respawn"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// recovering returns the shared client's transport: the sessions of s, each
// replaced by the next when it is dead.
func recovering(name string, s *sessions, t *telemetry, opts ...respawn.Option) (*respawn.RecoveringRoundTripper, error) {
	rt, err := respawn.New(s.next(), append([]respawn.Option{
		respawn.WithName(name),
		respawn.WithFactory(s.build),
		respawn.WithHostMetrics(), // one upstream: so alerts can name it
		respawn.WithTracerProvider(t.traces),
		respawn.WithMeterProvider(t.meters),
		respawn.WithLogger(t.logger),
	}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("cannot make the recovering client: %w", err)
	}
	return rt, nil
}

// traced makes a CLIENT span of each request. It goes outside respawn: one
// span then covers a request with all its attempts, and a recreation is the
// child of the request that made the trial.
func traced(rt http.RoundTripper, t *telemetry) http.RoundTripper {
	return otelhttp.NewTransport(rt,
		otelhttp.WithTracerProvider(t.traces),
		otelhttp.WithMeterProvider(t.meters),
		otelhttp.WithPropagators(t.propagator))
}
