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

// An Option changes one default of [New]. For a value that makes no sense, New returns
// an error that names the option and the value. A positive duration of less than 1 ms
// makes no sense, either: in WithMaxAge(10) the unit was forgotten.
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

// WithFactory sets how a fresh transport is built. The default, for a base that is an
// [*http.Transport], is a clone that shares no connections with base (see [New]). A
// clone keeps the dialer, so a tunneling dialer or rotating certificates need a factory
// that rebuilds them. A nil factory is an error.
func WithFactory(f Factory) Option {
	return func(c *config) error {
		if f == nil {
			return errors.New("WithFactory(nil): pass a function that builds a fresh transport, or leave the option out")
		}
		c.Factory = f
		return nil
	}
}

// WithName names this client in telemetry, health and logs. The default is "default";
// give each client of a process its own. Clients that share a name cannot be told apart
// in telemetry, in health or by [NamedClientFromContext], and the first time that two of
// them are open at once, [New] logs a warning. The empty name is an error. Bytes that are not UTF-8 are
// replaced, since exporters would refuse them.
func WithName(name string) Option {
	return func(c *config) error {
		if name == "" {
			return errors.New(`WithName(""): give the client a name, or leave the option out for "default"`)
		}
		c.Name = strings.ToValidUTF8(name, "\ufffd")
		return nil
	}
}

// WithThreshold sets how many consecutive failures of one authority trip it. The
// default is 3; less than 1 is an error. Consecutive means causally consecutive: an
// attempt counts only if it began after the previously counted failure, so a connection
// that fails under 500 requests at once is one failure.
//
// One request makes at most three attempts until its authority trips. With a threshold
// above 3, a request that is alone gets the error of the third one, and it takes the next
// request to trip the authority.
func WithThreshold(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return fmt.Errorf("WithThreshold(%d): the threshold must be at least 1", n)
		}
		c.Threshold = n
		return nil
	}
}

// WithStallThreshold sets how many stalls trip an authority: n of them, with the first
// and the last at least d apart and no success in between. A stall is a caller's
// deadline that passed without an answer, or a wait as [WithPatience] defines it. The
// default is 3 over 1 s. If n is 0, stalls never trip; negative values are errors.
func WithStallThreshold(n int, d time.Duration) Option {
	return func(c *config) error {
		if n < 0 || d < 0 {
			return fmt.Errorf("WithStallThreshold(%d, %v): neither may be negative; 0 stalls turns the rule off", n, d)
		}
		c.Stalls, c.StallSpan = n, d
		return hasUnit(d, "WithStallThreshold(%d, %v)", n, d)
	}
}

// WithPatience sets how long a request may wait for its answer before the wait counts
// as a stall, although its deadline is still far away, or it has none. The request
// keeps waiting, and counts as a stall again after each further d.
//
// When stalls trip an authority, a copy of a waiting request makes the trial. After a
// promotion, waiting requests that may be sent again are sent on the fresh transport. A
// request that can be copied also keeps waiting on the old transport, unless that was
// proved dead, and its caller gets the first answer. A request whose caller leaves after
// a second or more without an answer counts as a stall, too.
//
// Each client draws its own d, within a fifth of the given one. For authorities that
// take longer to answer, it learns to wait longer: twice as long as the longest answered
// wait of the last half hour or more that was known when the request began. A request whose
// deadline is nearer than one and a half times d is left to that deadline; the benchmarks
// say what it costs to observe the others.
//
// The default is 5 s. With 0 only deadlines that pass count as stalls; 0 stalls in
// [WithStallThreshold] turns patience off, too. More than an hour counts as an hour. A
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

// WithBackOff sets the policy that spaces recreations. The backoff starts over, with a
// fresh policy from newBackOff, when an authority trips that had no outage in the last
// minute, or when the transport has ended. It does not start over if an outage led to a
// promotion in that minute. When the backoff starts over, the next
// recreation starts at once, but no sooner than the policy's first interval after the
// previous build began. Later recreations wait for the policy's intervals,
// counted from the previous candidate's first refusal, promotion or end. A policy that
// returns [backoff.Stop] does not end recovery: its last interval is used again. The
// default is exponential: 500 ms, then half as long again each time, up to 30 s, with
// ±50 % jitter. A nil function, or one that returns nil, is an error. The policy is used by
// one goroutine at a time.
func WithBackOff(newBackOff func() backoff.BackOff) Option {
	return func(c *config) error {
		if newBackOff == nil || build.IsNil(newBackOff()) {
			return errors.New("WithBackOff(nil): pass a function that returns a new backoff.BackOff each time")
		}
		c.NewBackOff = newBackOff
		return nil
	}
}

