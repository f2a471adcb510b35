package sim

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/respawnhttp/respawn"
)

// A plan is all that chance decides about one simulation, drawn before it
// begins: the client's options, the network's weather, the transports'
// illnesses, what the factory does, and what callers do when. The same seed
// gives the same plan.
type plan struct {
	seed uint64
	kind kind

	// The options of the client under test.
	threshold int
	stalls    int
	stallSpan time.Duration
	patience  time.Duration // WithRecreateTimeout
	replay    respawn.Replay
	fallback  bool
	wait      time.Duration // WithWaitForReady
	maxAge    time.Duration
	drain     time.Duration // WithDrainTimeout
	policy    policy
	moody     bool // what the client calls back may panic, or end its goroutine

	storm   time.Duration // from then on the network and the factory are well
	weather [][]spell     // by authority, in order
	ills    []illness     // of base, and of what the factory builds
	builds  []build       // by call of the factory
	callers [][]errand
	hands   []hand
	lull    time.Duration // after the storm: how long the probers pause
}

// A kind is a sort of transport that people put respawn on.
type kind int

const (
	http1    kind = iota // as net/http's: httptrace, a pool, one request per connection
	http2                // likewise, all requests on one connection
	quic                 // as http3.Transport: no httptrace, Close; cuts bodies when idle connections are closed
	session              // as http.ClientConn: Err and Close
	silent               // RoundTrip and nothing else
	netHTTP1             // net/http's own, see simulation_nethttp_test.go
	netHTTP2             // likewise
	kinds
)

func (k kind) String() string {
	return [...]string{"http1", "http2", "quic", "session", "silent", "net/http h1", "net/http h2"}[k]
}

func (k kind) shares() bool { return k != http1 && k != silent }
func (k kind) traces() bool { return k == http1 || k == http2 }
func (k kind) closes() bool { return k == quic || k == session }

// A spell is how an authority's upstream is from a moment on.
type spell struct {
	from time.Duration
	sky  sky
}

type sky int

const (
	well        sky = iota
	refused         // nobody listens, and what was connected is reset
	unreachable     // dials hang until they time out; what is connected works
	reset           // accepts, and resets what comes
	lost            // accepts, serves, and resets before the answer
	mute            // accepts and never answers
	slow            // answers late
	partial         // breaks off in the middle of the body
	badTLS          // no handshake
	noName          // the name is not to be found for a while
	wrongName       // there is no such name, which is nobody's fault here
	goAway          // sends the request away unserved
	skies
)

func (s sky) String() string {
	return [...]string{"well", "refused", "unreachable", "reset", "lost", "mute", "slow", "partial", "tls", "noname", "wrongname", "goaway"}[s]
}

// An illness is what befalls one transport, and only that.
type illness struct {
	what ill
	at   time.Duration // after it was built
}

type ill int

const (
	hale        ill = iota
	noDials         // its dialer is dead; connections that are open go on
	deadTunnel      // its dialer is dead, and its connections with it
	blackHole       // its open connections swallow everything
	sessionOver     // it is closed for good, and says so if it can
	ills
)

func (i ill) String() string {
	return [...]string{"hale", "dead dialer", "dead tunnel", "black hole", "ended"}[i]
}

// A build is what one call of the factory does.
type build struct {
	how  how
	take time.Duration
}

type how int

const (
	builds         how = iota
	fails              // returns an error
	hangs              // until its context ends
	ignores            // its context, and builds much too late
	panics             //
	returnsNil         // returns neither transport nor error
	returnsNilPtr      // returns a nil pointer in an interface
	returnsServing     // returns the transport in service
	exits              // runtime.Goexit
	stillborn          // returns a transport that has ended
	saysClosed         // returns respawn.ErrClosed
	wrapsClosed        // returns an error that wraps it
	hows
)

func (h how) String() string {
	return [...]string{"builds", "fails", "hangs", "ignores its context", "panics", "nil", "nil pointer", "again", "exits", "stillborn", "says closed", "wraps closed"}[h]
}

