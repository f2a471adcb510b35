package respawn

import (
	"context"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn/internal/body"
	"github.com/respawnhttp/respawn/internal/build"
	settings "github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/evidence"
)

// A Verdict says what an error of one attempt tells about the transport.
type Verdict int

const (
	// Neutral says nothing against the transport: the caller gave up, the
	// request itself is at fault, or this machine is out of files or ports.
	Neutral Verdict = iota
	// Failure speaks against the transport; [WithThreshold] of them in a row
	// trip the authority.
	Failure
	// Stall is a deadline that passed without a first response byte. Stalls
	// have a stricter rule of their own, [WithStallThreshold].
	Stall
	// Ended says that the transport will never work again. It trips at once.
	Ended
)

// String returns the verdict's name in lower case.
func (v Verdict) String() string {
	switch v {
	case Neutral:
		return "neutral"
	case Failure:
		return "failure"
	case Stall:
		return "stall"
	case Ended:
		return "ended"
	}
	return "unknown"
}

// A Classifier says what err, returned by a transport for req, tells about the
// transport. It is called once for each failed attempt, concurrently, on the
// caller's goroutine, and must not keep or change req, which may be a copy of
// the caller's. err is never nil.
type Classifier func(req *http.Request, err error) Verdict

// DefaultClassifier is the [Classifier] used without [WithClassifier]. It goes
// by the types of errors; for those that have none, as the errors of custom
// dialers, by how far the attempt got, which it takes from req's context: a
// classifier that wraps this one must hand on the req it was given. Top down:
//
//	the caller's deadline passed before an answer              Stall
//	  but it waited for a place in its own pool
//	  (MaxConnsPerHost), or for the caller's body,
//	  or had passed before the attempt began                   Neutral
//	the caller canceled                                        Neutral
//	this machine is out of files, ports, buffers or memory,
//	  on any system, also where a resolver keeps the text only Neutral
//	the caller's body failed to be read                        Neutral
//	the request is malformed, or the answer is                 Neutral
//	the server is closing the connection (GOAWAY)              Neutral
//	there is no such host                                      Neutral
//	http.Transport.ResponseHeaderTimeout passed                Stall
//	no connection was to be had: refused, reset, a dial
//	  timeout, TLS, a resolver or dialer that fails            Failure
//	a connection broke, or failed at its first use             Failure
//	a stream was reset, or refused after a GOAWAY              Failure
//	another timeout, while the caller still has time           Stall
//	anything else                                              Failure
//
// An answer is a response: neither its first byte nor a 1xx is one. What is called
// Failure here and is the request's fault all the same, or the upstream's, replaces
// nothing: a fresh transport is put in service only for what the current one fails
// and the fresh one answers.
//
// Where the far end of a tunnel refuses a connection, as an SSH server does that
// cannot reach the upstream, the tunnel itself is well. A classifier can say so:
//
//	func(req *http.Request, err error) respawn.Verdict {
//		if _, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
//			return respawn.Neutral
//		}
//		return respawn.DefaultClassifier(req, err)
//	}
func DefaultClassifier(req *http.Request, err error) Verdict {
	return Verdict(evidence.Classify(req, err))
}

// A Replay says which requests may be sent again after an error. Unless it is
// [ReplayNever], what may be sent only once, a POST say, is watched from its first
// attempt, which costs 5 allocations; 3 more where its body is no memory and no file,
// and 4 more where the caller has an httptrace of its own. A GET costs none.
type Replay int

const (
	// ReplayIdempotent sends again what never reached the server, and what is
	// idempotent as net/http defines it (net/http/request.go, isReplayable):
	// GET, HEAD, OPTIONS, TRACE, or with an Idempotency-Key or
	// X-Idempotency-Key header. The body must be to be had again: there is
	// none, or GetBody, or it was not read yet. A base that retries by itself is
	// known by the error of its last attempt alone, which may hide one that was
	// processed: put retries above respawn, or use ReplayNever.
	ReplayIdempotent Replay = iota
	// ReplayUnsent sends again only what never reached the server.
	ReplayUnsent
	// ReplayNever sends nothing again, and leaves bodies as they are. It can
	// then not tell a caller's body that fails to read, with an error like the
	// network's, from a transport that fails to send.
	ReplayNever
)

