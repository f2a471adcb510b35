// Package chain shows what goes around a respawn.RecoveringRoundTripper, in
// which order and why. It is an example to copy from, and its tests hold it to
// what it says.
package chain

import (
	"fmt"
	"net/http"

	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/respawnhttp/respawn"
	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"golang.org/x/oauth2"
)

// NewClient chains, from the caller to the wire:
//
//  1. otelhttp makes one CLIENT span for each request of the caller's, on which
//     respawn says how often it was sent again. Beneath the retries its span
//     would stay open for every answer that they throw away.
//  2. failsafe-go retries answers (429, 503, Retry-After), so that each retry is
//     counted and authorized.
//  3. gobreaker stops asking an upstream that answers badly.
//  4. oauth2 adds a token that is fresh at each retry.
//  5. respawn is next to the wire: those above it meet a live transport, and it
//     sees the transport's own errors, which some of them replace.
//
// rt stays the caller's, who ends it with Shutdown once nobody asks any more.
func NewClient(rt *respawn.RecoveringRoundTripper, tokens oauth2.TokenSource, opts ...otelhttp.Option) *http.Client {
	authorized := &oauth2.Transport{Source: tokens, Base: rt}
	broken := &breaker{
		next:    authorized,
		circuit: gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{Name: "llm"}),
	}
	retried := failsafehttp.NewRoundTripper(broken, failsafehttp.NewRetryPolicyBuilder().Build())
	return &http.Client{Transport: otelhttp.NewTransport(retried, opts...)}
}

// breaker counts 5xx answers as failures and still hands them on.
type breaker struct {
	next    http.RoundTripper
	circuit *gobreaker.CircuitBreaker[*http.Response]
}

type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

func (b *breaker) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.circuit.Execute(func() (*http.Response, error) {
		resp, err := b.next.RoundTrip(req)
		if err == nil && resp.StatusCode >= http.StatusInternalServerError {
			err = statusError(resp.StatusCode)
		}
		return resp, err
	})
	if _, ok := err.(statusError); ok {
		return resp, nil
	}
	return resp, err
}