// An errand is one request: when, what, and how its caller behaves.
type errand struct {
	id     int
	pause  time.Duration // since the caller's errand before
	au     int           // to which authority
	method string
	body   bodyKind
	key    bool // has an Idempotency-Key
	span   bool // has a CLIENT span around it

	ends leaving // how the caller gives up, after `in`
	in   time.Duration

	answer answerKind
	early  bool // the answer comes before the request body is read
	chunks int  // of a stream
	gap    time.Duration
	reads  readKind
}

func (e *errand) idempotent() bool { return e.method == http.MethodGet || e.key }

type bodyKind int

const (
	bare       bodyKind = iota // no body
	rewinds                    // with GetBody
	oneShot                    // without
	unreadable                 // without, and its Read fails
)

type leaving int

const (
	byDeadline leaving = iota
	byCancel
	byCause  // canceled with a cause
	byLegacy // closes req.Cancel
)

type answerKind int

const (
	noBody answerKind = iota
	short
	stream
	upgrade
)

type readKind int

const (
	readsAll     readKind = iota
	readsSome             // closes in the middle
	readsNothing          // closes at once
	closesTwice           // closes twice, and reads after that
	abandons              // never closes, until the whole simulation is over
)

// A hand is somebody's hand on the client at some moment.
type hand struct {
	at    time.Duration
	what  does
	limit time.Duration // of its context
}

type does int

const (
	recreates does = iota
	closesIdle
	middleware // a request that comes in through it
	closes
)

// A policy is a backoff policy whose intervals are known.
type policy struct {
	first, most time.Duration
	factor      int64 // 1: constant
	fault       int   // from this call on it fails; 0: it never does
	how         policyFault
}

type policyFault int

const (
	policyStops policyFault = iota // it answers backoff.Stop
	policyPanics
	policyExits
)

// longest is the longest interval that respawn may wait.
func (p policy) longest() time.Duration { return max(p.first, p.most, time.Second) }

// dice are the seed's.
type dice struct{ *rand.Rand }

func (d dice) in(n int) bool { return d.IntN(n) == 0 } // once in n times

// between draws a moment that hardly any other event shares.
func (d dice) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(d.Int64N(int64(hi-lo)))
}

