package respawn

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// A simPlan is all that chance decides about one simulation, drawn before it
// begins: the client's options, the network's weather, the transports'
// illnesses, what the factory does, and what callers do when. The same seed
// gives the same plan.
type simPlan struct {
	seed uint64
	kind simKind

	// The options of the client under test.
	threshold int
	stalls    int
	stallSpan time.Duration
	patience  time.Duration // WithRecreateTimeout
	replay    Replay
	fallback  bool
	wait      time.Duration // WithWaitForReady
	maxAge    time.Duration
	drain     time.Duration // WithDrainTimeout
	policy    simPolicy

	storm   time.Duration // from then on the network and the factory are well
	weather [][]simSpell  // by authority, in order
	ills    []simIllness  // of base, and of what the factory builds
	builds  []simBuild    // by call of the factory
	callers [][]simErrand
	hands   []simHand
	lull    time.Duration // after the storm: how long the probers pause
}

// A simKind is a sort of transport that people put respawn on.
type simKind int

const (
	simHTTP1    simKind = iota // as net/http's: httptrace, a pool, one request per connection
	simHTTP2                   // likewise, all requests on one connection
	simQUIC                    // as http3.Transport: no httptrace, Close; cuts bodies when idle connections are closed
	simSession                 // as http.ClientConn: Err and Close
	simSilent                  // RoundTrip and nothing else
	simNetHTTP1                // net/http's own, see simulation_nethttp_test.go
	simNetHTTP2                // likewise
	simKinds
)

func (k simKind) String() string {
	return [...]string{"http1", "http2", "quic", "session", "silent", "net/http h1", "net/http h2"}[k]
}

func (k simKind) shares() bool { return k != simHTTP1 && k != simSilent }
func (k simKind) traces() bool { return k == simHTTP1 || k == simHTTP2 }
func (k simKind) closes() bool { return k == simQUIC || k == simSession }

// A simSpell is how an authority's upstream is from a moment on.
type simSpell struct {
	from time.Duration
	sky  simSky
}

type simSky int

const (
	simWell        simSky = iota
	simRefused            // nobody listens, and what was connected is reset
	simUnreachable        // dials hang until they time out; what is connected works
	simReset              // accepts, and resets what comes
	simLost               // accepts, serves, and resets before the answer
	simMute               // accepts and never answers
	simSlow               // answers late
	simPartial            // breaks off in the middle of the body
	simTLS                // no handshake
	simNoName             // the name is not to be found for a while
	simWrongName          // there is no such name, which is nobody's fault here
	simGoAway             // sends the request away unserved
	simSkies
)

func (s simSky) String() string {
	return [...]string{"well", "refused", "unreachable", "reset", "lost", "mute", "slow", "partial", "tls", "noname", "wrongname", "goaway"}[s]
}

// A simIllness is what befalls one transport, and only that.
type simIllness struct {
	what simIll
	at   time.Duration // after it was built
}

type simIll int

const (
	simHale    simIll = iota
	simNoDials        // its dialer is dead; connections that are open go on
	simTunnel         // its dialer is dead, and its connections with it
	simBlack          // its open connections swallow everything
	simEnded          // it is closed for good, and says so if it can
	simIlls
)

func (i simIll) String() string {
	return [...]string{"hale", "dead dialer", "dead tunnel", "black hole", "ended"}[i]
}

// A simBuild is what one call of the factory does.
type simBuild struct {
	how  simHow
	take time.Duration
}

type simHow int

const (
	simBuilds    simHow = iota
	simFails            // returns an error
	simHangs            // until its context ends
	simIgnores          // its context, and builds much too late
	simPanics           //
	simNil              // returns neither transport nor error
	simNilPtr           // returns a nil pointer in an interface
	simAgain            // returns the transport in service
	simExits            // runtime.Goexit
	simStillborn        // returns a transport that has ended
	simHows
)

func (h simHow) String() string {
	return [...]string{"builds", "fails", "hangs", "ignores its context", "panics", "nil", "nil pointer", "again", "exits", "stillborn"}[h]
}

