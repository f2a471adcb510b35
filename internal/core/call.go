package core

import "time"

// A Kind says how often a request may be sent.
type Kind uint8

const (
	Once       Kind = iota // may be processed by whoever gets it, so by one alone
	Repeatable             // may be sent again
	Copyable               // may be in two places at once
)

// A Call is one request, over all its attempts. The shell fills in the exported
// fields and hands the same Call to every event about it.
type Call struct {
	Authority Authority
	Method    string
	Kind      Kind
	Sealed    bool          // it is never sent again, not even unsent
	Deadline  time.Time     // its caller's; zero: none
	Ready     time.Duration // how long it waits for ready; 0: not at all
	Ticket    any           // the shell's
	Witness   any           // the shell's, for whoever wants to know what led to a recreation; nil: there is none

	main *Attempt // under way for its caller; nil: it asks, or waits
	copy *Attempt // under way beside main

	attempts  int  // of this round
	tripped   bool // its authority was, or the transport had ended, while it was under way
	forgiven  bool // one that could not trip was not counted
	failure   failure
	waitedFor uint64    // the candidate that it has waited for in this outage
	readyBy   time.Time // zero until it first waits for ready
	waiting   waiting
}

// A failure is what a call's latest attempt came to. The zero value is none.
type failure struct {
	on    uint64  // the transport
	began Instant // the attempt
	at    Instant // the failure
	apart bool    // it had no connection in the end
	again bool    // the request may be sent again
	stall bool
	slow  bool // it took long, or was a stall
}

func (f failure) none() bool { return f.on == 0 }

// waiting says what ends a call's wait.
type waiting uint8

const (
	notWaiting waiting = iota
	forVerdict         // whatever happens to a candidate
	forRound           // only time, a promotion and Close
)

// maySend reports whether the request may still be sent: it never was, or what
// came of it allows it.
func (q *Call) maySend() bool { return q.failure.none() || q.failure.again }

// failedBefore reports whether q may go again, and has failed on a transport that was
// replaced by this one: its failure says nothing of what is in service now.
func (q *Call) failedBefore(current uint64) bool { return q.failure.again && q.failure.on < current }

// outOfTime reports whether q has waited for ready for as long as it may.
func (q *Call) outOfTime(now time.Time) bool { return !q.readyBy.IsZero() && !now.Before(q.readyBy) }

// fresh reports whether nothing of this round has failed yet.
func (q *Call) fresh() bool { return q.failure.none() }

// Adopt makes an attempt known that the healthy path began on a transport at the
// given instant. start is zero if nobody looked at the clock.
func (q *Call) Adopt(on uint64, began Instant, start time.Time) *Attempt {
	q.main = &Attempt{Call: q, On: on, began: began, start: start}
	q.attempts++
	return q.main
}

// silences are how often an attempt was a stall of a streak while it waited.
type silences struct {
	in *suspect
	n  int
}

// AdoptWaiting makes known an attempt of the healthy path that waits for its answer
// yet. Its caller waits in the transport, and has another's answer only once the
// attempt is over.
func (q *Call) AdoptWaiting(on uint64, began Instant, start time.Time) *Attempt {
	a := q.Adopt(on, began, start)
	a.bound = true
	return a
}

// Flying reports whether something of q is under way.
func (q *Call) Flying() bool { return q.main != nil || q.copy != nil }

// A role is what an attempt is made for.
type role uint8

const (
	inService role = iota // on the transport that serves
	onTrial               // on a candidate, for its caller
	asCopy                // on a candidate, beside its control
	asPlanned             // the same, of a planned candidate
)

// An Attempt is one sending of a call on one transport. Its role changes when its
// candidate is promoted; what happens to it later finds it where it is.
type Attempt struct {
	Call *Call
	On   uint64 // the transport

	role  role
	began Instant
	start time.Time // zero where the healthy path did not look
	over  bool

	// In service.
	bound  bool // its caller has an answer only once it is over
	silent silences
	under  *suspect  // under whose suspicion it began; nil: none
	ripeAt time.Time // when it will have had its head start

	// Of a trial.
	row       row  // of its authority, when it began
	asked     bool // its transport has told that it looks for a connection, and will tell when it has one
	connected bool // something of it may have been sent
	told      bool // a copy that has ended, since its caller has gone: it is over with its call's main
	control   bool // the same request failed in service before it

	// Of a copy that was answered, until its verdict.
	judgeAt time.Time

	prev, next *Attempt // in the list that it is in
	in         *attempts
}

// unsent reports whether nothing of a was sent, or whether that does not matter. What
// is sealed is not sent again even so. Where the transport tells nothing, as even
// net/http's does not for a registered protocol, a may have been sent.
func (a *Attempt) unsent() bool {
	return !a.connected && !a.Call.Sealed && (a.asked || a.Call.Kind != Once)
}

// Copy reports whether a is beside another attempt of its call.
func (a *Attempt) Copy() bool { return a.role == asCopy || a.role == asPlanned }

// waited is how long a has been under way; 0 where nobody knows.
func (a *Attempt) waited(now time.Time) time.Duration {
	if a.start.IsZero() {
		return 0
	}
	return now.Sub(a.start)
}

// An Outcome is how an attempt failed, as the evidence was read.
type Outcome struct {
	Verdict Verdict
	Trigger string        // the failure's kind
	Unsent  bool          // nothing of it can have reached anyone
	Apart   bool          // it had no connection in the end, though it may have been sent on one before
	Again   bool          // the request may be sent again
	Untyped bool          // nobody watched, and its error says nothing by itself: it cannot trip
	Left    bool          // its caller has gone
	Silence time.Duration // for so long nothing but the transport kept waiting a caller that then left of itself; 0 where nobody knows
	Lost    bool          // the transport did not return: that speaks against a candidate alone
}

// A Verdict is what an attempt's end says of its transport.
type Verdict uint8

const (
	Neutral Verdict = iota
	Failure
	Stall
)

// attempts is a list of attempts, the oldest first. An attempt is in one list at
// most.
type attempts struct {
	first, last *Attempt
	n           int
}

func (l *attempts) add(a *Attempt) {
	a.in, a.prev, a.next = l, l.last, nil
	if l.last == nil {
		l.first = a
	} else {
		l.last.next = a
	}
	l.last = a
	l.n++
}

// remove takes a out of the list that it is in, if any.
func (a *Attempt) remove() {
	l := a.in
	if l == nil {
		return
	}
	if a.prev == nil {
		l.first = a.next
	} else {
		a.prev.next = a.next
	}
	if a.next == nil {
		l.last = a.prev
	} else {
		a.next.prev = a.prev
	}
	a.in, a.prev, a.next = nil, nil, nil
	l.n--
}