func pick[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

func drawPlan(seed uint64) *plan {
	d := dice{rand.New(rand.NewPCG(seed, 0x5eed))}
	p := &plan{
		seed:      seed,
		kind:      kind(d.IntN(int(kinds))),
		threshold: pick(d, 1, 2, 3, 3, 3, 5),
		stalls:    pick(d, 0, 1, 2, 3, 3),
		stallSpan: pick(d, 0, 200*time.Millisecond, time.Second),
		patience:  pick(d, 500*time.Millisecond, 2*time.Second, 10*time.Second),
		replay:    pick(d, respawn.ReplayIdempotent, respawn.ReplayIdempotent, respawn.ReplayIdempotent, respawn.ReplayUnsent, respawn.ReplayNever),
		fallback:  d.in(6),
		storm:     d.between(5*time.Second, 20*time.Second),
		lull:      d.between(20*time.Millisecond, 200*time.Millisecond),
		moody:     d.in(3),
	}
	if d.in(5) {
		p.wait = d.between(100*time.Millisecond, 5*time.Second)
	}
	if d.in(6) {
		p.maxAge = d.between(time.Second, 15*time.Second)
	}
	if d.in(8) {
		p.drain = d.between(50*time.Millisecond, 3*time.Second)
	}
	p.policy = policy{
		first:  d.between(50*time.Millisecond, 2*time.Second),
		most:   d.between(2*time.Second, 5*time.Second),
		factor: pick[int64](d, 1, 2, 2, 3),
	}
	switch d.IntN(8) {
	case 0, 1:
		p.policy.fault = 1 + d.IntN(3)
		p.policy.how = policyFault(d.IntN(3))
	case 2:
		p.policy.first = 0
	}
	authorities := 1 + d.IntN(3)
	for range authorities {
		p.weather = append(p.weather, d.sky(p.storm))
	}
	// What kills base may be all that happens, or come on top of the weather.
	for n := range 40 {
		ill := illness{what: ill(1 + d.IntN(int(ills)-1)), at: d.between(0, p.storm*3/4)}
		if n > 0 {
			ill.at = d.between(0, p.storm/2)
		}
		if p.kind.real() && ill.what == sessionOver {
			ill.what = deadTunnel // it cannot end
		}
		if n == 0 && d.in(4) || n > 0 && !d.in(3) || ill.what == blackHole && p.stalls == 0 {
			ill.what = hale
		}
		p.ills = append(p.ills, ill)

		b := build{take: d.between(time.Microsecond, 20*time.Millisecond)}
		if d.in(4) {
			b.how = how(1 + d.IntN(int(hows)-1))
			b.take = d.between(time.Microsecond, 200*time.Millisecond)
		}
		p.builds = append(p.builds, b)
	}
	id, crowd, most := 0, 2+d.IntN(4), 14
	if d.in(4) {
		crowd, most = 8+d.IntN(12), 3 // all at once
	}
	for range crowd {
		var list []errand
		mean := d.between(20*time.Millisecond, 2*time.Second)
		if most == 3 {
			mean = d.between(time.Millisecond, 50*time.Millisecond)
		}
		for at := time.Duration(0); at < p.storm && len(list) < most; {
			e := d.errand(id, authorities, mean)
			id++
			at += e.pause
			list = append(list, e)
		}
		p.callers = append(p.callers, list)
	}
	for range d.IntN(5) {
		what := pick(d, recreates, recreates, closesIdle, middleware)
		p.hands = append(p.hands, hand{d.between(0, p.storm), what, d.between(time.Millisecond, 5*time.Second)})
	}
	if d.in(8) {
		p.hands = append(p.hands, hand{d.between(0, p.storm), closes, 0})
	}
	return p
}

// sky draws one authority's weather: one in three has none.
func (d dice) sky(storm time.Duration) []spell {
	spells := []spell{{0, well}}
	if d.in(3) {
		return spells
	}
	for at := d.between(0, storm/2); at < storm; {
		spells = append(spells, spell{at, sky(1 + d.IntN(int(skies)-1))})
		at += d.between(50*time.Millisecond, 8*time.Second)
		if at < storm && d.in(2) {
			spells = append(spells, spell{at, well})
			at += d.between(50*time.Millisecond, 4*time.Second)
		}
	}
	return append(spells, spell{storm, well})
}

func (d dice) errand(id, authorities int, mean time.Duration) errand {
	e := errand{
		id:     id,
		pause:  d.between(time.Microsecond, 2*mean),
		au:     d.IntN(authorities),
		method: pick(d, http.MethodGet, http.MethodGet, http.MethodGet, http.MethodPost),
		key:    d.in(8),
		span:   d.in(3),
		ends:   pick(d, byDeadline, byDeadline, byDeadline, byCancel, byCause, byLegacy),
		in:     pick(d, d.between(time.Millisecond, 50*time.Millisecond), d.between(50*time.Millisecond, time.Second), d.between(time.Second, 6*time.Second)),
		answer: pick(d, noBody, short, short, stream, upgrade),
		reads:  pick(d, readsAll, readsAll, readsAll, readsAll, readsSome, readsNothing, closesTwice, abandons),
		chunks: 1 + d.IntN(6),
		gap:    d.between(time.Millisecond, 600*time.Millisecond),
	}
	if e.method == http.MethodPost {
		e.body = pick(d, bare, rewinds, rewinds, oneShot, oneShot, oneShot, unreadable)
		e.early = d.in(8)
	}
	return e
}

func (p *plan) String() string {
	return fmt.Sprintf("%v transports; threshold %d, stalls %d over %v, recreate timeout %v, replay %d, fallback %v, wait %v, max age %v, drain %v, backoff %+v, moody %v; storm of %v",
		p.kind, p.threshold, p.stalls, p.stallSpan, p.patience, p.replay, p.fallback, p.wait, p.maxAge, p.drain, p.policy, p.moody, p.storm)
}
