package core

import (
	"slices"
	"time"
)

// A role is what an attempt is made for.
type role uint8

const (
	inService  role = iota // on the transport in service
	onTrial                // on a candidate, for its caller
	onTry                  // the same, of a planned candidate, by an authority that is well
	asCopy                 // on a candidate, beside its control
	asPlanned              // the same, of a planned candidate
	leftBehind             // on a transport that was replaced, beside what its call does next
)

// An Attempt is one sending of a call on one transport. Its role changes when its
// candidate is promoted; what happens to it later finds it where it is.
type Attempt struct {
	Call *Call
	On   uint64 // the transport

	role  role
	began Instant
	start time.Time // zero where the healthy path did not look; both are as Handed and Placed say
	over  bool

	// In service.
	bound  bool // its caller has an answer only once it is over
	silent silences
	under  *suspect  // under whose suspicion it began; nil: none
	ripeAt time.Time // when it will have had its head start

	// Of one that the core began: whoever sends the request tells the core.
	held      bool // its transport does not have it yet
	goes      bool // its transport will get it, and those who count replays may have been told
	asked     bool // its transport has told that it looks for a connection, and will tell when it has one
	connected bool // something of it may have been sent
	queued    bool // it waits for a place in its transport's own pool (place.go)

	// Of a trial.
	row     row  // of its authority, when it began
	control bool // the same request failed in service before it
	brief   bool // its caller was about to leave when it began

	// Of a copy that was answered, until its verdict.
	took    time.Duration // from the copy to the answer
	judgeAt time.Time

	prev, next *Attempt // in the list that it is in
	in         *attempts
}

func (a *Attempt) moveTo(r role) { a.role = r }

// silences are how often an attempt was a stall of a streak while it waited. Of one
// whose transport was replaced they are a streak of their own.
type silences struct {
	in    *suspect // nil: the attempt's own
	n     int
	first time.Time
}

func (a *Attempt) silentIn(now time.Time, s *suspect) {
	if a.silent.in != s || a.silent.n == 0 {
		a.silent = silences{in: s, first: now}
	}
	a.silent.n++
}

// unsent reports whether a's request may be sent elsewhere as if a had not been sent: a had
// no connection, and its request may be sent again, or is once only and does not go to its
// transport yet, or that has told that it looks for a connection. A transport that tells nothing,
// as net/http's does for a registered protocol, may have sent a.
func (a *Attempt) unsent() bool {
	return !a.connected && (a.Call.Kind >= Repeatable || a.Call.Kind == Once && (a.stays() || a.asked))
}

// stays reports whether a does not go to its transport yet.
func (a *Attempt) stays() bool { return a.held && !a.goes }

// looks reports whether a still looks for a connection.
func (a *Attempt) looks() bool { return a.asked && !a.connected }

// Copy reports whether a is beside another attempt of its call.
func (a *Attempt) Copy() bool { return a.role != inService && !a.onCandidate() }

// onCandidate reports whether a was sent on a candidate for its caller, and not as a copy.
func (a *Attempt) onCandidate() bool { return a.role == onTrial || a.role == onTry }

// waited is how long a has been under way; 0 where nobody knows.
func (a *Attempt) waited(now time.Time) time.Duration {
	if a.start.IsZero() {
		return 0
	}
	return now.Sub(a.start)
}

// callBack cancels an attempt. Its call is as if the attempt had not been made: it
// asks again, if it has nothing else under way and its caller still waits. Who
// waited for what it tries goes on.
func (c *Client) callBack(a *Attempt) {
	c.uncount(a)
	if st := c.detach(a); st != nil {
		c.wake(st.authority)
	}
	if q := a.Call; q.main == nil && q.copy == nil {
		q.failure = failure{}
	}
	if i := slices.Index(c.todo.Copies, a); i >= 0 {
		c.todo.Copies = slices.Delete(c.todo.Copies, i, i+1) // it was not sent yet
		return
	}
	c.todo.Recall = append(c.todo.Recall, a)
}

// uncount: a's call goes elsewhere. If a was on a candidate, or did not go to its transport yet,
// a was no attempt of the call's own.
func (c *Client) uncount(a *Attempt) {
	if a.onCandidate() && a.On != c.current || a.role == inService && a.stays() {
		a.Call.attempts--
	}
}

// callBackAll calls back the trials of an authority that the transport in service
// has answered, but for those that may have been processed. What is planned is tried for its own sake,
// and such a try goes on.
func (c *Client) callBackAll(l *attempts) {
	for a := l.first; a != nil; {
		next := a.next
		if !a.tries() {
			a.remove()
			if a.Copy() || a.unsent() || a.Call.Kind >= Repeatable {
				c.callBack(a)
			}
		}
		a = next
	}
}

// detach takes a, which is over, out of its call and its list. It returns the
// stand whose trial it was; nil if it was none, or is none any more.
func (c *Client) detach(a *Attempt) *stand {
	q := a.Call
	a.over = true
	if q.main == a {
		q.main = nil
	}
	if q.copy == a {
		q.copy = nil
	}
	if q.behind == a {
		q.behind = nil
	}
	if s := c.suspect(q.Authority); s != nil && s.probe == a {
		s.probe = nil
	}
	var on *stand
	if st := c.standOf(q); st != nil && a.in == &st.trials {
		on = st
		if st.holder == a {
			st.holder = nil
		}
		if st.callback == a {
			st.callback = nil
		}
	}
	a.remove()
	return on
}

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
