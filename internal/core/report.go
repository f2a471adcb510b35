package core

import "time"

// An Event is what a report tells.
type Event uint8

const (
	HasTripped   Event = iota // an outage begins, or goes on
	HasRecovered              // an outage is over: an answer in service
	WasForgotten              // an outage is over: nobody asks any more
	HasRefused                // an authority's verdict against the candidate
	WasPromoted               // the candidate is in service
	WasRejected               // the candidate is over
)

// The kinds of rejection and refusal that are the core's own. All others are the
// trigger of the failure that decided, or the shell's word for a factory's fault.
const (
	CurrentRecovered = "current_recovered" // the control was answered
	UpstreamSlow     = "upstream_slow"     // the candidate was no faster
	TrialTimeout     = "trial_timeout"
	Untried          = "untried"
	Superseded       = "superseded"
	GivenUp          = "given_up"
	ClosedMeanwhile  = "closed"
)

// What ends an outage.
const (
	BySwap     = "swap"              // the first answer on a fresh transport, which had not tripped again
	ByCurrent  = "current_recovered" // an answer on the transport that it began on
	ByUpstream = "upstream_returned" // an answer on one that had tripped, after fresh transports had failed, too: it was the upstream
	ByOblivion = "forgotten"         // nobody asked any more
	ByClose    = "closed"
)

// The triggers that are the core's own. All others come with a failure.
const (
	Silence        = "silence" // a wait that its caller's deadline did not end
	TransportEnded = "transport_ended"
	Start          = "start" // there was no transport yet
	Manual         = "manual"
	MaxAge         = "max_age"
)

// A Report tells one event. Reports are numbered in the order of what they tell.
type Report struct {
	Seq       uint64
	At        time.Time
	What      Event
	About     About     // the authority that decided; zero if none did
	Candidate uint64    // of refusals, promotions and rejections
	Kind      string    // of refusals and rejections; of an outage that is over, what ended it
	Over      time.Time // when that outage was
}

// About is what is known of an authority, or of the client where its transport
// has ended.
type About struct {
	Authority Authority
	State     State
	Trigger   string
	Since     time.Time // the first failure; zero: there was none
	Tripped   time.Time // the outage's begin; zero: there is none
	Failures  int       // or stalls, of the streak
	Witnesses []any
}

func (s *suspect) about() About {
	return About{
		Authority: s.authority, State: s.state, Trigger: s.trigger, Since: s.since, Tripped: s.tripped,
		Failures: max(s.failures, s.stalls), Witnesses: s.witnesses,
	}
}

func (c *Client) aboutEnded() About {
	if c.absent {
		return About{Trigger: Start} // no outage: nothing has served yet
	}
	return About{State: Tripped, Trigger: TransportEnded, Since: c.endedAt, Tripped: c.endedAt}
}

func (c *Client) report(now time.Time, r Report) {
	c.reports++
	r.Seq, r.At = c.reports, now
	c.todo.Reports = append(c.todo.Reports, r)
}
