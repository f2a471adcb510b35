package core

import (
	"slices"
	"time"
)

// A State is how an authority is. One that is well has no entry.
type State uint8

const (
	Suspected State = iota // something failed, and nothing was answered since
	Tripped                // it looks dead: fresh transports are tried
	Healing                // a fresh transport is in service, and has not answered it yet
)

// A row is how an authority's latest counted failure looked. It decides how a trial
// of the authority is made: see the table of trials in trial.go.
type row uint8

const (
	noConnection row = iota // was not sent, as where there is no connection, and failed within a head start
	broke                   // was sent, and failed within a head start
	silent                  // was silent, or took longer than that to fail
)

// A suspect is an authority that is not known to be well.
type suspect struct {
	authority  Authority
	state      State
	since      time.Time // its first failure
	tripped    time.Time // when its outage began; zero: it has none
	tripAt     Instant   // the latest trip
	youngUntil time.Time // until then no other authority's trial delays its next candidate: its outage is young
	trigger    string    // the latest failure's kind
	witnesses  []any

	// When it is forgotten.
	asked  time.Time
	failed time.Time

	// The streak, on the transport in service.
	opened     Instant // when the first attempt counted in it began; 0: nothing is counted
	from       Instant // its first failure: what began later, and is answered, was served since
	failures   int
	counted    Instant // the latest failure that counted
	stalls     int
	firstStall time.Time
	row        row // of the latest that counted

	// Of the attempts that began under suspicion, how many have ended, and failed.
	ended, lost int
	took        time.Duration // the longest that a failure took
	flying      attempts      // in service, begun under suspicion or reported silent

	// Of those that wait for a place in the transport's own pool.
	heldFor      time.Duration // how long the places had been held when it tripped
	excusedUntil time.Time     // until then no such wait is a silence

	// What its trials may go by.
	evidence Instant // the latest failure in service
	refused  Instant // its latest refusal of a candidate
	refusals int     // fresh transports that did not help: refused, or promoted and then failed
	proofs   int     // answers of candidates whose controls were not answered
	missed   int     // trials that failed after the first of those, see mayBeChance
	proved   Instant // the latest of them
	up       Instant // what begins from then on meets an upstream that has answered a candidate; 0: none has
	methods  []methodFailure
	probe    *Attempt  // the control in service of requests that are asked once; nil: none is under way
	probeAt  time.Time // during a build, before which the next is not sent

	// Copies of its requests.
	copyGap time.Duration // from the latest to the next
	copyAt  time.Time     // before which none is made
	ripeAt  time.Time     // before which none of flying has had its head start
	offerAt time.Time     // when a copy may be due; zero: when something happens

	busy      bool      // it is in the client's list of those
	controlAt time.Time // with a fallback: when one was last left to the transport in service (controlDue)
	strays    attempts  // sent on a candidate that is over for this authority
}

// A methodFailure is when the youngest attempt of a method began that failed in service.
type methodFailure struct {
	method string
	began  Instant
}

func (s *suspect) moveTo(to State) { s.state = to }

// outage reports whether its callers have something to recover from.
func (s *suspect) outage() bool { return s.state != Suspected }

func (c *Client) suspect(a Authority) *suspect { return c.known[a] }

func (c *Client) suspectOrNew(now time.Time, a Authority) *suspect {
	if s := c.suspect(a); s != nil {
		return s
	}
	if len(c.suspects) >= maxSuspects {
		c.evict(now)
	}
	s := &suspect{authority: a.Clone(), since: now, asked: now}
	c.suspects, c.known[s.authority] = append(c.suspects, s), s
	c.sweepAt = first(c.sweepAt, now.Add(suspectFor))
	c.changes++
	return s
}

// evict makes room. While outages have more than three quarters of the places, the one that
// has been quiet for longest goes, so that an authority that has just begun to fail is counted.
// Otherwise it is the suspicion with the fewest failures, and of equals the quietest, so that a
// flood of invented names that fail once cannot push out an outage.
func (c *Client) evict(now time.Time) {
	crowded := c.outages() > maxSuspects-maxSuspects/4
	least := slices.MinFunc(c.suspects, func(a, b *suspect) int {
		if a.outage() != b.outage() {
			if a.outage() == crowded {
				return -1
			}
			return 1
		}
		if d := a.failures + a.stalls - b.failures - b.stalls; d != 0 && !a.outage() {
			return d
		}
		return a.asked.Compare(b.asked)
	})
	if least.outage() {
		c.recent.over(now, least.tripped, least.authority) // if it trips again, that is no news
	}
	c.forget(now, least)
	if c.cand != nil {
		c.cand.forget(least.authority)
	}
}

