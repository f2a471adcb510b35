package core

import "time"

// A Kind says how often a request may be sent. Each kind allows what the kinds before it
// allow.
type Kind uint8

const (
	Sealed     Kind = iota // is never sent again, not even unsent
	Once                   // may be processed by whoever gets it: is sent again only if it is unsent
	Repeatable             // may be sent again
	Copyable               // may be in two places at once
)

// A Call is one request, over all its attempts. The shell fills in the exported
// fields and hands the same Call to every event about it.
type Call struct {
	Authority Authority
	Method    string
	Kind      Kind
	Deadline  time.Time     // its caller's; zero: none
	Ready     time.Duration // how long it waits for ready; 0: not at all
	Ticket    any           // the shell's
	Witness   any           // the shell's, comparable, for whoever wants to know what led to a recreation; nil: there is none

	main   *Attempt // under way for its caller; nil: it asks, or waits
	copy   *Attempt // under way beside main
	behind *Attempt // the first that waits on a transport that was replaced, beside what the call does next

	since     time.Time // when it first asked in this round, or its first attempt began; zero where nobody looked
	attempts  int       // of this round
	tripped   bool      // its authority was, or the transport had ended, while it was under way
	forgiven  bool      // one that could not trip was not counted
	left      bool      // its caller has gone, which its copy told; main has not told yet
	failure   failure
	waitedFor uint64    // the candidate that it has waited for; it waits for no other one
	decidedBy time.Time // until then it waits for others to trip its authority, having no attempt left (waitForTrip)
	readyBy   time.Time // zero until it first waits for ready
	waiting   waiting
}

// A failure is what a call's latest attempt came to. The zero value is none.
type failure struct {
	on    uint64        // the transport
	began Instant       // the attempt
	at    Instant       // the failure
	took  time.Duration // from the attempt to the failure
	apart bool          // it had no connection in the end
	again bool          // the request may be sent again
	stall bool
	slow  bool // it took long, or was a stall
	first bool // it was on a candidate, and the transport in service was not asked before
}

func (f failure) none() bool { return f.on == 0 }

// maySend reports whether the request may still be sent: it never was, or what
// came of it allows it.
func (q *Call) maySend() bool { return q.failure.none() || q.failure.again }

// failedElsewhere reports whether q may go again, and the transport in service has not failed
// q yet: q failed on a transport that was replaced by this one, or on a candidate that it tried
// before the transport in service.
func (q *Call) failedElsewhere(current uint64) bool {
	f := q.failure
	return f.again && (f.on < current || f.on > current && f.first)
}

// fresh reports whether nothing of this round has failed yet.
func (q *Call) fresh() bool { return q.failure.none() }

// Adopt makes an attempt known that the healthy path began on a transport at the
// given instant. start is zero if nobody looked at the clock.
func (q *Call) Adopt(on uint64, began Instant, start time.Time) *Attempt {
	q.main, q.since = &Attempt{Call: q, On: on, began: began, start: start}, start
	q.attempts++
	return q.main
}

// AdoptWaiting makes known an attempt of the healthy path that still waits for its answer.
// Its caller waits in the transport, so it can have the answer of another attempt only once
// this one is over.
func (q *Call) AdoptWaiting(on uint64, began Instant, start time.Time) *Attempt {
	a := q.Adopt(on, began, start)
	a.bound = true
	return a
}

// Flying reports whether q has something under way, apart from what it left behind: it
// does not ask what to do next.
func (q *Call) Flying() bool { return q.main != nil || q.copy != nil }

// An Outcome is how an attempt failed, as the evidence was read.
type Outcome struct {
	Verdict Verdict
	Trigger string        // the failure's kind
	Unsent  bool          // nothing of it can have reached anyone
	Apart   bool          // it had no connection in the end, though it may have been sent on one before
	Again   bool          // the request may be sent again
	Untyped bool          // nobody watched, and its error says nothing by itself: it cannot trip
	Unseen  bool          // a stall, and nobody saw what it waited for: the request may go again, once
	Left    bool          // its caller has gone
	Queued  time.Duration // how long it had waited for a place in its transport's own pool
	Silence time.Duration // how long the transport alone kept the caller waiting before it canceled; 0: unknown, or it did not cancel
	Lost    bool          // the transport did not return, which speaks against a candidate alone; if Neutral, the attempt was not sent
}

// IsFailure reports whether the attempt has failed, as far as operators are told: a stall that nobody
// watched may have been a wait for a place, which is a reason to look closer, and nobody's failure.
func (o Outcome) IsFailure() bool { return o.Verdict == Failure || o.Verdict == Stall && !o.Untyped }

// notSent reports whether the attempt ended before its transport had it.
func (o Outcome) notSent() bool { return o.Lost && o.Verdict == Neutral }

// cutShort reports whether the attempt had less than its caller's time, since it had waited for a place.
func (o Outcome) cutShort() bool { return o.Queued >= answerGap && o.Verdict == Stall }

// A Verdict is what an attempt's end says of its transport.
type Verdict uint8

const (
	Neutral Verdict = iota
	Failure
	Stall
)
