package core

import "time"

// Whose fault is a wait for a place in the transport's own pool (MaxConnsPerHost)? Nobody's, as long
// as the places change hands. So an attempt that waits for one is no control, and begins only when it
// has its place (Placed). It may be copied. If the copy is answered, the control is sent again, without its
// caller, and decides when it has its place (judge in slow.go).
//
// The places may be held by what is dead, however. Once the authority has tripped, the wait is a silence
// like any other if both are so (excuse):
//
//   - for the authority's patience, none of its attempts has got a place, or an answer in service;
//   - since the trip, or the latest answer in service, as much time has passed as the oldest attempt had
//     held its place at the trip, or as many patiences as the threshold of stalls, if that is less.

// excuse: the authority of s has tripped, or was answered in service. Until excusedUntil no wait for a
// place is a silence.
func (c *Client) excuse(now time.Time, s *suspect) {
	held := min(s.heldFor, time.Duration(c.rules.Stalls)*c.stillMoves(now, s))
	s.excusedUntil = now.Add(max(c.stillMoves(now, s), held))
}

// stillMoves is for how long the places of s may change hands without a sign of it.
func (c *Client) stillMoves(now time.Time, s *suspect) time.Duration {
	return max(c.patience.of(now, now, s.authority), headStart)
}

// longestHeld is how long the oldest of the attempts under way has had its place: those of flying, and
// the one that trips s, which may have begun before it was suspected.
func (s *suspect) longestHeld(now time.Time, trips *Attempt) (longest time.Duration) {
	if !trips.over {
		longest = trips.waited(now)
	}
	for a := s.flying.first; a != nil; a = a.next {
		if !a.queued && !a.held {
			longest = max(longest, a.waited(now))
		}
	}
	return longest
}

// excuses reports whether a waits for a place, and that is nobody's fault.
func (s *suspect) excuses(now time.Time, a *Attempt) bool {
	return a.queued && now.Before(s.excusedUntil)
}

// unlessExcused is when a has been silent until at, or later if its wait for a place is excused then.
func (s *suspect) unlessExcused(a *Attempt, at time.Time) time.Time {
	if a.queued {
		return later(at, s.excusedUntil)
	}
	return at
}

// Moves: a request of a got a place in service, whether or not the core knows of it.
func (c *Client) Moves(now time.Time, a Authority) {
	if s := c.suspect(a); s != nil {
		s.excusedUntil = later(s.excusedUntil, now.Add(c.stillMoves(now, s)))
	}
}

// Placed: a has its place.
func (c *Client) Placed(now time.Time, a *Attempt) {
	if a.over || !a.queued || c.closed {
		return
	}
	a.queued, a.began, a.start = false, c.now, now
	if a.On == c.current {
		c.Moves(now, a.Call.Authority)
	}
	if s := c.suspect(a.Call.Authority); s != nil && a.in == &s.flying {
		a.ripeAt = now.Add(headStartOf(now, a.Call))
		s.ripens(a)
	}
	if st := c.standOf(a.Call); st != nil && st.answered != nil && st.answered.Call == a.Call {
		st.answered.judgeAt = now.Add(silenceFor(st.answered.took)) // a is its control, and has its chance now
	}
	c.settle(now)
}