// outages returns how many of the suspects are outages.
func (c *Client) outages() (n int) {
	for _, s := range c.suspects {
		if s.outage() {
			n++
		}
	}
	return n
}

// expiry is when s is forgotten if nothing happens.
func (s *suspect) expiry() time.Time {
	if s.outage() {
		return s.asked.Add(outageFor)
	}
	return s.failed.Add(suspectFor)
}

// sweep forgets the suspects whose time is over, and notes when that may be so of the next one.
func (c *Client) sweep(now time.Time) {
	c.sweepAt = time.Time{}
	for _, s := range slices.Clone(c.suspects) {
		at := s.expiry()
		switch {
		case now.Before(at):
			c.sweepAt = first(c.sweepAt, at)
		case s.awaited():
			c.sweepAt = first(c.sweepAt, now.Add(suspectFor)) // its next silence may be a learned patience away
		default:
			c.forget(now, s)
		}
	}
}

// awaited reports whether something still waits for s that was a stall of its streak.
func (s *suspect) awaited() bool {
	for a := s.flying.first; a != nil; a = a.next {
		if a.silent.in == s {
			return true
		}
	}
	return false
}

// attend to s: it may have copies, or a probe.
func (c *Client) attend(s *suspect) {
	if !s.busy {
		s.busy = true
		c.busy = append(c.busy, s)
	}
}

// acquit: s is well. Its outage, if it was one, is over.
func (c *Client) acquit(now time.Time, s *suspect) {
	c.drop(s)
	if s.outage() {
		c.recent.over(now, s.tripped, s.authority)
		if s.refusals > 0 {
			c.recent.use(now, s.authority).down = now
		}
		c.report(now, Report{What: HasRecovered, About: s.about(), Kind: s.endedBy(), Over: now})
	}
	c.noLongerNeeded(now, s, CurrentRecovered)
}

// endedBy says what an answer that ends the outage of s came by.
func (s *suspect) endedBy() string {
	switch {
	case s.state == Healing:
		return BySwap
	case s.refusals > 0:
		return ByUpstream
	}
	return ByCurrent
}

// forget drops s: its time is over (expiry), or it makes room for another (evict).
func (c *Client) forget(now time.Time, s *suspect) {
	c.drop(s)
	if s.outage() {
		c.report(now, Report{What: WasForgotten, About: s.about(), Kind: ByOblivion, Over: s.asked})
	}
	c.noLongerNeeded(now, s, Untried)
}

// abandonOutages: the client is closed, and nobody will see them end.
func (c *Client) abandonOutages(now time.Time) {
	for _, s := range c.suspects {
		if s.outage() {
			c.report(now, Report{What: WasForgotten, About: s.about(), Kind: ByClose, Over: now})
		}
	}
	if c.ended && !c.absent {
		c.report(now, Report{What: WasForgotten, About: c.aboutEnded(), Kind: ByClose, Over: now})
	}
}

func (c *Client) drop(s *suspect) {
	c.suspects = slices.DeleteFunc(c.suspects, func(o *suspect) bool { return o == s })
	c.busy = slices.DeleteFunc(c.busy, func(o *suspect) bool { return o == s })
	delete(c.known, s.authority)
	if len(c.suspects) == 0 {
		c.sweepAt = time.Time{}
	}
	c.changes++
	for a := s.flying.first; a != nil; a = s.flying.first {
		a.remove()
	}
}

// renew: a fresh transport is in service, so all streaks begin anew. An outage
// lasts until its first answer.
func (c *Client) renew() {
	kept := make([]*suspect, 0, len(c.suspects))
	for _, s := range c.suspects {
		if !s.outage() {
			continue
		}
		healing := &suspect{
			authority: s.authority, since: s.since, tripped: s.tripped, trigger: s.trigger,
			witnesses: s.witnesses, asked: s.asked, failed: s.failed,
		}
		healing.moveTo(Healing)
		kept = append(kept, healing)
	}
	c.suspectOnly(kept)
}

// suspectOnly replaces all suspects.
func (c *Client) suspectOnly(these []*suspect) {
	c.suspects, c.busy = these, nil
	clear(c.known)
	for _, s := range these {
		c.known[s.authority] = s
	}
	if len(these) == 0 {
		c.sweepAt = time.Time{}
	}
	c.changes++
}