// A simErrand is one request: when, what, and how its caller behaves.
type simErrand struct {
	id     int
	pause  time.Duration // since the caller's errand before
	au     int           // to which authority
	method string
	body   simBody
	key    bool // has an Idempotency-Key
	span   bool // has a CLIENT span around it

	ends simEnds // how the caller gives up, after `in`
	in   time.Duration

	answer simAnswer
	early  bool // the answer comes before the request body is read
	chunks int  // of a stream
	gap    time.Duration
	reads  simReads
}

func (e *simErrand) idempotent() bool { return e.method == http.MethodGet || e.key }

type simBody int

const (
	simBare      simBody = iota // no body
	simRewinds                  // with GetBody
	simOneShot                  // without
	simUnreadble                // without, and its Read fails
)

type simEnds int

const (
	simDeadline simEnds = iota
	simCancel
	simCause  // canceled with a cause
	simLegacy // closes req.Cancel
)

type simAnswer int

const (
	simNoBody simAnswer = iota
	simShort
	simStream
	simUpgrade
)

type simReads int

const (
	simAll       simReads = iota
	simSome               // closes in the middle
	simNothing            // closes at once
	simTwice              // closes twice, and reads after that
	simAbandoned          // never closes, until the whole simulation is over
)

// A simHand is somebody's hand on the client at some moment.
type simHand struct {
	at    time.Duration
	what  simDoes
	limit time.Duration // of its context
}

type simDoes int

const (
	simRecreate simDoes = iota
	simCloseIdle
	simMiddleware // replaceEnded, as the middleware calls it
	simClose
)

// A simPolicy is a backoff policy whose intervals are known.
type simPolicy struct {
	first, most time.Duration
	factor      int64 // 1: constant
	stops       int   // answers backoff.Stop from this one on; 0 never does
	panics      int   // likewise
}

// interval is the nth that respawn must use, from 0.
func (p simPolicy) interval(n int) time.Duration {
	d, grown := time.Duration(0), p.first
	for call := 1; call <= n+1; call++ {
		if p.stops > 0 && call >= p.stops || p.panics > 0 && call >= p.panics {
			d = max(d, time.Second) // overruled
			continue
		}
		d, grown = grown, min(time.Duration(int64(grown)*p.factor), p.most)
	}
	return d
}

func (p simPolicy) longest() time.Duration { return max(p.interval(0), p.interval(30)) }

// simDice are the seed's.
type simDice struct{ *rand.Rand }

func (d simDice) in(n int) bool { return d.IntN(n) == 0 } // once in n times

// between draws a moment that hardly any other event shares.
func (d simDice) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(d.Int64N(int64(hi-lo)))
}

func simPick[T any](d simDice, of ...T) T { return of[d.IntN(len(of))] }

