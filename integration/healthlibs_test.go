package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"syscall"
	"time"

	"github.com/alexliesenfeld/health"
	"github.com/cenkalti/backoff/v4"
	hellofresh "github.com/hellofresh/health-go/v5"
	"github.com/respawnhttp/respawn"
)

// cannotServe returns a client whose dialer is dead for good, and whose factory builds no other.
func cannotServe() *respawn.RecoveringRoundTripper {
	base := roundTripper(func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED })
	rt, err := respawn.New(base,
		respawn.WithName("upstream"),
		respawn.WithLogger(slog.New(slog.DiscardHandler)),
		respawn.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Hour) }),
		respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			return nil, errors.New("the tunnel cannot be dialed with password=secret")
		}))
	if err != nil {
		panic(err)
	}
	return rt
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// statusOf is what a load balancer sees.
func statusOf(readiness http.Handler) int {
	w := httptest.NewRecorder()
	readiness.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/health/readiness", nil))
	return w.Code
}

// The client's Check fits github.com/alexliesenfeld/health without an adapter. It never
// blocks, so it needs neither a period nor a cache.
func Example_alexliesenfeldHealth() {
	rt := cannotServe()
	defer rt.Close()
	checker := health.NewChecker(
		health.WithDisabledCache(),
		health.WithCheck(health.Check{Name: "upstream", Check: rt.Check}),
	)
	readiness := health.NewHandler(checker)

	fmt.Println(statusOf(readiness), checker.Check(context.Background()).Status)
	_, err := (&http.Client{Transport: rt}).Get("http://api.test/v1/models?key=secret")
	fmt.Println("meanwhile:", errors.Is(err, syscall.ECONNREFUSED))
	fmt.Println(statusOf(readiness), checker.Check(context.Background()).Details["upstream"].Error)
	// Output:
	// 200 up
	// meanwhile: true
	// 503 respawn: upstream is failing: factory_error
}

// The same for github.com/hellofresh/health-go.
func Example_hellofreshHealth() {
	rt := cannotServe()
	defer rt.Close()
	checker, err := hellofresh.New(hellofresh.WithChecks(hellofresh.Config{Name: "upstream", Check: rt.Check}))
	if err != nil {
		panic(err)
	}

	fmt.Println(statusOf(checker.Handler()), checker.Measure(context.Background()).Status)
	_, err = (&http.Client{Transport: rt}).Get("http://api.test/v1/models?key=secret")
	fmt.Println("meanwhile:", errors.Is(err, syscall.ECONNREFUSED))
	fmt.Println(statusOf(checker.Handler()), checker.Measure(context.Background()).Failures)
	// Output:
	// 200 OK
	// meanwhile: true
	// 503 map[upstream:respawn: upstream is failing: factory_error]
}
