package core

import (
	"slices"
	"time"
)

// Which attempt is the control of a request that is asked once? Another one like it, of the same
// method, in service:
//
//   - one that began after the trial did (trusts, isProof in proof.go), and failed there or has been
//     silent for long enough when the trial is answered (hasLike). Where a proof takes several
//     answers, the control goes first every second time (controlFirst);
//   - or else the first one that begins late enough (serves, servedBefore). It proves the candidate
//     when it fails (controlFailed in proof.go), or has been silent for long enough (probed);
//   - or nobody, where none comes within four minutes (believe).
//
// Long enough is twice as long as the trial took, and at least a second (silenceFor). A wait for a
// place in the transport's own pool is no silence at first (place.go), nor is one for the caller's
// body before the transport has the request (Handed in events.go).

// serves: t was answered, and has no control that proves anything. The next attempt like t in service
// is its control. If t had none, that attempt began after t did; if t had one, but the upstream may
// have come back since, it begins after the answer.
func (c *Client) serves(now time.Time, s *suspect, st *stand, t *Attempt) {
	since := t.began
	if t.control {
		since = c.now
	}
	if len(st.served) < maxMethods && !st.hasServed(t.Call.Method) {
		st.served = append(st.served, answeredMethod{t.Call.Method, since, t.waited(now), now.Add(doubtFor)})
	}
	if s.probe == nil { // what waits already may be that control
		s.probe = s.oldestLike(now, t.Call.Method, since)
		c.attend(s)
	}
	c.wake(s.authority)
}

// hasLike: something of this method that began at that instant or later failed in service, or has
// been silent there for so long.
func (s *suspect) hasLike(now time.Time, method string, since Instant, silence time.Duration) bool {
	a := s.oldestLike(now, method, since)
	return s.hasFailedSince(method, since) || a != nil && a.waited(now) >= silence
}

// oldestLike returns what has waited longest in service of this method, and began at that instant
// or later; nil: nothing has.
func (s *suspect) oldestLike(now time.Time, method string, since Instant) (oldest *Attempt) {
	for a := s.flying.first; a != nil; a = a.next {
		if a.Call.Method == method && a.began >= since && !a.start.IsZero() && !a.held && !s.excuses(now, a) && (oldest == nil || a.began < oldest.began) {
			oldest = a
		}
	}
	return oldest
}

// silenceFor is how long another request has to be silent in service to be the control of an answer
// that took so long: what takes as long on both transports does not take the same each time.
func silenceFor(took time.Duration) time.Duration { return max(2*took, headStart) }

// probedAt is when s.probe has been silent for long enough: to be the control of what the
// candidate has answered, or else to make room for the next.
func (c *Client) probedAt(s *suspect) time.Time {
	p, silence := s.probe, headStart
	if m := c.standOf(p.Call).servedBefore(p); m != nil {
		silence = silenceFor(m.took)
	}
	return s.unlessExcused(p, p.start.Add(silence))
}

// probed: the probe of s has been silent for long enough.
func (c *Client) probed(now time.Time, s *suspect) {
	p := s.probe
	st := c.standOf(p.Call)
	m := st.servedBefore(p)
	s.probe = nil
	if m != nil && !p.held && !st.refused {
		c.proveServed(now, st, p.Call.Method)
	}
}

// trusts is the instant from which on an attempt like t, which was answered, is a control of t. An
// attempt that began before t may have met an outage of the upstream that was over when t began,
// unless a candidate had been answered by then (up). A failure is the control of one answer, so it
// began after the latest proof.
func (s *suspect) trusts(t *Attempt) Instant {
	return min(max(s.up, s.proved), t.began)
}

// controlFirst: where a proof takes several answers, the control goes first every second
// time. Otherwise, if good and bad requests take turns, the trials could get the good ones
// and the controls the bad ones, and a candidate that is no better would look proven.
func (c *Client) controlFirst(now time.Time, s *suspect, method string) bool {
	return s.turned() && !s.hasLike(now, method, s.proved, headStart)
}

// turned reports whether it is the control's turn to be first.
func (s *suspect) turned() bool { return s.proofs%2 == 1 }

// An answeredMethod is a method of which the candidate answered a request whose control is still
// to come.
type answeredMethod struct {
	method string
	began  Instant       // from then on an attempt can be that control
	took   time.Duration // the answer
	until  time.Time     // the control is waited for; zero: without end
}

// hasServed reports whether a request of this method was answered whose control is still to come.
func (st *stand) hasServed(method string) bool {
	return st != nil && slices.ContainsFunc(st.served, func(m answeredMethod) bool { return m.method == method })
}

// servedBefore returns the answer of the candidate of which a, which is in service, can be the
// control: a has the same method, and began late enough (serves). It returns nil if there is none.
func (st *stand) servedBefore(a *Attempt) *answeredMethod {
	if st == nil {
		return nil
	}
	for i := range st.served {
		if m := &st.served[i]; m.method == a.Call.Method && a.began >= m.began {
			return m
		}
	}
	return nil
}

// failsAsControl reports whether a, which has failed in service, can be the control of an answer that took
// so long. What had waited for its place until little of its caller's time was left has to have been silent
// for twice as long, too, and for 100 ms.
func (a *Attempt) failsAsControl(now time.Time, o Outcome, took time.Duration) bool {
	return o.Verdict != Neutral && (!o.cutShort() || a.waited(now) >= 2*took+answerGap)
}

// proveServed: the control of a request that the candidate has answered failed, or stayed
// silent. That answer is a proof, or one of those that a proof takes.
func (c *Client) proveServed(now time.Time, st *stand, method string) {
	st.served = nil
	c.prove(now, st, &Attempt{Call: &Call{Authority: st.authority, Method: method}})
}

// toBelieve returns the first answer in st.served that may yet be believed; nil: there is none.
func (st *stand) toBelieve() *answeredMethod {
	for i := range st.served {
		if m := &st.served[i]; !m.until.IsZero() {
			return m
		}
	}
	return nil
}

// believe: answer m of the candidate has waited for its control for doubtFor. It is a proof, unless
// something else was answered meanwhile, in service or by a fallback, that began late enough to be the
// control of m.
func (c *Client) believe(now time.Time, st *stand, m *answeredMethod) {
	m.until = time.Time{}
	if c.answered < m.began {
		c.proveServed(now, st, m.method)
	}
}
