package sim

import "time"

// What befalls the network, the transports and the factory.

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
	sluggish // answers after seconds: in a scene alone
)

func (s sky) String() string {
	return [...]string{"well", "refused", "unreachable", "reset", "lost", "mute", "slow", "partial", "tls", "noname", "wrongname", "goaway", "", "sluggish"}[s]
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
	saysDrained        // returns respawn.ErrDrained
	wrapsDrained       // returns an error that wraps it
	hows
)

func (h how) String() string {
	return [...]string{"builds", "fails", "hangs", "ignores its context", "panics", "nil", "nil pointer", "again", "exits", "stillborn", "says closed", "wraps closed", "says drained", "wraps drained"}[h]
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

// illness draws what befalls the n-th transport. What kills base may be all that
// happens, or come on top of the weather.
func (d dice) illness(p *plan, n int) illness {
	ill := illness{what: ill(1 + d.IntN(int(ills)-1)), at: d.between(0, p.storm*3/4)}
	if n > 0 {
		ill.at = d.between(0, p.storm/2)
	}
	if p.kind.real() && ill.what == sessionOver {
		ill.what = deadTunnel // net/http's transport cannot end
	}
	if n == 0 && d.in(4) || n > 0 && !d.in(3) || ill.what == blackHole && p.stalls == 0 {
		ill.what = hale
	}
	return ill
}

func (d dice) build() build {
	b := build{take: d.between(time.Microsecond, 20*time.Millisecond)}
	if d.in(4) {
		b.how = how(1 + d.IntN(int(hows)-1))
		b.take = d.between(time.Microsecond, 200*time.Millisecond)
	}
	return b
}
