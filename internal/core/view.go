package core

import "time"

// A View is a snapshot of the state, for whoever wants to show it.
type View struct {
	Closed      bool
	Ended       bool            // the transport in service says so itself, or there is none yet
	Absent      bool            // there is none yet
	Candidate   bool            // there is one
	NextBuild   time.Time       // before which none is built for what is tripped, or has ended; zero: now, or nothing is
	Unserved    bool            // something is tripped, or has ended, and nobody has been answered since
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
	since, ill := c.illSince()
	v.Unserved = ill && max(c.answered, answered) <= since
	if ill && !c.closed && c.cand == nil && !c.pace.due(now) {
		v.NextBuild = c.pace.notBefore
	}
	return v
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
