package respawn

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/gate"
	"github.com/respawnhttp/respawn/internal/history"
)

// A State is the health of a client in one word.
type State string

const (
	// StateHealthy: the client serves, and nothing has tripped.
	StateHealthy State = "healthy"
	// StateRecovering: the client serves what the current transport can. A fresh one is
	// being tried, or will be when the backoff allows; or it is in service, and an
	// authority that was down has not answered since.
	StateRecovering State = "recovering"
	// StateFailing: the client can serve nobody for now. Three things hold: the
	// transport has ended, or an authority is tripped and the factory gave no transport
	// to try; the backoff forbids the next attempt; and neither the current transport
	// nor the fallback, which was asked, has answered anybody since. The state lasts only
	// until the backoff allows an attempt. Then it is StateRecovering, since otherwise a
	// readiness probe would keep away the request that starts the next recreation.
	StateFailing State = "failing"
	// StateClosed: the client was closed.
	StateClosed State = "closed"
)

// Health is a snapshot of one client. It holds hosts and kinds of errors,
// never paths, headers or error texts. In JSON all durations are in seconds.
type Health struct {
	Name        string        `json:"name"`
	State       State         `json:"state"`
	Started     time.Time     `json:"started"`               // when New made the client
	Generation  uint64        `json:"generation"`            // the one in service, counted from 1; 0: there is no transport yet
	Age         time.Duration `json:"-"`                     // of that generation; age_seconds in JSON
	InFlight    int64         `json:"in_flight"`             // requests in flight, including those on draining generations
	Draining    int           `json:"draining"`              // retired generations with requests in flight
	Recreating  bool          `json:"recreating"`            // a recreation is under way
	NextAttempt time.Time     `json:"next_attempt,omitzero"` // the backoff allows no recreation before; zero: none is needed, or the next request starts it

	DrainingGenerations []GenerationHealth `json:"draining_generations,omitempty"` // the oldest first

	// Since New.
	Failures   int64 `json:"failures"`   // attempts that failed in service
	Replays    int64 `json:"replays"`    // times that a request, or a copy of it, was sent again
	Outages    int   `json:"outages"`    // that have begun
	Promotions int   `json:"promotions"` // recreations that brought a new generation
	Rejections int   `json:"rejections"` // recreations that did not

	Streaks       []StreakHealth   `json:"streaks,omitempty"`        // by authority, sorted; empty when all is well
	Late          []LateHealth     `json:"late,omitempty"`           // requests that wait for longer than their patience, by authority, sorted
	LastFailure   *FailureHealth   `json:"last_failure,omitempty"`   // nil: none since New
	LastRejection *RejectionHealth `json:"last_rejection,omitempty"` // nil: none since New
	OpenOutages   []OutageHealth   `json:"open_outages,omitempty"`   // outages that still last, in the order in which they began
	EndedOutages  []OutageHealth   `json:"ended_outages,omitempty"`  // at most 64, in the order in which they ended

	Options OptionsHealth `json:"options"` // in force
}

// MarshalJSON gives the durations as seconds.
func (h Health) MarshalJSON() ([]byte, error) { return json.Marshal(h.fields()) }

// healthFields is Health without its methods, for what embeds it in JSON.
type healthFields Health

type healthJSON struct {
	healthFields
	Age float64 `json:"age_seconds"`
}

func (h Health) fields() healthJSON { return healthJSON{healthFields(h), h.Age.Seconds()} }

// StreakHealth is the streak of one authority.
type StreakHealth struct {
	Authority string    `json:"authority"` // scheme://host:port
	Failures  int       `json:"failures"`
	Stalls    int       `json:"stalls"`
	Tripped   bool      `json:"tripped"`
	Since     time.Time `json:"since"` // the first failure
}

// LateHealth counts the requests to one authority that have waited without an answer
// for longer than the patience that was known when they began. None of them has failed.
type LateHealth struct {
	Authority string        `json:"authority"` // scheme://host:port
	Waiting   int           `json:"waiting"`   // requests
	Longest   time.Duration `json:"-"`         // the longest wait among them; longest_seconds in JSON
	Patience  time.Duration `json:"-"`         // as learned for the authority by now; patience_seconds in JSON
}