// String returns the replay's name in lower case.
func (r Replay) String() string {
	switch r {
	case ReplayIdempotent:
		return "idempotent"
	case ReplayUnsent:
		return "unsent"
	case ReplayNever:
		return "never"
	}
	return "unknown"
}

// ContextWithReplay says for the requests under ctx how they may be sent again, or
// copied: as r allows and [WithReplay] does, too. Like a deadline it can make things
// stricter and never laxer, also where ctx has a Replay already. A GET that takes
// something, a message from a queue say, wants [ReplayNever]: as any GET it would be
// sent again, and copied while it waits. What is no Replay counts as ReplayNever.
//
// It is looked at once a request has failed, waits for long, or may be sent only once;
// the others pay nothing for it. A first attempt is watched only as WithReplay has it:
// with [ReplayUnsent] here alone a GET that failed is sent again only where its error
// itself names a failed dial.
func ContextWithReplay(ctx context.Context, r Replay) context.Context {
	return settings.ContextWithReplay(ctx, body.Replay(r))
}

// ContextWithWaitForReady says for the requests under ctx for how long they wait for
// ready, in place of [WithWaitForReady]. It may be more or less; 0, and what is
// negative, fails fast. It is looked at once a request has failed or its authority is
// under suspicion.
func ContextWithWaitForReady(ctx context.Context, d time.Duration) context.Context {
	return settings.ContextWithWaitForReady(ctx, d)
}

// A Factory builds a fresh transport, down to its dialer, tunnel or
// certificates. It is called by one goroutine at a time per recreation, never
// under a lock, and gets a context that carries the recreation's span and ends
// when the factory returns or after [WithRecreateTimeout]: the transport must
// not depend on it.
//
// A factory that fails, hangs, panics or returns nil costs nothing but the
// attempt: the current transport stays. It must return a new transport every
// time; one that is already in service, or [http.DefaultTransport], is
// refused. A returned transport belongs to respawn, which retires it with
// CloseIdleConnections and, if it has one, Close.
type Factory func(ctx context.Context) (http.RoundTripper, error)

// NewTransport returns what [New] takes for a nil base, to adapt. It has a pool for a
// shared client: 300 idle connections, 50 per host, idle for 120 s. And it finds dead
// connections by itself, so that hung POSTs and silent bodies, which nobody can send
// again, get their error:
//
//   - An HTTP/2 ping after 30 s without a frame, and 15 s for its answer. A server may
//     take that for abuse: gRPC's allow one per 5 min by default, and close the
//     connection. Set HTTP2.SendPingTimeout to more than that for them, above all where
//     streams are silent for long, as watches are. Elsewhere pings also keep a silent
//     stream's connection alive in NATs and load balancers.
//   - TCP keep-alive: probes after 10 s, each 5 s, 3 of them.
//   - On Linux a limit of 60 s for what was sent and not acknowledged (TCP_USER_TIMEOUT),
//     which also takes the place of the number of probes. It ends a connection whose peer
//     lives and reads nothing for that long, too: for uploads to one that may pause
//     longer, set a DialContext of your own.
//
// A DialContext of your own has none of the last two. Each call returns a new one.
func NewTransport() *http.Transport { return build.NewTransport() }

// The internal packages' values are these: an index that is not 0 does not compile.
var (
	_ = [1]struct{}{}[Neutral-Verdict(evidence.Neutral)|Failure-Verdict(evidence.Failure)|Stall-Verdict(evidence.Stall)|Ended-Verdict(evidence.Ended)]
	_ = [1]struct{}{}[ReplayIdempotent-Replay(body.Idempotent)|ReplayUnsent-Replay(body.Unsent)|ReplayNever-Replay(body.Never)]
)
