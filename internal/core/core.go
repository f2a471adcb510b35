// Package core decides what becomes of a client's requests and transports: it has every
// rule, and nothing else. It is pure: the shell tells it one event at a time, with the
// time of the event. The core answers with decisions, which the shell performs.
//
// An authority, and a candidate:
//
//	          failure            threshold             promotion
//	(well) ───────────▶ Suspected ────────▶ Tripped ─────────────▶ Healing
//	   ▲                    │                  │  ◀── threshold ──    │
//	   └────────────────────┴───── answer ─────┴──────────────────────┘
//
//	(none) ── due, by hand, by age ──▶ Building ── built ──▶ Ready ── proof ──▶ in service
//	   ▲                                  │                    │
//	   └──── not built, not wanted ───────┴── refused by all who wanted it, untried, superseded
//
// What a call does next:
//
//	the authority | the candidate                          | the call                           | it does
//	--------------+----------------------------------------+------------------------------------+-------------------------------
//	any, and the  | Building                               | new, or may go again               | Wait; with a fallback Divert,
//	 one in       |                                        |                                    |  but for who started the build
//	 service ended| none, and due                          |                                    | build, and Wait
//	              | none, not due                          |                                    | Divert; else Send once; GiveUp
//	not tripped   | planned, Ready, untried by it          | copyable, authority not suspected  | Send, and a copy
//	              | the same, half its time gone           | repeatable, or once only           | Try first (plan.go)
//	              | any                                    | new, or may go again               | Send; else GiveUp
//	              | any                                    | no attempt left, others may trip it| Wait for a head start, once
//	tripped       | Ready, not refused, not held back      | has its control                    | Try
//	              | the same                               | has evidence, no control yet       | Send (the control)
//	              | Building, for a second                 | new, asked once, may not see it end| Send, one a second
//	              | Building, or held back                 | has evidence, its wait is worth it | Wait; if a fallback has to serve it
//	              |                                        |                                    |  in time, for half of its time
//	              | Ready, tried by others of it, none of  | took long to fail, it being there  | Wait for a head start, once; else as below
//	              |  whom has a connection                 |                                    |
//	              | none, or refused and free; due         | has evidence                       | build, and Wait
//	              | any                                    | new, fallback, no control due      | Divert
//	              | any                                    | new, or failed on a replaced one   | Send; silent and copyable: a copy when ripe
//	              | any                                    | else                               | Divert if it may go again; GiveUp
//	GiveUp of one that waits for ready: Wait, then a new round
//
// A client without a transport yet behaves as if its transport had ended, except that
// nothing is sent.
//
// A call has evidence if an attempt of its own in service failed since its authority
// last refused a candidate; if the call is asked once, and has not failed yet, such an
// attempt of another call will do. A call is held back by a trial of its authority that
// is younger than a head start. A candidate is free if it may give way. A wait is worth
// it if the call has not waited for another candidate before. A call is ripe when its
// head start is over.
//
// Each rule is in a file that is named after it and opens with it: streak.go (what
// counts), trial.go and copy.go (who tries a candidate), proof.go, like.go and slow.go (what
// proves one), sharing.go (several authorities that try one), candidate.go (what becomes of it),
// plan.go (what is planned), promote.go (what a promotion does to those in flight), pace.go
// (when the next is built), wait.go (who waits, and for how long), place.go (who waits for a place in its
// own pool), health.go (what operators see). table.go is the table above, as code. events.go and clock.go take what happened
// there, and build.go what became of a build. call.go, attempt.go, suspect.go, memory.go and
// patience.go are what all of them share. Three questions are answered elsewhere under internal: what an
// error says (evidence/verdict.go), what may be sent again (body/replay.go), and when a
// transport is closed (generation/retire.go).
package core

import "time"

// An Instant orders events causally. What advances it is listed in streak.go, after when a
// streak ends.
type Instant uint64