// WithRecreateTimeout limits how long the factory may take, and then, separately, how
// long a trial may go on without proof. If an authority's answers are known to take
// longer than d, its trial may take as long as those answers may. The default is 10 s;
// zero and negative values are errors, since a factory that hangs would end recovery
// for good.
func WithRecreateTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return fmt.Errorf("WithRecreateTimeout(%v): the time limit must be positive", d)
		}
		c.RecreateTimeout = d
		return hasUnit(d, "WithRecreateTimeout(%v)", d)
	}
}

// WithClassifier replaces [DefaultClassifier]. A classifier should call
// DefaultClassifier for the errors that it does not judge itself. A nil classifier is
// an error.
func WithClassifier(classify Classifier) Option {
	return func(c *config) error {
		if classify == nil {
			return errors.New("WithClassifier(nil): pass a function, or leave the option out for DefaultClassifier")
		}
		c.Classify = func(req *http.Request, err error) evidence.Verdict { return evidence.Verdict(classify(req, err)) }
		return nil
	}
}

// WithReplay sets which requests may be sent again. The default, and the zero value, is
// [ReplayIdempotent]. A value other than the three constants is an error.
func WithReplay(r Replay) Option {
	return func(c *config) error {
		if r < ReplayIdempotent || r > ReplayNever {
			return fmt.Errorf("WithReplay(%d): use ReplayIdempotent, ReplayUnsent or ReplayNever", r)
		}
		c.Replay = body.Replay(r)
		return nil
	}
}

// WithFallback sets a transport that serves an authority while the authority is tripped
// and no trial is due. Now and then one request still goes to the current transport, to
// find out whether that transport works again. The fallback is not retired, counted or recreated,
// and its answers do not end the outage. A request that has failed may be sent to the
// fallback once more, if that is safe. By default there is no fallback, and requests go
// to the current transport. A nil fallback is an error.
func WithFallback(rt http.RoundTripper) Option {
	return func(c *config) error {
		if build.IsNil(rt) {
			return errors.New("WithFallback(nil): pass a transport, or leave the option out for none")
		}
		c.Fallback = rt
		return nil
	}
}

// WithWaitForReady lets a request that failed and may be sent again wait out the
// backoff until a trial succeeds, for at most d and never past the request's context,
// as gRPC's wait-for-ready does. Such a request makes its attempts in rounds, each with
// as many attempts as a request makes without this option. A round begins a second
// after the one before, or when there is a fresh transport. The default 0 fails fast.
// Negative values are errors.
func WithWaitForReady(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return fmt.Errorf("WithWaitForReady(%v): the wait must not be negative; 0 fails fast", d)
		}
		c.WaitForReady = d
		return hasUnit(d, "WithWaitForReady(%v)", d)
	}
}

// WithMaxAge replaces a generation when it is d old, to follow changes of DNS and of
// load balancers, which busy connections never see. The age varies by up to a tenth, so
// that a fleet does not move in lockstep. With 0, the default, no transport is replaced
// for its age. Negative values are errors.
func WithMaxAge(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return fmt.Errorf("WithMaxAge(%v): the age must not be negative; 0 is never", d)
		}
		c.MaxAge = d
		return hasUnit(d, "WithMaxAge(%v)", d)
	}
}

// WithDrainTimeout cuts the requests that are still in flight on a transport d after
// its retirement. They and their bodies end with [ErrDrained], even those that nobody
// reads or closes, and the transport is closed. A caller that has given up by then gets
// the transport's own error. The default 0 never cuts. Any other value takes every
// request off the healthy path: each costs a copy, a derived context and a lock, and a
// channel for its body. Negative values are errors.
func WithDrainTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 {
			return fmt.Errorf("WithDrainTimeout(%v): the limit must not be negative; 0 never cuts", d)
		}
		c.DrainTimeout = d
		return hasUnit(d, "WithDrainTimeout(%v)", d)
	}
}

// WithTracerProvider sets where recreation spans go. The default is resolved for each
// recreation: it is the provider of the request's span, or else the global one of
// package otel. If requests carry only a remote parent, the provider of that span
// records nothing: set one here. A nil provider is an error.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(c *config) error {
		if build.IsNil(p) {
			return errors.New("WithTracerProvider(nil): pass a provider, or leave the option out for the request's or the global one")
		}
		c.TracerProvider = p
		return nil
	}
}

// WithLogger sets where trips, swaps, rejections and recoveries are logged. The default is
// what [slog.Default] returns when a record is logged. A record is often logged on the
// goroutine of the request that was its reason: a handler that blocks holds up that
// request, even past its deadline. A nil logger is an error; use
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
