package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/PuerkitoBio/rehttp"
	"github.com/eapache/go-resiliency/breaker"
	"github.com/eapache/go-resiliency/retrier"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/gojek/heimdall/v7"
	"github.com/gojek/heimdall/v7/httpclient"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/sony/gobreaker/v2"

	"github.com/respawnhttp/respawn"
)

// Those that retry do so this often and this far apart. Their own delays are a
// second and more, which would only make the failing rows slower.
const (
	retries    = 3
	retryDelay = 10 * time.Millisecond
)

// The rows that the report looks for.
const (
	nameBare    = "bare"
	nameAA      = "bare again (A/A)"
	nameRespawn = "respawn"
	nameLimit   = "thinnest safe wrapper"
	namePort    = "literal port of LiteLLM's fix"
)

// A peer is one way to put something between a client and its transport.
type peer struct {
	name   string
	module string // whose version the report tells; "" for the standard library
	use    string // how it is set up
	// wrap puts it over base. fresh builds another transport like base, for
	// those who can use one.
	wrap func(base http.RoundTripper, fresh respawn.Factory) http.RoundTripper
}

// newPeers returns all rows but the one of the A/A test. Those of otelhttp
// report to o.
func newPeers(o *observer) []peer {
	wraps := func(wrap func(http.RoundTripper) http.RoundTripper) func(http.RoundTripper, respawn.Factory) http.RoundTripper {
		return func(base http.RoundTripper, _ respawn.Factory) http.RoundTripper { return wrap(base) }
	}
	return []peer{
		{nameBare, "", "the transport itself", wraps(func(base http.RoundTripper) http.RoundTripper { return base })},
		{nameRespawn, "github.com/respawnhttp/respawn", "`New(base, WithFactory(...))`", newRespawn},
		{nameLimit, "", "an `atomic.Pointer` and a count of what is in flight: what swapping costs at the least", wraps(newThinnest)},
		{"failsafe-go retry", "github.com/failsafe-go/failsafe-go", "`failsafehttp.NewRoundTripper` with its `NewRetryPolicyBuilder`", wraps(newFailsafeRetry)},
		{"failsafe-go breaker", "github.com/failsafe-go/failsafe-go", "`failsafehttp.NewRoundTripper` with `circuitbreaker.NewWithDefaults`", wraps(newFailsafeBreaker)},
		{"failsafe-go both", "github.com/failsafe-go/failsafe-go", "`failsafehttp.NewRoundTripper` with both, the retries outside", wraps(newFailsafeBoth)},
		{"go-retryablehttp", "github.com/hashicorp/go-retryablehttp", "`NewClient().StandardClient().Transport`, its logger off", wraps(newRetryableHTTP)},
		{"gobreaker", "github.com/sony/gobreaker/v2", "`CircuitBreaker.Execute` around RoundTrip", wraps(newGobreaker)},
		{"rehttp", "github.com/PuerkitoBio/rehttp", "`NewTransport`, retrying errors", wraps(newRehttp)},
		{"heimdall", "github.com/gojek/heimdall/v7", "`httpclient.Client.Do` as RoundTrip", wraps(newHeimdall)},
		{"go-resiliency breaker", "github.com/eapache/go-resiliency", "`Breaker.Run` around RoundTrip", wraps(newResiliencyBreaker)},
		{"go-resiliency retrier", "github.com/eapache/go-resiliency", "`Retrier.Run` around RoundTrip", wraps(newResiliencyRetrier)},
		{"otelhttp", "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", "`NewTransport`, every span sampled and batched to an exporter that drops it, metrics collected by a reader", wraps(o.wrap)},
	}
}

// withPort adds the row that exists only for the recovery workload.
func withPort(peers []peer) []peer {
	return append(peers, peer{namePort, "", "closed? then recreate: an `atomic.Pointer`, no single flight", newLiteralPort})
}