// A Client is the state of one client. It is not safe for concurrent use: the
// shell's lock guards it.
type Client struct {
	rules  Rules
	now    Instant
	closed bool

	// The transport in service.
	current uint64
	ended   bool // it says so itself, or there is none yet
	absent  bool // there is none yet: the first is to be built
	endedAt time.Time
	endedIn Instant   // when it ended: an answer to what began later shows that somebody is served
	agedAt  time.Time // when it is due to be replaced by age; zero: it is not

	suspects []*suspect             // the first to fail first
	known    map[Authority]*suspect // the same, to be found
	busy     []*suspect             // those of them that may have copies, or a probe
	sweepAt  time.Time              // when the first may be forgotten; zero: there is none
	changes  uint64                 // of who is among them
	answered Instant                // when the latest attempt began that was answered in service, or by a fallback
	diverted Instant                // when the latest request went to the fallback; 0: none has
	unbuilt  Instant                // when the factory gave no transport; 0: that is not how the latest candidate went
	recent   recent
	patience patience

	cand     *candidate // at most one
	serial   uint64     // of transports: each candidate has its own number
	pace     pace
	planPace pace
	promoted time.Time // the latest promotion for need
	orders   []*Order

	waiters   []*Call
	condemned attempts // waits on a transport that was replaced, and is called back or left behind
	dead      uint64   // the latest transport that was replaced for need; 0: none was

	todo    Todo
	reports uint64
}

// A Todo is what the shell performs, in this order.
type Todo struct {
	Promote uint64      // put this candidate in service
	Condemn []Authority // their requests that wait on what it replaces, and that the core does not know yet, are made known by Condemned
	Retire  []uint64    // let these candidates go
	Cancel  uint64      // call off this candidate's build
	Build   *Build      // start the factory
	Copies  []*Attempt  // send a copy of the call: on the candidate or, as the control of one that was answered, in service
	Recall  []*Attempt  // cancel; a call with nothing else under way asks Next
	Part    []*Call     // its attempt goes on, and is left behind: the call asks Next beside it
	Reports []Report
	Done    []*Order
	Wake    []*Call // these ask Next
}

// A Build is a candidate to be built.
type Build struct {
	ID      uint64
	Trigger string
	Planned bool
	Need    About         // whom it is built for
	Asked   *Call         // who asked for it; nil: its age, an order, or the end of the transport
	Delay   time.Duration // the interval that was waited for it
	Epoch   uint64        // of the pace: another one takes a new policy
}

// New returns the state of a client whose first transport has number 1 and may
// serve for age; 0 is for ever.
func New(r Rules, now time.Time, age time.Duration) *Client {
	c := &Client{rules: r, now: 1, current: 1, serial: 1, known: make(map[Authority]*suspect)}
	c.patience.least = r.Patience
	if age > 0 {
		c.agedAt = now.Add(age)
	}
	return c
}

// NewAbsent returns the state of a client that has no transport yet, which is as if
// its transport had ended, but that it is no outage and nothing is sent: the first
// request, or order, has one built.
func NewAbsent(r Rules, now time.Time) *Client {
	c := New(r, now, 0)
	c.ended, c.absent = true, true
	return c
}

// Todo returns what is to be performed since it was last called.
func (c *Client) Todo() Todo {
	t := c.todo
	c.todo = Todo{}
	return t
}

// Clock is the instant that attempts on the healthy path note when they begin.
func (c *Client) Clock() Instant { return c.now }

// Current is the number of the transport in service.
func (c *Client) Current() uint64 { return c.current }

// Candidate is the number of the candidate; 0: there is none.
func (c *Client) Candidate() uint64 {
	if c.cand == nil {
		return 0
	}
	return c.cand.id
}

// Everybody reports whether all requests have to ask Next, and not only those of
// the Suspects.
func (c *Client) Everybody() bool {
	return c.ended || c.cand != nil && c.cand.planned && c.cand.stage == Ready
}

// Suspects returns the set of authorities that are not known to be well.
func (c *Client) Suspects() map[Authority]bool {
	set := make(map[Authority]bool, len(c.suspects))
	for _, s := range c.suspects {
		set[s.authority] = true
	}
	return set
}

// Changes counts how often it has changed who the Suspects are.
func (c *Client) Changes() uint64 { return c.changes }