// MarshalJSON gives the durations as seconds.
func (l LateHealth) MarshalJSON() ([]byte, error) {
	type fields LateHealth // without this method
	return json.Marshal(struct {
		fields
		Longest  float64 `json:"longest_seconds"`
		Patience float64 `json:"patience_seconds"`
	}{fields(l), l.Longest.Seconds(), l.Patience.Seconds()})
}

// GenerationHealth is a retired generation with requests in flight.
type GenerationHealth struct {
	Generation uint64    `json:"generation"` // 0: a rejected candidate whose answer is still being read
	InFlight   int64     `json:"in_flight"`
	Since      time.Time `json:"since"` // when it was retired
}

// FailureHealth is the last failure that counted against a transport.
type FailureHealth struct {
	Time      time.Time `json:"time"`
	Authority string    `json:"authority"`
	Reason    Trigger   `json:"reason"`
}

// RejectionHealth is the last rejection of a fresh transport.
type RejectionHealth struct {
	Time      time.Time `json:"time"`
	Authority string    `json:"authority,omitempty"` // the authority that it was built for; "" if none
	Reason    ErrorType `json:"reason"`
}

// OutageHealth is an outage of one authority, or of the whole client if its transport
// had ended. The outage begins with the first failure and ends with the first answer in
// service, across promotions.
type OutageHealth struct {
	Authority string        `json:"authority,omitempty"` // "" if it was the transport that had ended
	Trigger   Trigger       `json:"trigger"`             // of the failure that tripped it
	Begin     time.Time     `json:"begin"`
	End       time.Time     `json:"end,omitzero"`       // zero: it lasts
	Duration  time.Duration `json:"-"`                  // until now if it lasts; duration_seconds in JSON
	EndedBy   OutageEnd     `json:"ended_by,omitempty"` // "" while it lasts
}

// MarshalJSON gives the duration as seconds.
func (o OutageHealth) MarshalJSON() ([]byte, error) {
	type fields OutageHealth // without this method
	return json.Marshal(struct {
		fields
		Duration float64 `json:"duration_seconds"`
	}{fields(o), o.Duration.Seconds()})
}

// OptionsHealth are the options in force. In JSON the durations have names that end
// in _seconds.
type OptionsHealth struct {
	Threshold       int           `json:"threshold"`
	StallThreshold  int           `json:"stall_threshold"` // 0: stalls never trip
	StallSpan       time.Duration `json:"-"`
	Patience        time.Duration `json:"-"` // 0: only deadlines that pass count
	RecreateTimeout time.Duration `json:"-"`
	WaitForReady    time.Duration `json:"-"`        // 0: not at all
	MaxAge          time.Duration `json:"-"`        // 0: no limit
	DrainTimeout    time.Duration `json:"-"`        // 0: no limit
	Replay          string        `json:"replay"`   // idempotent, unsent or never
	Fallback        bool          `json:"fallback"` // there is one
}

// MarshalJSON gives the durations as seconds.
func (o OptionsHealth) MarshalJSON() ([]byte, error) {
	type fields OptionsHealth // without this method
	return json.Marshal(struct {
		fields
		StallSpan       float64 `json:"stall_span_seconds"`
		Patience        float64 `json:"patience_seconds"`
		RecreateTimeout float64 `json:"recreate_timeout_seconds"`
		WaitForReady    float64 `json:"wait_for_ready_seconds"`
		MaxAge          float64 `json:"max_age_seconds"`
		DrainTimeout    float64 `json:"drain_timeout_seconds"`
	}{
		fields(o), o.StallSpan.Seconds(), o.Patience.Seconds(), o.RecreateTimeout.Seconds(), o.WaitForReady.Seconds(), o.MaxAge.Seconds(), o.DrainTimeout.Seconds(),
	})
}

