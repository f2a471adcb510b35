package core

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A sim is a client in virtual time: a shell without I/O around a core, the
// upstreams, and their callers.
type sim struct {
	d   *draw
	c   *Client
	now time.Time

	world   func(v *visit, on uint64) fate
	factory func(n int) (time.Duration, string) // of the nth build: how long it takes, and how it fails
	ended   func(on uint64) bool                // the transport says so itself
	busy    bool                                // something else is in flight, always
	mute    bool                                // the transports tell nothing of connections
	maxAge  time.Duration                       // ± 10 %, drawn once per transport

	queue  []simEvent
	serial uint64
	tickAt time.Time
	spins  int

	flights     map[*Attempt]*simFlight
	accompanied []*simFlight
	visits      map[*Call]*visit
	inFlight    int
	policies    [2]simPolicy // for need, and for what is planned

	builds []simBuild
	swaps  []simSwap
	fates  map[uint64]string // of candidates: promoted or retired
	got    map[string]map[string]int
	story  []string
	faults []string

	onAnswer []func(*visit)
	copies   int
}

type simBuild struct {
	Build
	at time.Time
}

type simSwap struct {
	at   time.Time
	host string // whose trial proved it; "": nobody's
	id   uint64
}

// A fate is how an attempt goes.
type fate struct {
	dial    time.Duration // until it has a connection, or is refused one
	refused bool
	answer  time.Duration // from the connection to the answer, or to the break
	broken  bool
	untyped bool // its error says something only to whoever watched
}

const (
	simNever = 1000 * time.Hour
	sec      = time.Second
	ms       = time.Millisecond
)

var (
	fateWell    = fate{answer: 10 * ms}
	fateRefused = fate{dial: ms, refused: true}
	fateReset   = fate{dial: ms, answer: ms, broken: true}
	fateDark    = fate{answer: simNever}
	fateHangs   = fate{dial: simNever}
)

// A visit is one request, from its caller's point of view.
type visit struct {
	host   string
	method string        // GET, GET+Upgrade, PUT (with a body that can be had again) or POST
	name   string        // tells requests of one host apart
	left   time.Duration // the caller's deadline; 0: none
	leaves time.Duration // when the caller cancels; 0: it does not
	ready  time.Duration // how long it waits for ready
	sealed bool
	then   func(*visit)

	q      *Call
	start  time.Time
	over   bool
	got    string // answered, lost or diverted
	on     uint64
	tries  int // attempts for its caller, but for those that were called back
	sent   int // attempts that got a connection, copies among them
	copies int
	flown  []uint64 // the transports of its attempts, in order
	waits  int

	flight *simFlight // the latest that is no copy
}

// A simFlight is one attempt. The healthy path has no Attempt until there is
// something to tell.
type simFlight struct {
	v           *visit
	a           *Attempt
	on          uint64
	noted       Instant
	start       time.Time
	watched     bool
	patient     bool
	silentSince time.Time // its start, or the latest stall that its waiting was
	copy        bool
	connected   bool
	over        bool
}

var simStart = time.Unix(1_000_000, 0)

func newSim(d *draw, r Rules) *sim {
	s := &sim{
		d: d, c: New(r, simStart, 0), now: simStart, busy: true,
		flights: map[*Attempt]*simFlight{}, visits: map[*Call]*visit{},
		fates: map[uint64]string{}, got: map[string]map[string]int{},
	}
	s.factory = func(int) (time.Duration, string) { return 0, "" }
	s.ended = func(uint64) bool { return false }
	d.sims = append(d.sims, s)
	return s
}

// newAgingSim is one whose transports are replaced by age.
func newAgingSim(d *draw, r Rules, age time.Duration) *sim {
	s := newSim(d, r)
	s.maxAge = age
	s.c = New(r, simStart, s.drawAge())
	return s
}

func (s *sim) drawAge() time.Duration {
	return time.Duration(float64(s.maxAge) * (0.9 + 0.2*s.d.Float64()))
}

