package core

import (
	"slices"
	"time"
)

// An account is what a world reckons by itself, from the events that it brings
// about and the decisions that it hears: it does not look into the core.
type account struct {
	hosts  [2]hostAccount
	ended  bool // the core knows that the transport in service has ended, or that there is none
	absent bool // there is none yet

	// Rule 9: when the next build for need may begin.
	epoch     int
	fresh     bool // no interval of this epoch has begun
	first     time.Duration
	built     time.Time // the latest build for need
	notBefore time.Time
	promoted  time.Time // the latest promotion for need
	endedOver time.Time // when the latest end of a transport was made good
	draw      time.Duration
	drawEpoch int
	drawn     bool // the candidate's interval has begun
	cand      uint64
	planned   bool
	idle      bool

	health healthAccount

	taught bool // what came of a candidate may have taught patience

	ready    int // the step at which the candidate became ready
	served   []served
	youngest int // the step at which the youngest began of those answered in service
}

// A hostAccount is an account of an authority.
type hostAccount struct {
	suspicion int // its number, while there is one; else 0
	last      int
	tripped   bool
	outage    bool
	over      time.Time // when its latest outage was

	counting    bool
	opened      Instant
	from        Instant // its first failure
	failures    int
	counted     Instant
	stalls      int
	firstStall  time.Time
	failedAt    time.Time
	row         row
	ended, lost int
	took        time.Duration

	refused bool              // the candidate
	spent   bool              // it has not failed in service since it refused one
	like    [Copyable + 1]int // by likeOf: when the youngest began that failed in service
	before  int               // the step of the latest answered trial but one, in this outage
	latest  int
	expect  bool // the event under way trips it
	swapped time.Time
	useless bool // it failed or stalled less than a minute after a swap for it

	vain    int       // candidates that did not help it in this outage
	doubted bool      // it has refused a planned one in an outage, which may tell of its upstream
	down    time.Time // when its latest outage with such a one was over
	up      int       // the step of the first answer of a candidate in this outage

	moved   time.Time     // when it tripped, or one of its attempts was answered in service since
	changed time.Time     // when one of them last got a place
	held    time.Duration // how long the places had been held at the trip
	cut     lateStall     // the event under way: what had waited for a place has stalled

	passed Instant // when the youngest began of those answered in service while it was suspected
}

// A served is a trial that was answered by a candidate.
type served struct {
	host    int
	kind    Kind
	copy    bool
	row     row
	began   int
	start   time.Time
	at      time.Time
	step    int // of the answer
	control failedControl
	main    *Attempt      // a copy's control
	waited  time.Duration // of main, when the copy began
	own     bool          // main began after the copy's answer
	x       *traveler
	planned bool // it tried what was planned while its authority was well
}

func (acc *account) reset() {
	long := t0.Add(-time.Hour)
	*acc = account{fresh: true, built: long, notBefore: long, promoted: long, endedOver: long}
	for h := range acc.hosts {
		acc.hosts[h].over, acc.hosts[h].swapped, acc.hosts[h].down = long, long, long
	}
}

func (acc *account) before(w *world) {
	for h := range acc.hosts {
		acc.hosts[h].expect, acc.hosts[h].cut = false, lateStall{}
	}
}

// well: the authority is, or a fresh transport is in service.
func (h *hostAccount) well() {
	*h = hostAccount{
		last: h.last, outage: h.outage, over: h.over, refused: h.refused,
		swapped: h.swapped, useless: h.useless, down: h.down, passed: h.passed, doubted: h.doubted,
	}
}

func (h *hostAccount) suspect() {
	if h.suspicion == 0 {
		h.last++
		h.suspicion = h.last
	}
}

