package core

import "time"

// What makes a client's health fail, which its handler answers with a 503? A closed
// client fails. Any other fails only while nobody can be served, which is so if all of
// these hold (isFailing):
//
//   - something is tripped, or the transport in service says that it has ended, or there is none
//     yet;
//   - there is no candidate, and the backoff allows no build yet: once it does, the next
//     request has one built, and a probe that failed would keep that request away;
//   - there is nothing to try: for one authority that is tripped, the latest build since its
//     first failure gave no transport. If the transport in service has ended, this always holds; if there
//     was none yet, it holds once a build has failed;
//   - nobody has been answered since, in service or by the fallback: no attempt that began
//     after the latest of these, which are the end of the transport and the first failure of
//     each authority that is tripped. A fallback that has not been asked since may serve: a
//     probe that failed would keep away the request that finds out.
//
// All else that is tripped, healing or has ended makes the state "recovering", which is a warning.
// So does a transport that has ended while no request came to notice (stateOf in the root's
// health.go). A handler for several clients answers 503 if one of them fails
// (healthhandler.go there).

// A View is a snapshot of the state, for whoever wants to show it.
type View struct {
	Closed      bool
	Failing     bool            // nobody can be served
	Recovering  bool            // something is down, or nothing has been able to start
	Ended       bool            // the transport in service says so itself, or there is none yet
	Absent      bool            // there is none yet
	Candidate   bool            // there is one
	NextBuild   time.Time       // before which none is built for what is tripped, or has ended; zero: now, or nothing is
	Authorities []AuthorityView // that are not known to be well, the first to fail first
}

// An AuthorityView is how one authority is.
type AuthorityView struct {
	About
	Failures int
	Stalls   int
}

// View returns a snapshot. answered is when the latest attempt began that the shell
// knows to be answered without having said so: on the healthy path, or by a fallback.
func (c *Client) View(now time.Time, answered Instant) View {
	v := View{Closed: c.closed, Ended: c.ended, Absent: c.absent, Candidate: c.cand != nil}
	for _, s := range c.suspects {
		v.Authorities = append(v.Authorities, AuthorityView{s.about(), s.failures, s.stalls})
	}
	if c.awaitsBuild(now) {
		v.NextBuild = c.pace.notBefore
	}
	v.Failing, v.Recovering = c.isFailing(now, answered), c.isRecovering()
	return v
}

// isFailing reports whether nobody can be served.
func (c *Client) isFailing(now time.Time, answered Instant) bool {
	since, _ := c.illSince()
	mayServe := c.rules.Fallback && c.diverted <= since // nobody knows
	return c.awaitsBuild(now) && c.cannotBuild() && max(c.answered, answered) <= since && !mayServe
}

// awaitsBuild reports whether something is ill, no candidate is there or under way for
// it, and the backoff allows none yet.
func (c *Client) awaitsBuild(now time.Time) bool {
	_, ill := c.illSince()
	return ill && !c.closed && c.cand == nil && !c.pace.due(now)
}

// illSince returns the latest of the instants at which what is tripped or has ended
// came to be so, and whether anything is. What began after that instant and was
// answered shows that somebody is served beside it, or in its stead.
func (c *Client) illSince() (since Instant, ill bool) {
	if c.ended {
		since, ill = c.endedIn, true
	}
	for _, s := range c.suspects {
		if s.state == Tripped {
			since, ill = max(since, s.from), true
		}
	}
	return since, ill
}

// cannotBuild reports whether something that is ill has nothing to be tried for it.
// A client whose first transport is still to be built is ill only if a build has failed.
func (c *Client) cannotBuild() bool {
	if c.ended {
		return !c.absent || c.unbuilt > 0
	}
	for _, s := range c.suspects {
		if s.state == Tripped && c.unbuilt > s.from {
			return true
		}
	}
	return false
}

// isRecovering reports whether somebody has something to recover from.
func (c *Client) isRecovering() bool {
	for _, s := range c.suspects {
		if s.outage() {
			return true
		}
	}
	return c.ended && (!c.absent || c.unbuilt > 0)
}