func peerNamed(peers []peer, name string) peer {
	for _, p := range peers {
		if p.name == name {
			return p
		}
	}
	panic("no peer is called " + name)
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func newRespawn(base http.RoundTripper, fresh respawn.Factory) http.RoundTripper {
	return newRespawnWith(base, fresh)
}

func newRespawnWith(base http.RoundTripper, fresh respawn.Factory, more ...respawn.Option) http.RoundTripper {
	opts := append(more, respawn.WithFactory(fresh), respawn.WithLogger(slog.New(slog.DiscardHandler)))
	rt, err := respawn.New(base, opts...)
	if err != nil {
		panic(err) // the options are constants
	}
	return rt
}

func newFailsafeRetry(base http.RoundTripper) http.RoundTripper {
	return failsafehttp.NewRoundTripper(base,
		failsafehttp.NewRetryPolicyBuilder().WithMaxRetries(retries).WithDelay(retryDelay).Build())
}

func newFailsafeBreaker(base http.RoundTripper) http.RoundTripper {
	return failsafehttp.NewRoundTripper(base, circuitbreaker.NewWithDefaults[*http.Response]())
}

func newFailsafeBoth(base http.RoundTripper) http.RoundTripper {
	return failsafehttp.NewRoundTripper(base,
		failsafehttp.NewRetryPolicyBuilder().WithMaxRetries(retries).WithDelay(retryDelay).Build(),
		circuitbreaker.NewWithDefaults[*http.Response]())
}

func newRetryableHTTP(base http.RoundTripper) http.RoundTripper {
	c := retryablehttp.NewClient()
	c.HTTPClient.Transport = base
	c.RetryMax, c.RetryWaitMin, c.RetryWaitMax = retries, retryDelay, retryDelay
	c.Logger = nil
	return c.StandardClient().Transport
}

func newGobreaker(base http.RoundTripper) http.RoundTripper {
	cb := gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{})
	return roundTripperFunc(func(req *http.Request) (*http.Response, error) {
		return cb.Execute(func() (*http.Response, error) { return base.RoundTrip(req) })
	})
}

func newRehttp(base http.RoundTripper) http.RoundTripper {
	return rehttp.NewTransport(base,
		rehttp.RetryAll(rehttp.RetryMaxRetries(retries), rehttp.RetryIsErr(func(err error) bool { return err != nil })),
		rehttp.ConstDelay(retryDelay))
}

func newHeimdall(base http.RoundTripper) http.RoundTripper {
	c := httpclient.NewClient(
		httpclient.WithHTTPClient(&http.Client{Transport: base}),
		httpclient.WithRetryCount(retries),
		httpclient.WithRetrier(heimdall.NewRetrier(heimdall.NewConstantBackoff(retryDelay, 0))))
	return roundTripperFunc(c.Do)
}

func newResiliencyBreaker(base http.RoundTripper) http.RoundTripper {
	b := breaker.New(3, 1, 5*time.Second) // as in its documentation
	return roundTripperFunc(func(req *http.Request) (resp *http.Response, err error) {
		err = b.Run(func() (err error) {
			resp, err = base.RoundTrip(req)
			return err
		})
		return resp, err
	})
}

func newResiliencyRetrier(base http.RoundTripper) http.RoundTripper {
	r := retrier.New(retrier.ConstantBackoff(retries, retryDelay), nil)
	return roundTripperFunc(func(req *http.Request) (resp *http.Response, err error) {
		err = r.RunCtx(req.Context(), func(context.Context) (err error) {
			resp, err = base.RoundTrip(req)
			return err
		})
		return resp, err
	})
}

// A literalPort is the fix that LiteLLM made, in Go and to the letter: before
// each request it asks whether the session is closed, and if so makes another.
type literalPort struct {
	current atomic.Pointer[http.RoundTripper]
	fresh   respawn.Factory
}

func newLiteralPort(base http.RoundTripper, fresh respawn.Factory) http.RoundTripper {
	p := &literalPort{fresh: fresh}
	p.current.Store(&base)
	return p
}

func (p *literalPort) RoundTrip(req *http.Request) (*http.Response, error) {
	rt := *p.current.Load()
	if s, ok := rt.(interface{ Err() error }); ok && s.Err() != nil {
		var err error
		if rt, err = p.fresh(req.Context()); err != nil {
			return nil, err
		}
		p.current.Store(&rt)
	}
	return rt.RoundTrip(req)
}

func (p *literalPort) Close() error {
	closeTransport(*p.current.Load())
	return nil
}

// closeTransport closes rt in the way it offers, once: Close has to be enough.
func closeTransport(rt http.RoundTripper) {
	switch c := rt.(type) {
	case io.Closer:
		_ = c.Close() // of a client that is done with
	case interface{ CloseIdleConnections() }:
		c.CloseIdleConnections()
	}
}