// failed: an attempt has ended in an error, or its caller has left.
func (acc *account) failed(w *world, f *flight, o Outcome) {
	if f.on != w.current || f.left {
		if (o.Untyped || o.Unseen) && !f.x.free && !f.left && f.on != w.built {
			f.x.free = true
			f.x.tries--
		}
		acc.failedTrial(w, f, o)
		return
	}
	f.x.control = failedControl{on: f.on, began: f.began, clock: f.clock, unsent: o.Unsent, took: acc.waited(w, f)}
	if (o.Untyped || o.Unseen) && !f.x.free {
		f.x.free = true
		f.x.tries--
	}
	h := &acc.hosts[hostOf(f.x.q.Authority)]
	if o.Verdict == Neutral {
		f.x.tried = 0 // it says nothing
		if h.suspicion != 0 && f.under == h.suspicion && !f.held && acc.waited(w, f) >= h.took {
			h.ended++
		}
		if h.suspicion != 0 && !h.outage && h.failures+h.stalls == 0 && !o.Left {
			acc.recovered(w, hostOf(f.x.q.Authority))
		}
		return
	}
	acc.stalled(w, f, o)
	if f.x.tried != 0 && f.x.lost {
		f.x.tried = 0 // both failed it
	}
}

func (acc *account) waited(w *world, f *flight) time.Duration { return w.now.Sub(f.start) }

// stalled counts a failure or a stall in service.
func (acc *account) stalled(w *world, f *flight, o Outcome) {
	if f.on != w.current {
		return
	}
	h := &acc.hosts[hostOf(f.x.q.Authority)]
	under := f.under != 0 && f.under == h.suspicion
	h.suspect()
	h.failedAt = w.now
	if !h.counting {
		h.counting, h.opened, h.from = true, f.clock, w.c.Clock()
	}
	if under && w.flightOf(f.a) == nil {
		h.ended++
		if o.Verdict == Failure {
			h.lost++
		}
	}
	if o.Untyped {
		return
	}
	h.spent = false
	if o.Verdict == Failure {
		h.took = max(h.took, acc.waited(w, f))
	}
	if o.cutShort() {
		h.cut = lateStall{likeOf(f.x.q.Kind), f.began, acc.waited(w, f)}
	} else {
		h.like[likeOf(f.x.q.Kind)] = max(h.like[likeOf(f.x.q.Kind)], f.began)
	}
	switch counts := o.Verdict == Stall || h.failures == 0 || f.clock >= h.counted; {
	case !counts:
		acc.expects(w, h, f) // the same event, seen by another: its share counts
		return
	case o.Verdict == Stall || acc.waited(w, f) >= ownHeadStart(f):
		h.row = silent
	case o.Unsent:
		h.row = noConnection
	default:
		h.row = broke
	}
	if o.Verdict == Stall {
		if h.stalls == 0 {
			h.firstStall = w.now
		}
		h.stalls++
	} else {
		h.failures++
		h.counted = w.c.Clock() + 1
	}
	h.useless = h.useless || w.now.Sub(h.swapped) < time.Minute
	acc.expects(w, h, f)
}

// ownHeadStart is what f has before its request is copied.
func ownHeadStart(f *flight) time.Duration {
	if f.x.q.Deadline.IsZero() {
		return time.Second
	}
	return min(time.Second, f.x.q.Deadline.Sub(f.start)/4)
}

func (acc *account) expects(w *world, h *hostAccount, f *flight) {
	h.expect = !h.tripped && (acc.mostFailed(w, h, f) || w.Stalls > 0 && h.stalls >= w.Stalls && w.now.Sub(h.firstStall) >= w.StallSpan)
}

func (acc *account) mostFailed(w *world, h *hostAccount, of *flight) bool {
	tried := h.ended
	for _, f := range w.flights {
		if f.on == w.current && f.under == h.suspicion && !f.looks && acc.waited(w, f) > 2*h.took && &acc.hosts[hostOf(f.x.q.Authority)] == h {
			tried++
		}
	}
	return h.failures >= w.Threshold && 2*h.lost >= tried
}

// mayTrip reports whether h would trip if all that is under way failed.
func (acc *account) mayTrip(w *world, h *hostAccount) bool {
	failing := 0
	for _, f := range w.flights {
		if f.on == w.current && f.under != 0 && f.under == h.suspicion && &acc.hosts[hostOf(f.x.q.Authority)] == h {
			failing++
		}
	}
	return h.failures >= w.Threshold && failing > 0 && 2*(h.lost+failing) >= h.ended+failing
}

