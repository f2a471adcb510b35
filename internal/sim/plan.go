package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/respawnhttp/respawn"
)

// A plan is all that chance decides about one simulation, drawn before it
// begins: the client's options, the network's weather, the transports'
// illnesses, what the factory does, and what callers do when. The same seed
// gives the same plan.
type plan struct {
	seed   uint64
	kind   kind
	places int // in a pool of a real transport, for each authority (MaxConnsPerHost); 0: no limit

	// The options of the client under test.
	threshold int
	stalls    int
	stallSpan time.Duration
	patience  time.Duration // WithPatience
	recreate  time.Duration // WithRecreateTimeout
	replay    respawn.Replay
	fallback  bool
	wait      time.Duration // WithWaitForReady
	maxAge    time.Duration
	drain     time.Duration // WithDrainTimeout
	policy    policy
	absent    bool          // there is no base: the factory builds the first transport, too
	shutdown  time.Duration // how long Shutdown waits, which is called instead of Close; 0: Close is
	moody     bool          // what the client calls back may panic, or end its goroutine

	storm   time.Duration // from then on the network and the factory are well
	weather [][]spell     // by authority, in order
	ills    []illness     // of base, and of what the factory builds
	builds  []build       // by call of the factory
	callers [][]errand
	hands   []hand
	crowded bool          // there are so many authorities that it takes long to look at them all
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
	netHTTP1             // net/http's own, see nethttp.go
	netHTTP2             // likewise
	kinds
)

func (k kind) String() string {
	return [...]string{"http1", "http2", "quic", "session", "silent", "net/http h1", "net/http h2"}[k]
}

func (k kind) shares() bool { return k != http1 && k != silent }
func (k kind) traces() bool { return k == http1 || k == http2 }
func (k kind) closes() bool { return k == quic || k == session }

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

// dice draw from the seed's random numbers.
type dice struct{ *rand.Rand }

func (d dice) in(n int) bool { return d.IntN(n) == 0 } // once in n times

// between draws a moment that hardly any other event shares.
func (d dice) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(d.Int64N(int64(hi-lo)))
}

func pick[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

func drawPlan(seed uint64) *plan {
	d := dice{rand.New(rand.NewPCG(seed, 0x5eed))}
	p := d.options()
	p.seed = seed
	p.policy = d.policy()
	authorities := 1 + d.IntN(3)
	for range authorities {
		p.weather = append(p.weather, d.sky(p.storm))
	}
	for n := range 40 {
		p.ills = append(p.ills, d.illness(p, n))
		p.builds = append(p.builds, d.build())
	}
	p.callers = d.callers(p, authorities)
	p.hands = d.hands(p.storm)
	if p.kind.real() {
		p.places = pick(d, 0, 0, 1, 2, 4)
	}
	dice{rand.New(rand.NewPCG(seed, 0x5ce9e))}.play(p)
	return p
}

// options draws what the client is set to, and how long the storm lasts.
func (d dice) options() *plan {
	p := &plan{
		kind:      kind(d.IntN(int(kinds))),
		threshold: pick(d, 1, 2, 3, 3, 3, 5),
		stalls:    pick(d, 0, 1, 2, 3, 3),
		stallSpan: pick(d, 0, 200*time.Millisecond, time.Second),
		patience:  pick(d, 0, time.Second, 2*time.Second, 5*time.Second, 5*time.Second),
		recreate:  pick(d, 500*time.Millisecond, 2*time.Second, 10*time.Second),
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
	return p
}

func (d dice) policy() policy {
	p := policy{
		first:  d.between(50*time.Millisecond, 2*time.Second),
		most:   d.between(2*time.Second, 5*time.Second),
		factor: pick[int64](d, 1, 2, 2, 3),
	}
	switch d.IntN(8) {
	case 0, 1:
		p.fault = 1 + d.IntN(3)
		p.how = policyFault(d.IntN(3))
	case 2:
		p.first = 0
	}
	return p
}

func (p *plan) String() string {
	return fmt.Sprintf("%v transports; threshold %d, stalls %d over %v, patience %v, recreate timeout %v, replay %d, fallback %v, wait %v, max age %v, drain %v, backoff %+v, moody %v, absent %v, shutdown %v; storm of %v",
		p.kind, p.threshold, p.stalls, p.stallSpan, p.patience, p.recreate, p.replay, p.fallback, p.wait, p.maxAge, p.drain, p.policy, p.moody, p.absent, p.shutdown, p.storm)
}
