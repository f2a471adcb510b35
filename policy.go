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

// A Verdict says what the error of one attempt tells about the transport.
type Verdict int

const (
	// Neutral says nothing against the transport: the caller gave up, the
	// request itself is at fault, or this machine is out of files or ports.
	Neutral Verdict = iota
	// Failure speaks against the transport. [WithThreshold] says how many failures in
	// a row trip an authority.
	Failure
	// Stall is a deadline that passed without an answer. [WithStallThreshold] says how
	// many stalls, over how much time, trip an authority.
	Stall
	// Ended says that the transport will never work again. One such verdict is enough
	// for it to be replaced.
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
// transport. It is called at most once for each failed attempt, concurrently, on the
// caller's goroutine or on one of respawn's, and must not keep or change req, which may be
// a copy of the caller's. err is never nil. If a classifier panics, [DefaultClassifier]
// decides. A value other than the four constants counts as [Neutral].
type Classifier func(req *http.Request, err error) Verdict

// DefaultClassifier is the [Classifier] used without [WithClassifier]. It goes by the
// type of an error. For errors without a known type, such as those of custom dialers,
// it goes by how far the attempt got, which it takes from req's context: a classifier
// that wraps this one must pass on the req that it was given. The first line that
// applies decides:
//
//	the caller's deadline passed before an answer              Stall
//	  but it waited for a place in its own pool
//	  (MaxConnsPerHost), or for the caller's body,
//	  or had passed before the attempt began                   Neutral
//	the caller canceled                                        Neutral
//	this machine is out of files, ports, buffers or memory,
//	  on any system, even if a resolver keeps only the text    Neutral
//	the caller's body failed to be read (that of a file on a
//	  disk is sent by sendfile, and not looked at)             Neutral
//	the request is malformed (a port above 65535 is, too), or
//	  the answer is                                            Neutral
//	the server is closing the connection (GOAWAY)              Neutral
//	there is no such host                                      Neutral
//	http.Transport.ResponseHeaderTimeout passed                Stall
//	no connection could be made: refused, reset, a dial
//	  timeout, TLS, a resolver or dialer that fails            Failure
//	a connection broke, or failed at its first use             Failure
//	a stream was reset, or refused after a GOAWAY              Failure
//	another timeout, while the caller still has time; also
//	  a dialer's own, if nobody watched the attempt            Stall
//	anything else                                              Failure
//
// With MaxConnsPerHost, an attempt counts as waiting for a place until it has a connection,
// or until a hook of httptrace (DNSStart, ConnectStart, TLSHandshakeStart) shows that one is
// being made. A DialContext that fires no such hook, such as a tunnel's, looks like a wait
// for a place for as long as it dials. If it hangs, neither a deadline nor [WithPatience]
// counts that as a stall. Give such a dialer a time limit of its own: a dial that fails is
// a Failure. All this holds for an [*http.Transport], also within wrappers that say what they
// wrap (WrappedRoundTripper). Within others its limit is not seen, and a wait for a place is a
// stall: there, leave MaxConnsPerHost at zero.
//
// A wait for a place among the streams of a connection is a stall like any other
// ([http.HTTP2Config.StrictMaxConcurrentRequests]). The streams of a dead connection keep
// their places, even when their callers have left, so nothing else would show that it is dead.
//
// An answer is a response: neither its first byte nor a 1xx is one. An error that is
// called Failure here may still be the fault of the request or the upstream. That
// replaces nothing: a fresh transport is put in service only if it answers a request
// that fails on the current one.
//
// When the far end of a tunnel refuses a connection, as an SSH server does if it cannot
// reach the upstream, the tunnel itself still works. A classifier can say so:
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
// [ReplayNever], a request that may be sent only once, such as a POST, is watched from
// its first attempt. Watching costs 3 allocations, 1 more if the body is not in memory, or
// 3 more if it is an *os.File, and 4 more if the caller has an httptrace of its own. A GET
// costs none.
type Replay int

const (
	// ReplayIdempotent sends again what never reached the server, and what is
	// idempotent as net/http defines it (net/http/request.go, isReplayable): GET, HEAD,
	// OPTIONS, TRACE, or with an Idempotency-Key or X-Idempotency-Key header. The body
	// must be available again: there is none, or there is GetBody, or it was not read
	// yet. If base retries by itself, respawn sees only the error of its last attempt,
	// which may hide an attempt that was processed: put retries above respawn, or use
	// ReplayNever.
	ReplayIdempotent Replay = iota
	// ReplayUnsent sends again only what never reached the server.
	ReplayUnsent
	// ReplayNever sends nothing again, and leaves bodies as they are. respawn then
	// cannot tell a caller's body that fails to read, with an error like the network's,
	// from a transport that fails to send.
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

// ContextWithReplay restricts how the requests under ctx may be sent again or copied:
// both r and [WithReplay] must allow it. Like a deadline, it can make things stricter
// but never laxer, also if ctx already has a Replay. A GET that takes something, for
// example a message from a queue, needs [ReplayNever]: otherwise it is sent again like
// any GET, and copied while it waits. A value that is not a Replay counts as
// ReplayNever.
//
// respawn reads this value only for a request that has failed, has waited for long, or
// may be sent only once; other requests pay nothing for it. A first attempt is watched
// only if WithReplay requires it. If [ReplayUnsent] is set here alone, a GET that
// failed is therefore sent again only if its error itself names a failed dial.
func ContextWithReplay(ctx context.Context, r Replay) context.Context {
	return settings.ContextWithReplay(ctx, body.Replay(r))
}

// ContextWithWaitForReady sets how long the requests under ctx wait for ready, in place
// of [WithWaitForReady]. The duration may be longer or shorter than that; with 0 or
// less the requests fail fast. respawn reads this value only for a request that has
// failed, or whose authority is under suspicion.
func ContextWithWaitForReady(ctx context.Context, d time.Duration) context.Context {
	return settings.ContextWithWaitForReady(ctx, d)
}

// A Factory builds a fresh transport, down to its dialer, tunnel or certificates. Each
// recreation calls it from one goroutine, never under a lock. Its context carries the
// recreation's span, and ends when the factory returns or after [WithRecreateTimeout]:
// the transport must not depend on that context. A call that goes on after its context has
// ended can overlap with later calls; once eight are under way, further recreations are
// rejected ([ErrorTypeFactoryStuck]).
//
// A factory that fails, hangs, panics or returns nil costs nothing but the attempt: the
// current transport stays. It must return a new transport every time: a transport that
// is already in service is refused, and so is [http.DefaultTransport]. A returned
// transport belongs to respawn, which retires it with CloseIdleConnections and, if it
// has one, Close. One that comes with an error does not: it is neither used nor closed.
type Factory func(ctx context.Context) (http.RoundTripper, error)

// NewTransport returns a transport like the one that [New] makes for a nil base, so
// that you can adapt it. Its pool is sized for a shared client: 300 idle connections, 50 per host, each
// idle for up to 120 s. It also detects dead connections by itself, so that hung POSTs
// and silent response bodies, which nobody can send again, end with an error:
//
//   - It sends an HTTP/2 ping after 30 s without a frame, and waits 15 s for the
//     answer. A server may treat frequent pings as abuse: gRPC servers allow one per 5
//     min by default, and close the connection. For those, set HTTP2.SendPingTimeout to
//     more than 5 min, above all if streams are silent for long, as watches are.
//     Elsewhere pings also keep a silent stream's connection alive in NATs and load
//     balancers.
//   - It sends TCP keep-alive probes after 10 s, one every 5 s, 3 of them.
//   - On Linux, data that was sent must be acknowledged within 60 s (TCP_USER_TIMEOUT),
//     which also replaces the number of probes. This also ends a connection whose peer
//     is alive but reads nothing for that long: for uploads to a peer that may pause
//     longer, set a DialContext of your own.
//
// A DialContext of your own has neither of the last two. Each call returns a new
// transport.
func NewTransport() *http.Transport { return build.NewTransport() }

// The internal packages' values are these: an index that is not 0 does not compile.
var (
	_ = [1]struct{}{}[Neutral-Verdict(evidence.Neutral)|Failure-Verdict(evidence.Failure)|Stall-Verdict(evidence.Stall)|Ended-Verdict(evidence.Ended)]
	_ = [1]struct{}{}[ReplayIdempotent-Replay(body.Idempotent)|ReplayUnsent-Replay(body.Unsent)|ReplayNever-Replay(body.Never)]
)
