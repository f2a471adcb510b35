package respawn

import (
	"context"
	"fmt"
	"net/http"

	"github.com/respawnhttp/respawn/internal/build"
)

type clientKey struct{}

// handed lists the clients that Middlewares hand to handlers, the innermost first.
type handed struct {
	name   string // of the client that rt is, as WithName has it
	client *http.Client
	outer  *handed
}

func handedTo(ctx context.Context) *handed {
	h, _ := ctx.Value(clientKey{}).(*handed)
	return h
}

// A MiddlewareOption changes one default of [Middleware].
type MiddlewareOption func(*http.Client)

// WithClient sets the client that handlers get: its Timeout, Jar and CheckRedirect, and
// its Transport if that wraps rt, as otelhttp.NewTransport(rt) does. Handlers get a
// copy, in which a nil Transport is replaced with rt; client itself is not changed. The
// default is a client with rt and nothing else. WithClient panics if client is nil.
// [Middleware] panics if it can see that the client's requests do not go through rt:
// its Transport is a nil pointer, net/http's own or another RecoveringRoundTripper, or wraps
// one of these two and says so (WrappedRoundTripper).
func WithClient(client *http.Client) MiddlewareOption {
	if client == nil {
		panic("respawn: WithClient: nil client: leave the option out for the default")
	}
	return func(c *http.Client) { *c = *client }
}

// Middleware puts one shared client over rt into the context of every inbound request.
// Handlers take it with [ClientFromContext], or with [NamedClientFromContext] if there
// are several. If the transport says that it has ended, Middleware starts its
// replacement but does not wait for it: RoundTrip does that. The ResponseWriter is
// passed on unchanged, and the form and the pattern that handlers leave in the request are
// handed back. Middleware panics if rt or an option is nil, or an option makes
// no sense.
func Middleware(rt *RecoveringRoundTripper, opts ...MiddlewareOption) func(http.Handler) http.Handler {
	if rt == nil {
		panic("respawn: Middleware: nil RecoveringRoundTripper: pass what New returned")
	}
	client := &http.Client{}
	for i, opt := range opts {
		if opt == nil {
			panic(fmt.Sprintf("respawn: Middleware: option %d is nil: leave it out", i+1))
		}
		opt(client)
	}
	if client.Transport == nil {
		client.Transport = rt
	}
	if goesAround(client.Transport, rt) {
		panic(fmt.Sprintf("respawn: WithClient: the client's Transport, a %T, does not go through rt: wrap rt with it, or leave it nil", client.Transport))
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			rt.gate.Prepare(req.Context())
			h := &handed{rt.cfg.Name, client, handedTo(req.Context())}
			inner := req.WithContext(context.WithValue(req.Context(), clientKey{}, h))
			defer handBack(req, inner)
			next.ServeHTTP(w, inner)
		})
	}
}

// handBack gives req what handlers left in inner, the copy of it that they got, and that
// those around them look for: the form, whose temporary files the server removes, and the
// pattern that a ServeMux found. Where they only read, so does handBack: req may be in the hands
// of others, as behind a middleware that gives up on a slow handler and goes on without it.
func handBack(req, inner *http.Request) {
	if inner.MultipartForm != req.MultipartForm {
		req.MultipartForm = inner.MultipartForm
	}
	if inner.Pattern != req.Pattern {
		req.Pattern = inner.Pattern
	}
}

// goesAround reports whether t is seen to end elsewhere than in rt: a nil pointer does.
func goesAround(t http.RoundTripper, rt *RecoveringRoundTripper) bool {
	if build.IsNil(t) {
		return true
	}
	for layer := range build.Layers(t) {
		switch layer := layer.(type) {
		case *RecoveringRoundTripper:
			return layer != rt
		case *http.Transport, *http.ClientConn:
			return true
		}
	}
	return false
}

// ClientFromContext returns the client that [Middleware] put into ctx, and whether
// there is one. If there are several Middlewares, it is the client of the innermost.
// The client is shared: do not change it.
func ClientFromContext(ctx context.Context) (*http.Client, bool) {
	h := handedTo(ctx)
	if h == nil {
		return nil, false
	}
	return h.client, true
}

// NamedClientFromContext is [ClientFromContext] for a handler behind several
// [Middleware]s. It returns the client over the RecoveringRoundTripper that [WithName]
// gave this name; if there are several of that name, the innermost.
func NamedClientFromContext(ctx context.Context, name string) (*http.Client, bool) {
	for h := handedTo(ctx); h != nil; h = h.outer {
		if h.name == name {
			return h.client, true
		}
	}
	return nil, false
}
