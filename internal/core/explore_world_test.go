package core

import (
	"fmt"
	"slices"
	"time"
)

// The explorer enumerates what can happen to a few requests: a world is a Client,
// and all around it that the shell, the network, the callers, the factory and
// chance would be. Its files: this one (the world, and the shell in it), moves,
// account (what the world reckons by itself), invariants, sequels, clone, key,
// worlds, pairs, planted and plants (bugs, one for each assertion at least), and
// explore_test.go (the search).

// A mode is how a transport does for an authority.
type mode uint8

const (
	works    mode = iota
	refuses       // fails at once, unsent
	breaks        // fails at once, sent
	mute          // sent, and never answered
	slow          // answered after 2 s
	hangs         // in the dial: neither sent nor answered
	timesOut      // fails after 2 s, unsent
)

var modeNames = []string{"works", "refuses", "breaks", "is silent", "is slow", "hangs in the dial", "times out in the dial"}

const slowly = 2 * time.Second

// The roles of transports.
const (
	serving = iota
	asCandidate
	retired
)

var roleNames = []string{"in service", "on the candidate", "on what retired"}

var (
	hosts = [2]Authority{{"https", "a", "443"}, {"https", "b", "443"}}
	t0    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func hostOf(a Authority) int {
	if a == hosts[0] {
		return 0
	}
	return 1
}

// A template is a request that can come, several times.
type template struct {
	host     int
	kind     Kind
	ready    time.Duration
	deadline time.Duration // 0: none
	lives    int
	adopted  bool // its first attempt is made on the healthy path
}

var methods = [...]string{Sealed: "POST", Once: "POST", Repeatable: "PUT", Copyable: "GET"}

func (t template) String() string {
	n := methods[t.kind] + " " + string('a'+rune(t.host))
	if t.kind == Sealed {
		n += " sealed"
	}
	if t.ready > 0 {
		n += " that waits for ready"
	}
	if t.deadline > 0 {
		n += " with " + t.deadline.String()
	}
	return n
}

type place uint8

const (
	asking place = iota // it is to ask Next
	going
	resting
	over
)

// A traveler is a request under way.
type traveler struct {
	q       *Call
	kind    int // its template
	at      place
	until   time.Time // resting: its own time
	rested  time.Time // since when
	resumes bool      // resting: a new round begins then
	leaving bool      // it has gone, which its copy has told, and its main has not
	start   time.Time

	sent   int  // how often something of it may have been sent
	tries  int  // attempts of this round that count
	rounds int  // that have begun anew
	asks   int  // since time passed
	free   bool // an attempt that could not trip was not counted
	worst  bool // its authority was in an outage while it was here
	gens   int  // promotions since it began
	got    string

	control failedControl // its latest failure in service
	tried   uint64        // the planned candidate that it tried while its authority was well
	lost    bool          // which failed it
	well    bool          // and the transport in service answered it
	vain    bool          // it was called back unsent
}

type failedControl struct {
	on     uint64
	began  int // step
	clock  Instant
	unsent bool
	took   time.Duration
}

// A flight is an attempt under way.
type flight struct {
	a         *Attempt
	x         *traveler
	on        uint64
	copy      bool
	trial     bool // on a candidate, for its caller, and that was not promoted
	beside    bool // it was on a candidate when it was called back
	hidden    bool // on the healthy path: the core does not know it
	began     int  // step
	clock     Instant
	start     time.Time
	under     int  // the suspicion that it began under
	looks     bool // it has told that it looks for a connection, and has not got one
	sent      bool
	row       row // of its authority when it began
	silentAt  time.Time
	silentIn  int // the suspicion that its silences count for, and their number
	silences  int
	behind    int           // silences since its transport was replaced
	behindAt  time.Time     // the first of them
	answered  bool          // a control that is awaited: its copy was answered
	awaitedAt time.Time     // since when
	told      bool          // a copy that has ended with its caller
	left      bool          // behind: its call is elsewhere, too
	inside    bool          // its caller waits in the transport, and has another's answer when it is over
	held      bool          // its body is still being fetched
	late      bool          // it was
	queued    bool          // it waits for a place in the pool
	queuedFor time.Duration // how long it did
	astray    bool          // on a candidate that is nothing to its authority any more
	tries     bool          // it tries what was planned while its authority was well
	extra     bool          // the control that was sent for an answered copy
}

// A factory is a build under way.
type factory struct {
	id       uint64
	planned  bool
	canceled bool
	start    time.Time
	epoch    int           // of the world's own pace
	delay    time.Duration // what was waited for it
	drawn    bool          // the core knows its draw, which is long
}

// A setting is what a world starts with, and what can happen in it.
type setting struct {
	Rules
	name    string
	calls   []template
	modes   [2][2]mode // in service, candidates; by host
	changes []change
	prefix  []string      // moves made before the search begins
	depth   int           // in CI
	places  int           // in a pool, for each host; 0: no limit
	takes   time.Duration // a build does, where nothing is left to chance

	nChanges, nLeaves, nJumps, nLocal, nHand, nEnds, nSpoils, nVanish int

	noFail, abandon, age, closes, connects, fetches, untyped, draws, lateTimer, patient, neutral, stays, absent, moments, after bool
	bug                                                                                                                         *planted
	mute                                                                                                                        string // an assertion that is not made
}

type change struct {
	role, host int
	to         mode
}

// A world is a state.
type world struct {
	*setting
	c       *Client
	now     time.Time
	step    int
	current uint64 // the transport in service
	dead    uint64 // the latest that was replaced for need
	modes   [3][2]mode

	changes, leaves, jumps, locals, hands, ends, spoils, vanishings int
	lives                                                           []int

	calls     []*traveler
	flights   []*flight
	factories []*factory
	built     uint64 // a candidate that is neither in service nor retired
	builtPlan bool
	returned  uint64 // the latest build that failed: to call it off is nothing
	builtAt   time.Time
	sick      [2]bool // in service and candidate: it has ended
	order     *Order
	told      bool // the order is done
	closed    bool
	gens      int
	longest   time.Duration // that an answer took, since it all began

	acc  account
	last move // the latest

	// What a planted bug keeps back, or remembers.
	kept Todo
	was  [2]Instant
	at   time.Time

	bad  string // what does not hold, and
	by   string // the assertion that says so
	path *path
	tell *[]string // where a story is written; nil: nowhere
}

type path struct {
	prev *path
	m    move
}

func newWorld(s *setting) *world {
	age := time.Duration(0)
	if s.age {
		age = maxAge
	}
	w := &world{
		setting: s, c: New(s.Rules, t0, age), now: t0, current: 1, changes: s.nChanges, leaves: s.nLeaves, jumps: s.nJumps,
		locals: s.nLocal, hands: s.nHand, ends: s.nEnds, spoils: s.nSpoils, vanishings: s.nVanish,
	}
	w.modes = [3][2]mode{s.modes[0], s.modes[1], s.modes[0]}
	for _, t := range s.calls {
		w.lives = append(w.lives, max(1, t.lives))
	}
	w.acc.reset()
	if s.absent {
		w.c = NewAbsent(s.Rules, t0)
		w.acc.ended, w.acc.absent = true, true
	}
	return w
}

const maxAge = 3 * time.Second

func (w *world) say(format string, args ...any) {
	if w.tell != nil {
		*w.tell = append(*w.tell, fmt.Sprintf("%8v  ", w.now.Sub(t0))+fmt.Sprintf(format, args...))
	}
}

// must asserts what holds in every world. Its format names the assertion.
func (w *world) must(ok bool, format string, args ...any) {
	if !ok {
		w.breaks(format, fmt.Sprintf(format, args...))
	}
}

// breaks: an assertion does not hold. The first that does not is the one that counts.
func (w *world) breaks(by, what string) {
	if w.bad == "" && by != w.mute {
		w.by, w.bad = by, what
		w.say("!! %s", w.bad)
	}
}

// A world's own name for a call: its template, and how many of them came before.
func (w *world) label(x *traveler) template { return w.setting.calls[x.kind] }

func (w *world) roleOf(f *flight) int {
	switch f.on {
	case w.current:
		return serving
	case w.built:
		return asCandidate
	}
	return retired
}

func (w *world) modeOf(f *flight) mode { return w.modes[w.roleOf(f)][hostOf(f.x.q.Authority)] }

func (w *world) flightOf(a *Attempt) *flight {
	for _, f := range w.flights {
		if f.a == a {
			return f
		}
	}
	return nil
}

func (w *world) flying(x *traveler) int {
	n := 0
	for _, f := range w.flights {
		if f.x == x && !f.answered && !f.left {
			n++
		}
	}
	return n
}

// beside returns what is under way for x's caller, and the copy beside it; nil where
// there is none.
func (w *world) beside(x *traveler) (main, copied *flight) {
	for _, f := range w.flights {
		switch {
		case f.x != x || f.answered || f.hidden || f.left:
		case f.copy, f.told:
			copied = f
		default:
			main = f
		}
	}
	return main, copied
}

// hiddenOf is what is under way for x on the healthy path; nil: nothing is.
func (w *world) hiddenOf(x *traveler) *flight {
	for _, f := range w.flights {
		if f.x == x && f.hidden {
			return f
		}
	}
	return nil
}

func (w *world) travelerOf(q *Call) *traveler {
	for _, x := range w.calls {
		if x.q == q {
			return x
		}
	}
	return nil
}

func (w *world) land(f *flight) {
	w.flights = slices.DeleteFunc(w.flights, func(g *flight) bool { return g == f })
}

// takeOff: an attempt begins.
func (w *world) takeOff(x *traveler, a *Attempt, clock Instant) *flight {
	h := hostOf(x.q.Authority)
	f := &flight{a: a, x: x, on: a.On, copy: a.Copy(), trial: !a.Copy() && a.On != w.current, began: w.step, clock: clock, start: w.now, row: w.acc.hosts[h].row}
	if f.on == w.current {
		f.under = w.acc.hosts[h].suspicion
		if w.patient {
			f.silentAt = w.now.Add(w.Patience)
		}
	}
	w.flights = append(w.flights, f)
	if f.held = w.fetches && a.held && x.q.Kind < Copyable; f.held {
		f.late = true
		f.silentAt = time.Time{}
	} else if a.held {
		w.c.Handed(w.now, a)
		f.clock = w.c.Clock()
	}
	return f
}
