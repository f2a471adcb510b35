package core

import (
	"slices"
	"time"
)

// When is a request copied? When its authority is tripped and silent, while the request
// waits in service: once it has waited its head start, which is a second, but at most a quarter
// of what its caller had left (headStartOf), if its caller has time for another one (hasTime).
// Of several the youngest is copied (ripest), but those that have a place in their pool come
// first (place.go). While the control of an answered copy waits for its place, others are copied.
// The first copy asks for a candidate if there is none. Further copies to one authority follow after
// 1, 2, 4, ... s and at most five minutes, until one is answered, the authority's time on the candidate is over while a copy is
// unanswered (opensFor), or the outage ends (offerCopy). After an answer that proved nothing the next follows within a second of that
// answer, and the gaps begin anew (trialAnswered in proof.go). If no copy waits there when the time
// is over, the next one has all of it again (tryOn). Only what may be in two places is copied: see
// Copyable in internal/body/kind.go. What a copy's answer proves is in slow.go.

// offer makes trials of copies.
func (c *Client) offer(now time.Time) {
	for _, s := range slices.Clone(c.busy) {
		s.offerAt = time.Time{}
		if s.row == silent && s.evidence > s.refused && !c.ended && s.flying.n > 0 {
			s.offerAt = c.offerCopy(now, s)
		}
	}
}

// offerCopy copies the ripest call of s, or builds a candidate for it. It returns
// when to look again; zero: when something happens.
func (c *Client) offerCopy(now time.Time, s *suspect) time.Time {
	r := c.cand
	at := s.ripeAt
	if r != nil && r.stand(s.authority) != nil && r.opensFor(s.authority) {
		at = later(at, s.copyAt) // only what has been tried is tried more seldom
	}
	if now.Before(at) {
		return at
	}
	if r != nil && r.stage == Building {
		return time.Time{}
	}
	q := c.ripest(now, s)
	switch {
	case q == nil:
		return s.ripeAt
	case r != nil && r.opensFor(s.authority):
		s.copyGap = min(max(2*s.copyGap, headStart), readyFor)
		s.copyAt = now.Add(s.copyGap)
		c.tryOn(now, q, asCopy, false)
		return later(s.ripeAt, s.copyAt)
	case r != nil && !c.givesWay(now, r, s):
		return time.Time{}
	case !c.pace.due(now), !c.replace(now, s, q):
		return c.pace.notBefore
	}
	return time.Time{}
}

// opensFor reports whether a copy of a may try r now.
func (r *candidate) opensFor(a Authority) bool {
	st := r.stand(a)
	return st == nil || r.standsFor(a) && st.holder == nil && (st.answered == nil || st.answered.controlQueues())
}

// ripest returns the youngest call that can be copied and has had its head start,
// and notes when the next one will have.
func (c *Client) ripest(now time.Time, s *suspect) *Call {
	var youngest *Attempt
	var next time.Time
	for a := s.flying.last; a != nil; a = a.prev {
		switch {
		case a.Call.Kind != Copyable || a.Call.copy != nil || a.Call.left || c.isAnswered(a.Call):
		case now.Before(a.ripeAt):
			next = first(next, a.ripeAt)
		case a.hasTime(now) && (youngest == nil || a.riperThan(youngest)): // flying is in the order of silences
			youngest = a
		}
	}
	switch {
	case youngest != nil:
		s.ripeAt = youngest.ripeAt // until it is copied
		return youngest.Call
	case next.IsZero():
		next = now.Add(readyFor) // nobody: the next send says when
	}
	s.ripeAt = next
	return nil
}

// riperThan reports whether a is copied rather than b: it has a place, which its end may free for
// another control, or else it is younger.
func (a *Attempt) riperThan(b *Attempt) bool {
	if a.queued != b.queued {
		return b.queued
	}
	return a.began > b.began
}

// isAnswered reports whether the caller of q has the answer of a copy, which waits for its verdict.
func (c *Client) isAnswered(q *Call) bool {
	st := c.standOf(q)
	return st != nil && st.answered != nil && st.answered.Call == q
}

// hasTime reports whether the caller of a will wait for another head start at
// least: a copy that its caller leaves proves nothing, and holds back the next.
func (a *Attempt) hasTime(now time.Time) bool {
	left := a.Call.Deadline
	return left.IsZero() || left.Sub(now) >= a.ripeAt.Sub(a.start)
}

// headStartOf is what the transport in service gets before a request of q is copied.
func headStartOf(now time.Time, q *Call) time.Duration {
	if q.Deadline.IsZero() {
		return headStart
	}
	return min(headStart, q.Deadline.Sub(now)/headShare)
}