// judgeTrips: an authority trips when the world's own count says so, and then only.
func (acc *account) judgeTrips(w *world, t Todo) {
	for i := range acc.hosts {
		h := &acc.hosts[i]
		trips := 0
		for _, r := range t.Reports {
			if r.What == HasTripped && r.About.Trigger != TransportEnded && hostOf(r.About.Authority) == i {
				trips++
			}
		}
		w.must(trips == 0 || h.expect, "%s trips with %d failures and %d stalls", hosts[i].Host, h.failures, h.stalls)
		w.must(trips > 0 || !h.expect || w.closed, "%s does not trip, with %d failures and %d stalls", hosts[i].Host, h.failures, h.stalls)
		h.expect = false
	}
}

// answered: an attempt has its response.
func (acc *account) answered(w *world, f *flight) {
	i := hostOf(f.x.q.Authority)
	h := &acc.hosts[i]
	if f.on != w.current {
		acc.answeredTrial(w, f)
		return
	}
	f.x.well = true
	acc.youngest = max(acc.youngest, f.began)
	acc.health.served = max(acc.health.served, f.clock)
	// A copy whose control is answered has proved nothing.
	acc.forget(func(s *served) bool { return s.x == f.x })
	for _, g := range slices.Clone(w.flights) {
		if g.x == f.x && g.answered {
			w.land(g)
		}
	}
	f.answered = false
	if h.suspicion == 0 && !h.outage {
		return
	}
	h.passed, h.moved = max(h.passed, f.clock), w.now
	if f.under == h.suspicion && h.suspicion != 0 {
		h.ended++
	}
	if !h.counting || f.clock > h.opened || h.takesBack(w, f) {
		acc.recovered(w, i)
	}
}

// silent: a stall was a silence of f.
func (acc *account) silent(f *flight) {
	if in := acc.hosts[hostOf(f.x.q.Authority)].suspicion; f.silentIn != in {
		f.silentIn, f.silences = in, 0
	}
	f.silences++
}

// takesBack: what was silent was answered, so that it was slow. It reports whether
// what counts beside that is too little.
func (h *hostAccount) takesBack(w *world, f *flight) bool {
	if h.suspicion == 0 || f.silentIn != h.suspicion || f.silences == 0 {
		return false
	}
	h.stalls -= f.silences
	return h.failures+h.stalls == 0 || h.tripped && h.failures < w.Threshold && h.stalls < w.Stalls
}

func (acc *account) forget(match func(*served) bool) {
	acc.served = slices.DeleteFunc(slices.Clone(acc.served), func(s served) bool { return match(&s) })
}

// recovered: the authority is well.
func (acc *account) recovered(w *world, i int) {
	h := &acc.hosts[i]
	if h.outage {
		h.over = w.now
		if h.vain > 0 {
			h.down = w.now
		}
	}
	h.outage = false
	h.well()
	if !acc.planned {
		acc.strays(w, i)
		acc.forget(func(s *served) bool { return s.host == i })
	}
}

// ticked: who has not failed for 5 minutes is not suspected any more, unless somebody
// waits who was silent.
func (acc *account) ticked(w *world) {
	for i := range acc.hosts {
		h := &acc.hosts[i]
		awaited := slices.ContainsFunc(w.flights, func(f *flight) bool {
			return f.on == w.current && hostOf(f.x.q.Authority) == i && f.silences > 0 && f.silentIn == h.suspicion
		})
		if h.suspicion != 0 && !h.outage && !awaited && w.now.Sub(h.failedAt) >= 5*time.Minute {
			h.well()
		}
	}
}

// asked: an attempt begins.
func (acc *account) asked(w *world, x *traveler, f *flight) {
	i := hostOf(x.q.Authority)
	h := &acc.hosts[i]
	if f.on != w.current {
		w.must(!h.refused || !h.tripped, "%s tries what it has refused", hosts[i].Host)
		w.must(!h.spent || !h.tripped || acc.ended, "%s tries a candidate, and has not failed since it refused one", hosts[i].Host)
	}
}
