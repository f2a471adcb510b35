// Package streak keeps what authorities have suffered, and when the next attempt
// to help them may be. It is data: it is guarded by whoever holds it.
package streak

import (
	"context"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/evidence"
)

// A Proof is what a candidate must show to be promoted: to get past the point
// where the attempts before it failed. An upstream that accepts and resets
// gives everyone a connection, so after such failures only an answer counts.
type Proof int

const (
	ProofConnection Proof = iota
	ProofAnswer
	ProofFaster // an answer sooner than the stalled attempts had waited
)

// A Streak is what one authority has suffered on the generation in service.
type Streak struct {
	Authority core.Authority
	Since     time.Time // the first failure: the outage's start
	Last      time.Time
	Trigger   string // kind of the last failure
	Links     []trace.SpanContext

	Failures int    // causally consecutive
	counted  uint64 // the clock at the last of them
	watched  bool   // one of them was seen by a watched attempt

	Stalls     int
	FirstStall time.Time
	ToBeat     time.Duration // the longest wait of a stalled attempt

	Tripped    bool
	Proof      Proof     // what a candidate must show
	Rejections int       // trials that did not help
	Pace       Pace      // spaces the trials that this authority asks for
	Queued     time.Time // when it tripped, or its last trial was rejected
	TurnedAway time.Time // when it was last asked for and had no trial

	// After a promotion a streak that had tripped stays until its first
	// success, when the outage is over. Recovery carries the recreation's span.
	Recovery context.Context

	// Over is closed when the trip has ended, for those who wait it out.
	Over chan struct{}
}

// Outage reports whether the authority's users have something to recover from.
func (s *Streak) Outage() bool { return s.Tripped || s.Recovery != nil }

func (s *Streak) weight() int {
	if s.Outage() {
		return math.MaxInt
	}
	return s.Failures + s.Stalls
}

// Fail counts a failure of an attempt that began at the given clock, and
// reports whether it counted. clock is the one after this failure.
func (s *Streak) Fail(a *evidence.Watch, began, clock uint64) bool {
	if s.Late(began) {
		return false // the same event seen by another request
	}
	s.Failures++
	s.counted = clock
	s.watched = s.watched || a.Watched()
	return true
}

// Stall counts a stall. An attempt that began before suspicion has no start
// time; it has waited at least since the streak was opened.
func (s *Streak) Stall(a *evidence.Watch, now time.Time) {
	if s.Stalls == 0 {
		s.FirstStall = now
	}
	s.Stalls++
	waited := now.Sub(s.Since)
	if a.Watched() {
		waited = a.Waited()
	}
	s.ToBeat = max(s.ToBeat, waited)
}

// Link remembers a failing request's span, for the recreation to link to.
func (s *Streak) Link(sc trace.SpanContext) {
	if sc.IsValid() && len(s.Links) < maxLinks && !slices.ContainsFunc(s.Links, sc.Equal) {
		s.Links = append(s.Links, sc)
	}
}

// Late reports whether an attempt that began at the given clock says nothing of
// what has happened since: it began before the last failure.
func (s *Streak) Late(began uint64) bool { return s.Failures > 0 && began < s.counted }

// Unconfirmed reports whether only attempts that nobody watched have raised the
// suspicion.
func (s *Streak) Unconfirmed() bool { return !s.watched && s.Stalls == 0 && !s.Outage() }
