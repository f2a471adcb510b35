package respawn

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/build"
	settings "github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/evidence"
)

// An Option changes one default of [New]. A value that makes no sense is an
// error from New that names the option and the value. So is a duration of less than
// 1 ms that is not 0, as WithMaxAge(10) has, whose unit was forgotten.
type Option func(*config) error

// config is what the options set, where the tests of other packages find it, too.
type config = settings.Config

func newConfig(opts []Option) (config, error) {
	cfg := settings.Default()
	var errs []error
	for i, opt := range opts {
		if opt == nil {
			errs = append(errs, fmt.Errorf("option %d is nil: leave it out", i+1))
			continue
		}
		if err := opt(&cfg); err != nil {
			errs = append(errs, err)
		}
	}
	return cfg, errors.Join(errs...)
}

// hasUnit refuses a duration that is a number without a unit, which Go takes for
// nanoseconds: no setting is meant to be that short.
func hasUnit(d time.Duration, option string, values ...any) error {
	if d > 0 && d < time.Millisecond {
		return fmt.Errorf(option+": less than 1 ms: did you forget the unit, as in 10*time.Second?", values...)
	}
	return nil
}

// WithFactory sets how a fresh transport is built. The default, for a base
// that is an [*http.Transport], clones it so that nothing is shared with the
// dead one (see [New]); a clone keeps the dialer, so a tunneling dialer or
// rotating certificates need a factory that rebuilds them. Nil is an error.
func WithFactory(f Factory) Option {
	return func(c *config) error {
		if f == nil {
			return errors.New("WithFactory(nil): pass a function that builds a fresh transport, or leave the option out")
		}
		c.Factory = f
		return nil
	}
}

// WithName names this client in telemetry, health and logs. The default is
// "default"; give each client of a process its own, since metrics of clients
// that share a name cannot be told apart. The empty name is an error; bytes that
// are no UTF-8 are replaced, which exporters would refuse.
func WithName(name string) Option {
	return func(c *config) error {
		if name == "" {
			return errors.New(`WithName(""): give the client a name, or leave the option out for "default"`)
		}
		c.Name = strings.ToValidUTF8(name, "\ufffd")
		return nil
	}
}

// WithThreshold sets how many consecutive failures of one authority trip it.
// The default is 3; less than 1 is an error. Consecutive is meant causally: an
// attempt counts only if it began after the failure counted before it, so a
// connection that fails under 500 requests at once is one failure.
func WithThreshold(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return fmt.Errorf("WithThreshold(%d): the threshold must be at least 1", n)
		}
		c.Threshold = n
		return nil
	}
}

// WithStallThreshold sets the rule for stalls, that is for callers' deadlines
// which passed without a first response byte, and for the waits of [WithPatience]: n of
// them, the first and the last at least d apart and no success between, trip the
// authority. The default is 3 over 1 s. Zero n turns the rule off; negative values are
// errors.
func WithStallThreshold(n int, d time.Duration) Option {
	return func(c *config) error {
		if n < 0 || d < 0 {
			return fmt.Errorf("WithStallThreshold(%d, %v): neither may be negative; 0 stalls turns the rule off", n, d)
		}
		c.Stalls, c.StallSpan = n, d
		return hasUnit(d, "WithStallThreshold(%d, %v)", n, d)
	}
}

// WithPatience sets how long a request may wait for its answer, though its caller
// would wait longer, before that is a stall: one whose deadline is far, or that has
// none. It waits on, and is a stall again after each d. Where stalls trip its
// authority, a copy of a request that waits makes the trial if it can be copied, and
// after a promotion what may be sent again is. A caller that leaves without an answer
// after a second was stalled, too. Each client draws its own d within a fifth of this
// one, and learns of authorities that take longer to answer. Requests whose deadline is
// nearer than one and a half times d are not accompanied; the others cost what the
// benchmarks say. The default is 5 s; 0 turns it off, so that only deadlines that pass
// count, as 0 stalls in [WithStallThreshold] do. More than an hour is an hour. A
// negative d is an error.
func WithPatience(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return fmt.Errorf("WithPatience(%v): the patience must not be negative; 0 counts only deadlines that pass", d)
		}
		c.Patience = d
		return hasUnit(d, "WithPatience(%v)", d)
	}
}

// WithBackOff sets the policy that spaces recreations: newBackOff is called
// for a fresh policy whenever the wait starts over, which it does when an
// authority trips that had no outage in the last minute. That recreation is at
// once, but never closer than a first interval to the one before; later ones wait
// for the policy's intervals, counted from the first refusal of the transport
// before, or its promotion. A policy that answers [backoff.Stop] does not end
// recovery: its last interval is used again. The default is exponential from
// 500 ms to 30 s, by half more each time, with ±50 % jitter. A nil function, or one
// that returns nil, is an error. The policy is used by one goroutine at a time.
func WithBackOff(newBackOff func() backoff.BackOff) Option {
	return func(c *config) error {
		if newBackOff == nil || newBackOff() == nil {
			return errors.New("WithBackOff(nil): pass a function that returns a new backoff.BackOff each time")
		}
		c.NewBackOff = newBackOff
		return nil
	}
}