// Health returns a snapshot of the client. It never blocks, whatever a recreation is
// doing, unless the transport's own Err method blocks. It is safe for concurrent use.
func (rt *RecoveringRoundTripper) Health() Health {
	ended := false
	if g := rt.gate.Current(); g != nil {
		ended = g.Ended()
	}
	var p past
	v := rt.gate.ViewWith(func() { p = rt.records.past() })
	h := Health{Name: rt.cfg.Name, State: stateOf(v, ended)}
	if v.Serving == nil {
		return h // the zero value
	}
	h.Started, h.Options = rt.started, optionsOf(&rt.cfg)
	h.Generation, h.Recreating, h.NextAttempt = v.Serving.Number, v.Candidate, v.NextBuild
	if h.Generation > 0 {
		h.Age = v.Time.Sub(v.Serving.Born)
	}
	h.InFlight, h.DrainingGenerations = inFlightOf(v)
	h.Draining = len(h.DrainingGenerations)
	h.Failures, h.Replays = rt.records.failures.Load(), rt.records.replays.Load()
	h.Outages, h.Promotions, h.Rejections = p.outages, p.promoted, p.rejected
	if f := v.Failure; !f.Time.IsZero() {
		h.LastFailure = &FailureHealth{f.Time, f.Authority.String(), Trigger(f.Trigger)}
	}
	if r := p.last; !r.at.IsZero() {
		h.LastRejection = &RejectionHealth{r.at, r.authority.String(), r.kind}
	}
	for _, a := range v.Authorities {
		h.Streaks = append(h.Streaks, StreakHealth{a.Authority.String(), a.Failures, a.Stalls, a.State == core.Tripped, a.Since})
	}
	slices.SortFunc(h.Streaks, func(a, b StreakHealth) int { return cmp.Compare(a.Authority, b.Authority) })
	for _, l := range rt.gate.Waits.Late() {
		h.Late = append(h.Late, LateHealth{l.Authority.String(), l.Waiting, l.Longest, l.Patience})
	}
	slices.SortFunc(h.Late, func(a, b LateHealth) int { return cmp.Compare(a.Authority, b.Authority) })
	h.OpenOutages, h.EndedOutages = outagesOf(p.open, v.Time), outagesOf(p.ended, v.Time)
	return h
}

// inFlightOf counts what is in flight, on the candidate, too, and tells of the retired
// generations among it.
func inFlightOf(v gate.View) (n int64, draining []GenerationHealth) {
	if !v.Closed {
		n = v.Serving.InFlight()
	}
	if v.OnTrial != nil {
		n += v.OnTrial.InFlight()
	}
	for _, old := range v.Retired {
		if m := old.InFlight(); m > 0 {
			n += m
			draining = append(draining, GenerationHealth{old.Number, m, old.Since})
		}
	}
	return n, draining
}

func outagesOf(outages []history.Outage, now time.Time) []OutageHealth {
	var all []OutageHealth
	for _, o := range outages {
		all = append(all, OutageHealth{o.Authority.String(), Trigger(o.Trigger), o.Begin, o.End, o.Lasts(now), OutageEnd(o.EndedBy)})
	}
	return all
}

func optionsOf(c *config) OptionsHealth {
	return OptionsHealth{
		Threshold: c.Threshold, StallThreshold: c.Stalls, StallSpan: c.StallSpan, Patience: c.Patience, RecreateTimeout: c.RecreateTimeout,
		WaitForReady: c.WaitForReady, MaxAge: c.MaxAge, DrainTimeout: c.DrainTimeout,
		Replay: c.Replay.String(), Fallback: c.Fallback != nil,
	}
}

// stateOf says in one word how a client is, which the core has decided, in
// internal/core/health.go. ended: the transport says so, if nobody has told the core yet.
func stateOf(v gate.View, ended bool) State {
	switch {
	case v.Closed || v.Serving == nil:
		return StateClosed
	case v.Failing:
		return StateFailing
	case v.Recovering || ended && !v.Absent: // a start is no outage
		return StateRecovering
	}
	return StateHealthy
}

// Check returns nil if the client is fit to serve, which includes the time while it
// recovers. Otherwise it returns an error that says why not. Check has the signature
// that health libraries expect. It blocks only where Health does, and ignores its context.
func (rt *RecoveringRoundTripper) Check(context.Context) error {
	switch h := rt.Health(); h.State {
	case StateClosed:
		return ErrClosed
	case StateFailing:
		reason := ErrorType(TriggerTransportEnded)
		// A rejection from before the oldest open outage says nothing about that outage.
		if r := h.LastRejection; r != nil && (len(h.OpenOutages) == 0 || !r.Time.Before(h.OpenOutages[0].Begin)) {
			reason = r.Reason
		}
		return build.NewKindError(string(reason), fmt.Sprintf("respawn: %s is failing: %s", h.Name, reason))
	}
	return nil
}