func simAuthority(host string) Authority { return Authority{"https", host, "443"} }

func (s *sim) since() time.Duration { return s.now.Sub(simStart) }

func (s *sim) tell(format string, args ...any) {
	if len(s.story) < 2000 {
		s.story = append(s.story, fmt.Sprintf("%10.3f  ", s.since().Seconds())+fmt.Sprintf(format, args...))
	}
}

func (s *sim) fault(format string, args ...any) {
	if len(s.faults) < 3 {
		s.tell("FAULT "+format, args...)
		s.faults = append(s.faults, fmt.Sprintf(format, args...))
	}
}

// run lets time pass until that long after the start, and then looks for faults.
func (s *sim) run(until time.Duration) {
	s.perform()
	for len(s.queue) > 0 && s.queue[0].at <= until {
		e := s.pop()
		if e.at > s.since() {
			s.spins = 0
		} else if s.spins++; s.spins > 100_000 {
			s.fault("time stands still")
			break
		}
		s.now = simStart.Add(e.at)
		e.do()
		s.perform()
	}
	s.now = simStart.Add(until)
	s.audit()
	for _, f := range s.faults {
		s.d.fail("%s", f)
	}
}

// audit: every candidate has exactly one end, and builds for need keep apart.
func (s *sim) audit() {
	var last time.Time
	for _, b := range s.builds {
		if !b.Planned {
			if gap := b.at.Sub(last); !last.IsZero() && gap < 250*ms {
				s.fault("builds %v apart", gap)
			}
			last = b.at
		}
	}
}

func (s *sim) end(id uint64, how string) {
	if was := s.fates[id]; was != "" {
		s.fault("candidate %d is %s, and was %s", id, how, was)
	}
	s.fates[id] = how
}

// perform does what the core asks for.
func (s *sim) perform() {
	for {
		t := s.c.Todo()
		if t.Promote == 0 && t.Retire == nil && t.Cancel == 0 && t.Build == nil && t.Copies == nil && t.Recall == nil && t.Part == nil && t.Reports == nil && t.Wake == nil {
			break
		}
		for _, r := range t.Reports {
			s.hear(r)
		}
		if t.Promote != 0 {
			s.end(t.Promote, "promoted")
		}
		s.condemn(t.Condemn)
		for _, id := range t.Retire {
			s.end(id, "retired")
		}
		if t.Build != nil {
			s.build(*t.Build)
		}
		for _, a := range t.Copies {
			s.c.Handed(s.now, a)
			s.fly(&simFlight{v: s.visits[a.Call], a: a, on: a.On, start: s.now, watched: true, copy: true})
		}
		for _, a := range t.Recall {
			s.recall(a)
		}
		for _, q := range t.Part {
			s.askOn(s.visits[q])
		}
		for _, q := range t.Wake {
			if v := s.visits[q]; !v.over && q.main == nil {
				s.ask(v)
			}
		}
	}
	if s.c.cand == nil {
		for _, q := range s.c.waiters {
			if q.waiting == forVerdict {
				s.fault("%s waits for nothing", q.Authority.Host)
			}
		}
	}
	if at := s.c.Deadline(); !at.IsZero() && (s.tickAt.IsZero() || at.Before(s.tickAt)) {
		s.tickAt = at
		s.after(at.Sub(s.now), func() {
			if s.tickAt.Equal(at) {
				s.tickAt = time.Time{}
				s.c.Tick(s.now)
			}
		})
	}
}

func (s *sim) hear(r Report) {
	what := [...]string{"trips", "has recovered", "is forgotten", "refuses", "promoted", "rejected"}[r.What]
	s.tell("%s %s (%d counted) candidate %d %s", r.About.Authority.Host, what, r.About.Failures, r.Candidate, r.Kind)
	if r.What == WasPromoted {
		s.swaps = append(s.swaps, simSwap{s.now, r.About.Authority.Host, r.Candidate})
	}
}

