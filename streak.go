package respawn

import (
	"context"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
	"github.com/respawnhttp/respawn/internal/generation"
)

// A streak is what one authority has suffered on the generation in service.
type streak struct {
	authority core.Authority
	since     time.Time // the first failure: the outage's start
	last      time.Time
	trigger   string // kind of the last failure
	links     []trace.SpanContext

	failures int    // causally consecutive
	counted  uint64 // rt.clock at the last of them
	watched  bool   // one of them was seen by a watched attempt

	stalls     int
	firstStall time.Time
	toBeat     time.Duration // the longest wait of a stalled attempt

	tripped    bool
	proof      proof     // what a candidate must show
	rejections int       // trials that did not help
	pace       pace      // spaces the trials that this authority asks for
	queued     time.Time // when it tripped, or its last trial was rejected
	turnedAway time.Time // when it was last asked for and had no trial

	// After a promotion a streak that had tripped stays until its first
	// success, when the outage is over. recovery carries the recreation's span.
	recovery context.Context

	// over is closed when the trip has ended, for those who wait it out.
	over chan struct{}
}

// outage reports whether the authority's users have something to recover from.
func (s *streak) outage() bool { return s.tripped || s.recovery != nil }

// maxStreaks and maxLinks bound the memory that hostile authorities can take.
const (
	maxStreaks = 256
	maxLinks   = 8
	// forgetAfter drops authorities that nobody has asked for in that time,
	// so that one dead link does not keep everybody off the healthy path for
	// ever. It is long, since seldom used ones must trip, too.
	forgetAfter = time.Hour
)

// A streakTable holds the authorities under suspicion. It is empty when all is
// well, and guarded by RecoveringRoundTripper.mu.
type streakTable struct {
	m     map[core.Authority]*streak
	swept time.Time
}

func (t *streakTable) get(a core.Authority) *streak { return t.m[a] }

func (t *streakTable) open(a core.Authority, now time.Time) *streak {
	if s := t.m[a]; s != nil {
		return s
	}
	if len(t.m) >= maxStreaks {
		t.evict()
	}
	if t.m == nil {
		t.m = make(map[core.Authority]*streak)
	}
	a = a.Clone()
	s := &streak{authority: a, since: now, last: now, over: make(chan struct{})}
	t.m[a] = s
	return s
}

func (t *streakTable) end(s *streak) {
	if t.m[s.authority] == s {
		delete(t.m, s.authority)
		close(s.over)
	}
}

// evict makes room: the least failures first, among those the oldest. A flood of
// invented names that fail once cannot push out an outage; one of names that trip
// can, if there are more of them than places between two requests to its host.
func (t *streakTable) evict() {
	var least *streak
	for _, s := range t.m {
		if least == nil || s.weight() < least.weight() || s.weight() == least.weight() && s.last.Before(least.last) {
			least = s
		}
	}
	t.end(least)
}

func (s *streak) weight() int {
	if s.outage() {
		return math.MaxInt
	}
	return s.failures + s.stalls
}

func (t *streakTable) forget(now time.Time) {
	if now.Sub(t.swept) < time.Minute {
		return
	}
	t.swept = now
	for _, s := range t.m {
		if now.Sub(s.last) >= forgetAfter {
			t.end(s)
		}
	}
}

// restart begins all streaks anew for a fresh generation. What had tripped
// stays in the table as an outage until its first success.
func (t *streakTable) restart(recovery context.Context) {
	for _, s := range t.m {
		if !s.outage() {
			t.end(s)
			continue
		}
		close(s.over)
		*s = streak{
			authority: s.authority, since: s.since, last: s.last, trigger: s.trigger,
			links: s.links, recovery: recovery, over: make(chan struct{}),
		}
	}
}

// fail counts a failure of an attempt that began at the given clock, and
// reports whether it counted. now is the clock after this failure.
func (s *streak) fail(a *attempt, clock uint64) bool {
	if s.failures > 0 && a.began < s.counted {
		return false // the same event seen by another request
	}
	s.failures++
	s.counted = clock
	s.watched = s.watched || a.Watched()
	return true
}

// stall counts a stall. An attempt that began before suspicion has no start
// time; it has waited at least since the streak was opened.
func (s *streak) stall(a *attempt, now time.Time) {
	if s.stalls == 0 {
		s.firstStall = now
	}
	s.stalls++
	waited := now.Sub(s.since)
	if a.Watched() {
		waited = a.Waited()
	}
	s.toBeat = max(s.toBeat, waited)
}

