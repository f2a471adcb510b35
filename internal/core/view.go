package core

import "time"

// A View is a snapshot of the state, for whoever wants to show it.
type View struct {
	Closed      bool
	Ended       bool // the transport in service says so itself, or there is none yet
	Absent      bool // there is none yet
	Candidate   bool // there is one
	NextBuild   time.Time
	Authorities []AuthorityView // that are not known to be well, the first to fail first
}

// An AuthorityView is how one authority is.
type AuthorityView struct {
	About
	Failures int
	Stalls   int
}

// View returns a snapshot.
func (c *Client) View() View {
	v := View{Closed: c.closed, Ended: c.ended, Absent: c.absent, Candidate: c.cand != nil, NextBuild: c.pace.notBefore}
	for _, s := range c.suspects {
		v.Authorities = append(v.Authorities, AuthorityView{s.about(), s.failures, s.stalls})
	}
	return v
}