func (s *sim) build(b Build) {
	s.builds = append(s.builds, simBuild{b, s.now})
	s.tell("build %d (%s) for %s", b.ID, b.Trigger, b.Need.Authority.Host)
	takes, kind := s.factory(len(s.builds))
	if takes >= s.c.rules.RecreateTimeout {
		takes, kind = s.c.rules.RecreateTimeout, "factory_timeout"
	}
	p := &s.policies[0]
	if b.Planned {
		p = &s.policies[1]
	}
	d := Draw{Interval: p.next(s.d.Rand, b.Epoch), MaxAge: s.drawAge()}
	s.after(takes, func() {
		if kind == "" && s.ended(b.ID) {
			kind = TransportEnded
		}
		if kind != "" {
			s.c.NotBuilt(s.now, b.ID, kind, d)
			return
		}
		s.c.Built(s.now, b.ID, s.inFlight == 0 && !s.busy, d)
	})
}

// A simPolicy is cenkalti's exponential backoff: 500 ms, x 1.5, ± 50 %, 30 s.
type simPolicy struct {
	epoch   uint64
	current time.Duration
}

func (p *simPolicy) next(r *rand.Rand, epoch uint64) time.Duration {
	if p.current == 0 || p.epoch != epoch {
		p.epoch, p.current = epoch, 500*ms
	}
	d := time.Duration((0.5 + r.Float64()) * float64(p.current))
	p.current = min(p.current*3/2, 30*sec)
	return d
}

// builtAt is when the build of a transport began.
func (s *sim) builtAt(on uint64) time.Time {
	for _, b := range s.builds {
		if b.ID == on {
			return b.at
		}
	}
	return simStart
}

// count is how many visits of a host ended so.
func (s *sim) count(host, got string) int { return s.got[host][got] }

// tellStory is what happened, for whoever must understand a failed test: some
// lines around the first swap or fault.
func (s *sim) tellStory() string {
	from, to := 0, min(len(s.story), 50)
	for i, line := range s.story {
		if strings.Contains(line, "promoted") || strings.Contains(line, "FAULT") {
			from, to = max(0, i-25), min(len(s.story), i+25)
			break
		}
	}
	return strings.Join(s.story[from:to], "\n")
}

// The events, the earliest first, of those at one time the first that was made.
type simEvent struct {
	at     time.Duration // since the start
	serial uint64
	do     func()
}

func (e *simEvent) before(o *simEvent) bool {
	return e.at < o.at || e.at == o.at && e.serial < o.serial
}

func (s *sim) after(d time.Duration, do func()) {
	if d >= simNever {
		return
	}
	s.serial++
	e := simEvent{s.since() + max(d, 0), s.serial, do}
	s.queue = append(s.queue, e)
	q, i := s.queue, len(s.queue)-1
	for ; i > 0 && e.before(&q[(i-1)/2]); i = (i - 1) / 2 {
		q[i] = q[(i-1)/2]
	}
	q[i] = e
}

func (s *sim) pop() simEvent {
	q, n := s.queue, len(s.queue)-1
	top, e := q[0], q[n]
	q[n] = simEvent{}
	s.queue = q[:n]
	i := 0
	for child := 1; child < n; child = 2*i + 1 {
		if child+1 < n && q[child+1].before(&q[child]) {
			child++
		}
		if !q[child].before(&e) {
			break
		}
		q[i] = q[child]
		i = child
	}
	if n > 0 {
		q[i] = e
	}
	return top
}

// at does something that long after the start.
func (s *sim) at(d time.Duration, do func()) { s.after(simStart.Add(d).Sub(s.now), do) }

// every does something at once and again, from and until that long after the start.
func (s *sim) every(from, period, until time.Duration, do func()) {
	if from >= until {
		return
	}
	s.at(from, func() {
		do()
		s.every(from+period, period, until, do)
	})
}

// traffic is the same visit again and again.
func (s *sim) traffic(from, period, until time.Duration, v visit) {
	s.every(from, period, until, func() { s.visit(v) })
}
