// Package config holds what the options set, and some settings that users cannot
// change. Tests of other packages change those with an Option of their own.
package config

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/names"
)

// A Config is what the options set; read-only after New.
type Config struct {
	Name            string
	Factory         func(context.Context) (http.RoundTripper, error)
	Threshold       int
	Stalls          int
	StallSpan       time.Duration
	Patience        time.Duration
	NewBackOff      func() backoff.BackOff
	RecreateTimeout time.Duration
	Classify        func(*http.Request, error) evidence.Verdict
	Replay          body.Replay
	Fallback        http.RoundTripper
	WaitForReady    time.Duration
	MaxAge          time.Duration
	DrainTimeout    time.Duration
	TracerProvider  trace.TracerProvider
	MeterProvider   metric.MeterProvider
	Logger          *slog.Logger
	HostMetrics     bool
	OnRecreation    func(context.Context, any) // a respawn.RecreationRecord, which cannot be named here; nil: none

	// No option sets these.
	Chance func() float64  // in [0, 1): it spreads WithMaxAge over a fleet
	Names  *names.Registry // where Name is claimed
}

// Default returns the configuration of New without options.
func Default() Config {
	return Config{
		Name:            "default",
		Threshold:       3,
		Stalls:          3,
		StallSpan:       time.Second,
		Patience:        5 * time.Second,
		NewBackOff:      defaultBackOff,
		RecreateTimeout: 10 * time.Second,
		Classify:        evidence.Classify,
		Chance:          rand.Float64,
		Names:           &names.Process,
	}
}

// defaultBackOff never gives up. A policy that gave up would leave the process as stuck
// as the outage that this package exists to end.
func defaultBackOff() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(500*time.Millisecond),
		backoff.WithMultiplier(1.5),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxInterval(30*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
}