// WithRecreateTimeout limits how long the factory may take, and then again how
// long a trial may go on without its proof; where answers are known to take longer,
// as long as those may. The default is 10 s; zero and negative values are errors,
// since a factory that hangs would end recovery for good.
func WithRecreateTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return fmt.Errorf("WithRecreateTimeout(%v): the time limit must be positive", d)
		}
		c.RecreateTimeout = d
		return hasUnit(d, "WithRecreateTimeout(%v)", d)
	}
}

// WithClassifier replaces [DefaultClassifier]; call that from yours for the
// errors you have nothing to say about. Nil is an error.
func WithClassifier(classify Classifier) Option {
	return func(c *config) error {
		if classify == nil {
			return errors.New("WithClassifier(nil): pass a function, or leave the option out for DefaultClassifier")
		}
		c.Classify = func(req *http.Request, err error) evidence.Verdict { return evidence.Verdict(classify(req, err)) }
		return nil
	}
}

// WithReplay sets which requests may be sent again. The default, and the zero
// value, is [ReplayIdempotent]. Any other value than the three is an error.
func WithReplay(r Replay) Option {
	return func(c *config) error {
		if r < ReplayIdempotent || r > ReplayNever {
			return fmt.Errorf("WithReplay(%d): use ReplayIdempotent, ReplayUnsent or ReplayNever", r)
		}
		c.Replay = body.Replay(r)
		return nil
	}
}

// WithFallback sets a transport that serves an authority while it is tripped
// and no trial is due, but for one request now and then that asks whether the
// current one is well again. It is not retired, counted or recreated, and an answer
// from it does not end the outage. What has failed may be sent to it once more, if
// that is safe. The default is none: requests go on to the current transport. Nil is
// an error.
func WithFallback(rt http.RoundTripper) Option {
	return func(c *config) error {
		if build.IsNil(rt) {
			return errors.New("WithFallback(nil): pass a transport, or leave the option out for none")
		}
		c.Fallback = rt
		return nil
	}
}

// WithWaitForReady lets a request that failed and may be sent again wait out
// the backoff window for a trial to succeed, for at most d and never past its
// own context, as gRPC's wait-for-ready does. It makes the attempts that a request
// makes without it, and for as long as it waits as many again in each round: the
// rounds are a second apart, or begin with a fresh transport. The default 0 fails
// fast. Negative values are errors.
func WithWaitForReady(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return fmt.Errorf("WithWaitForReady(%v): the wait must not be negative; 0 fails fast", d)
		}
		c.WaitForReady = d
		return hasUnit(d, "WithWaitForReady(%v)", d)
	}
}

// WithMaxAge replaces a generation when it is d old, give or take a tenth so
// that a fleet does not move in lockstep, to follow changes of DNS and load
// balancers which busy connections never see. The default 0 is never.
// Negative values are errors.
func WithMaxAge(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return fmt.Errorf("WithMaxAge(%v): the age must not be negative; 0 is never", d)
		}
		c.MaxAge = d
		return hasUnit(d, "WithMaxAge(%v)", d)
	}
}

// WithDrainTimeout cuts what is still in flight on a retired transport after d,
// whatever its readers do: requests and bodies end with [ErrDrained], also those that
// nobody reads or closes, and the transport is closed. Who has given up by then gets
// its own error. The default 0 never cuts. Setting it takes every request off the
// healthy path: it costs a copy, a derived context and a lock, and a channel for the
// body. Negative values are errors.
func WithDrainTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return fmt.Errorf("WithDrainTimeout(%v): the limit must not be negative; 0 never cuts", d)
		}
		c.DrainTimeout = d
		return hasUnit(d, "WithDrainTimeout(%v)", d)
	}
}

// WithTracerProvider sets where recreation spans go. The default is resolved
// for each recreation: the provider of the request's span, else the global one
// of package otel. A request that carries nothing but a remote parent has a
// provider that records nothing: set one here. Nil is an error.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(c *config) error {
		if p == nil {
			return errors.New("WithTracerProvider(nil): pass a provider, or leave the option out for the request's or the global one")
		}
		c.TracerProvider = p
		return nil
	}
}

// WithLogger sets where trips, rejections and recoveries are logged. The
// default is [slog.Default] at the time of the record. Nil is an error; use
// slog.New([slog.DiscardHandler]) for silence.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return errors.New("WithLogger(nil): pass a logger, or slog.New(slog.DiscardHandler) for silence")
		}
		c.Logger = l
		return nil
	}
}