// link remembers a failing request's span, for the recreation to link to.
func (s *streak) link(sc trace.SpanContext) {
	if sc.IsValid() && len(s.links) < maxLinks && !slices.ContainsFunc(s.links, sc.Equal) {
		s.links = append(s.links, sc)
	}
}

// failed takes note of a failed attempt on the generation it was seen on.
func (rt *RecoveringRoundTripper) failed(c *call, a *attempt, v evidence.Verdict) {
	now := time.Now()
	trigger := evidence.TriggerOf(a.err)
	switch v {
	case evidence.Stall:
		trigger = evidence.TriggerStall
	case evidence.Ended:
		trigger = evidence.TriggerEnded
	}

	sc := trace.SpanContextFromContext(c.req.Context())
	rt.mu.Lock()
	if rt.current.Load() != a.gen {
		rt.mu.Unlock()
		return // stale: it says nothing about the generation in service
	}
	s := rt.streaks.open(c.authority, now)
	// What the transport has said of itself says more than any error since.
	ended := s.tripped && s.trigger == evidence.TriggerEnded
	trip := false
	switch v {
	case evidence.Failure:
		if s.fail(a, rt.clock.Load()+1) {
			rt.clock.Add(1)
			if s.failures >= rt.cfg.Threshold && !ended {
				s.proof = proofAnswer
				if a.unsent() && a.Reached() < evidence.Connected {
					s.proof = proofConnection
				}
			}
		}
		trip = s.failures >= rt.cfg.Threshold
	case evidence.Stall:
		s.stall(a, now)
		if rt.cfg.Stalls > 0 && s.toBeat > 0 && s.stalls >= rt.cfg.Stalls && now.Sub(s.firstStall) >= rt.cfg.StallSpan {
			trip = true
			if !ended {
				s.proof = proofFaster
			}
		}
	case evidence.Ended:
		s.proof = proofConnection
		trip = true
	}
	if !ended {
		s.trigger = trigger
	}
	s.last = now
	s.link(sc)
	rt.lastFailure = failureNote{at: now, authority: s.authority, trigger: s.trigger}
	trip = trip && !s.tripped
	if trip {
		s.tripped, s.queued = true, now
	}
	note := streak{authority: s.authority, trigger: s.trigger, failures: s.failures, stalls: s.stalls}
	rt.refreshAlert()
	rt.mu.Unlock()

	rt.telemetry.failed(c.req.Context(), trigger)
	if trip {
		rt.telemetry.tripped(c.req.Context(), &note, a.gen.Number)
	}
}

// tripEnded trips an authority whose request met a transport that says itself
// that it has ended.
func (rt *RecoveringRoundTripper) tripEnded(c *call, g *generation.Generation) {
	now := time.Now()
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.current.Load() != g {
		return
	}
	s := rt.streaks.open(c.authority, now)
	s.last = now
	s.proof = proofConnection
	if !s.tripped {
		s.tripped, s.queued, s.trigger = true, now, evidence.TriggerEnded
		rt.lastFailure = failureNote{at: now, authority: s.authority, trigger: evidence.TriggerEnded}
	}
	rt.refreshAlert()
}

// cleared takes note of a watched attempt that ended with a neutral error: if
// it was only an unwatched one that raised the suspicion, there was none.
func (rt *RecoveringRoundTripper) cleared(c *call, a *attempt) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	s := rt.streaks.get(c.authority)
	if s != nil && rt.current.Load() == a.gen && !s.watched && s.stalls == 0 && !s.outage() {
		rt.streaks.end(s)
		rt.refreshAlert()
	}
}

// succeeded takes note of an answer on g to an attempt that began at the given
// clock: it ends the authority's streak, and its trip with no swap if there was
// one. An attempt that began before the last failure says nothing about what
// is since: its answer may come from a connection that outlived the dialer.
func (rt *RecoveringRoundTripper) succeeded(ctx context.Context, g *generation.Generation, au core.Authority, began uint64) {
	now := time.Now()
	rt.mu.Lock()
	s := rt.streaks.get(au)
	if s == nil || rt.current.Load() != g || s.failures > 0 && began < s.counted {
		rt.mu.Unlock()
		return
	}
	rt.streaks.end(s)
	needless := rt.running
	if needless != nil && (needless.planned || needless.authority != au || needless.trigger == evidence.TriggerEnded) {
		needless = nil
	}
	rt.refreshAlert()
	rt.mu.Unlock()

	if needless != nil {
		rt.abandon(needless, errRecovered)
	}
	if s.outage() {
		if s.recovery != nil {
			ctx = s.recovery
		}
		rt.telemetry.recovered(ctx, s, now)
	}
}