func drawPlan(seed uint64) *simPlan {
	d := simDice{rand.New(rand.NewPCG(seed, 0x5eed))}
	p := &simPlan{
		seed:      seed,
		kind:      simKind(d.IntN(int(simKinds))),
		threshold: simPick(d, 1, 2, 3, 3, 3, 5),
		stalls:    simPick(d, 0, 1, 2, 3, 3),
		stallSpan: simPick(d, 0, 200*time.Millisecond, time.Second),
		patience:  simPick(d, 500*time.Millisecond, 2*time.Second, 10*time.Second),
		replay:    simPick(d, ReplayIdempotent, ReplayIdempotent, ReplayIdempotent, ReplayUnsent, ReplayNever),
		fallback:  d.in(6),
		storm:     d.between(5*time.Second, 20*time.Second),
		lull:      d.between(20*time.Millisecond, 200*time.Millisecond),
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
	p.policy = simPolicy{
		first:  d.between(50*time.Millisecond, 2*time.Second),
		most:   d.between(2*time.Second, 5*time.Second),
		factor: simPick[int64](d, 1, 2, 2, 3),
	}
	switch d.IntN(8) {
	case 0:
		p.policy.stops = 1 + d.IntN(3)
	case 1:
		p.policy.panics = 1 + d.IntN(3)
	case 2:
		p.policy.first = 0
	}
	authorities := 1 + d.IntN(3)
	for range authorities {
		p.weather = append(p.weather, d.sky(p.storm))
	}
	// What kills base may be all that happens, or come on top of the weather.
	for n := range 40 {
		ill := simIllness{what: simIll(1 + d.IntN(int(simIlls)-1)), at: d.between(0, p.storm*3/4)}
		if n > 0 {
			ill.at = d.between(0, p.storm/2)
		}
		if p.kind.real() && ill.what == simEnded {
			ill.what = simTunnel // it cannot end
		}
		if n == 0 && d.in(4) || n > 0 && !d.in(3) || ill.what == simBlack && p.stalls == 0 {
			ill.what = simHale
		}
		p.ills = append(p.ills, ill)

		b := simBuild{take: d.between(time.Microsecond, 20*time.Millisecond)}
		if d.in(4) {
			b.how = simHow(1 + d.IntN(int(simHows)-1))
			b.take = d.between(time.Microsecond, 200*time.Millisecond)
		}
		p.builds = append(p.builds, b)
	}
	id, crowd, most := 0, 2+d.IntN(4), 14
	if d.in(4) {
		crowd, most = 8+d.IntN(12), 3 // all at once
	}
	for range crowd {
		var list []simErrand
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
		what := simPick(d, simRecreate, simRecreate, simCloseIdle, simMiddleware)
		p.hands = append(p.hands, simHand{d.between(0, p.storm), what, d.between(time.Millisecond, 5*time.Second)})
	}
	if d.in(8) {
		p.hands = append(p.hands, simHand{d.between(0, p.storm), simClose, 0})
	}
	return p
}

// sky draws one authority's weather: one in three has none.
func (d simDice) sky(storm time.Duration) []simSpell {
	spells := []simSpell{{0, simWell}}
	if d.in(3) {
		return spells
	}
	for at := d.between(0, storm/2); at < storm; {
		spells = append(spells, simSpell{at, simSky(1 + d.IntN(int(simSkies)-1))})
		at += d.between(50*time.Millisecond, 8*time.Second)
		if at < storm && d.in(2) {
			spells = append(spells, simSpell{at, simWell})
			at += d.between(50*time.Millisecond, 4*time.Second)
		}
	}
	return append(spells, simSpell{storm, simWell})
}

func (d simDice) errand(id, authorities int, mean time.Duration) simErrand {
	e := simErrand{
		id:     id,
		pause:  d.between(time.Microsecond, 2*mean),
		au:     d.IntN(authorities),
		method: simPick(d, http.MethodGet, http.MethodGet, http.MethodGet, http.MethodPost),
		key:    d.in(8),
		span:   d.in(3),
		ends:   simPick(d, simDeadline, simDeadline, simDeadline, simCancel, simCause, simLegacy),
		in:     simPick(d, d.between(time.Millisecond, 50*time.Millisecond), d.between(50*time.Millisecond, time.Second), d.between(time.Second, 6*time.Second)),
		answer: simPick(d, simNoBody, simShort, simShort, simStream, simUpgrade),
		reads:  simPick(d, simAll, simAll, simAll, simAll, simSome, simNothing, simTwice, simAbandoned),
		chunks: 1 + d.IntN(6),
		gap:    d.between(time.Millisecond, 600*time.Millisecond),
	}
	if e.method == http.MethodPost {
		e.body = simPick(d, simBare, simRewinds, simRewinds, simOneShot, simOneShot, simOneShot, simUnreadble)
		e.early = d.in(8)
	}
	return e
}

func (p *simPlan) String() string {
	return fmt.Sprintf("%v transports; threshold %d, stalls %d over %v, recreate timeout %v, replay %d, fallback %v, wait %v, max age %v, drain %v, backoff %+v; storm of %v",
		p.kind, p.threshold, p.stalls, p.stallSpan, p.patience, p.replay, p.fallback, p.wait, p.maxAge, p.drain, p.policy, p.storm)
}
