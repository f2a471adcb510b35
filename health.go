package respawn

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/respawnhttp/respawn/internal/build"
	"github.com/respawnhttp/respawn/internal/core"
	"github.com/respawnhttp/respawn/internal/gate"
)

// A State says in one word how a client is.
type State string

const (
	// StateHealthy serves; nothing has tripped.
	StateHealthy State = "healthy"
	// StateRecovering serves what the current transport can; a fresh one is
	// being tried, or will be when the backoff allows.
	StateRecovering State = "recovering"
	// StateFailing cannot serve for now: the transport has ended, or an
	// authority is tripped and the factory gave no transport to try, and the
	// backoff forbids the next attempt. It does not last: where a request
	// would start a recreation the state is StateRecovering, or a readiness
	// probe would keep that request away.
	StateFailing State = "failing"
	// StateClosed was closed.
	StateClosed State = "closed"
)

// Health is a snapshot of one client. It holds hosts and kinds of errors,
// never paths, headers or error texts.
type Health struct {
	Name       string        `json:"name"`
	State      State         `json:"state"`
	Generation uint64        `json:"generation"` // in service, from 1; 0: there is no transport yet
	Age        time.Duration `json:"-"`          // of that generation
	InFlight   int64         `json:"in_flight"`  // requests, those on draining generations included
	Draining   int           `json:"draining"`   // retired generations with requests in flight
	Recreating bool          `json:"recreating"` // a recreation is under way

	DrainingGenerations []GenerationHealth `json:"draining_generations,omitempty"` // each of them, the oldest first

	Promotions int `json:"promotions"` // recreations that brought a new generation
	Rejections int `json:"rejections"` // recreations that did not

	Streaks       []StreakHealth `json:"streaks,omitempty"`        // by authority, sorted; empty when all is well
	LastFailure   *FailureHealth `json:"last_failure,omitempty"`   // nil: none since New
	LastRejection ErrorType      `json:"last_rejection,omitempty"` // "" if none since New
}

// StreakHealth is the streak of one authority.
type StreakHealth struct {
	Authority string    `json:"authority"` // scheme://host:port
	Failures  int       `json:"failures"`
	Stalls    int       `json:"stalls"`
	Tripped   bool      `json:"tripped"`
	Since     time.Time `json:"since"` // the first failure
}

// GenerationHealth is a retired generation with requests in flight.
type GenerationHealth struct {
	Generation uint64    `json:"generation"` // 0: a candidate that was rejected while its answer is still read
	InFlight   int64     `json:"in_flight"`
	Since      time.Time `json:"since"` // when it was retired
}

// FailureHealth is the last failure that counted against a transport.
type FailureHealth struct {
	Time      time.Time `json:"time"`
	Authority string    `json:"authority"`
	Reason    Trigger   `json:"reason"`
}

// Health returns how the client is. It never blocks, whatever a recreation is
// doing, unless the transport's own Err() does, and is safe for concurrent use.
func (rt *RecoveringRoundTripper) Health() Health {
	ended := false
	if g := rt.gate.Current(); g != nil {
		ended = g.Ended()
	}
	v, t := rt.gate.View(), rt.records.totals()
	h := Health{Name: rt.cfg.Name, State: stateOf(v, t, ended), Promotions: t.promotions, Rejections: t.rejections, LastRejection: t.last.kind}
	if v.Serving == nil {
		return h // the zero value
	}
	h.Generation, h.Recreating = v.Serving.Number, v.Candidate
	if h.Generation > 0 {
		h.Age = v.Time.Sub(v.Serving.Born)
	}
	if !v.Closed {
		h.InFlight = v.Serving.InFlight()
	}
	for _, old := range v.Retired {
		if n := old.InFlight(); n > 0 {
			h.InFlight += n
			h.Draining++
			h.DrainingGenerations = append(h.DrainingGenerations, GenerationHealth{old.Number, n, old.Since})
		}
	}
	if f := v.Failure; !f.Time.IsZero() {
		h.LastFailure = &FailureHealth{f.Time, f.Authority.String(), Trigger(f.Trigger)}
	}
	for _, a := range v.Authorities {
		h.Streaks = append(h.Streaks, StreakHealth{a.Authority.String(), a.Failures, a.Stalls, a.State == core.Tripped, a.Since})
	}
	slices.SortFunc(h.Streaks, func(a, b StreakHealth) int { return cmp.Compare(a.Authority, b.Authority) })
	return h
}

// stateOf says in one word how a client is.
func stateOf(v gate.View, t totals, ended bool) State {
	outage, unbuilt := false, false
	for _, a := range v.Authorities {
		outage = outage || a.State != core.Suspected
		// A coarse clock may tell no difference between a failure and the rejection
		// of what was built for it.
		unbuilt = unbuilt || a.State == core.Tripped && t.last.unbuilt && !t.last.at.Before(a.Since)
	}
	if v.Absent {
		ended = t.last.unbuilt // a start is no outage, unless it fails
	}
	none := !v.Candidate && v.Time.Before(v.NextBuild) // nor may one be built now
	switch {
	case v.Closed || v.Serving == nil:
		return StateClosed
	case none && (ended || unbuilt):
		return StateFailing
	case outage || ended:
		return StateRecovering
	}
	return StateHealthy
}

// Check returns nil when the client is fit to serve, which it is while it
// recovers, and else an error that says why not. It has the form that health
// libraries take, never blocks, and does not look at ctx.
func (rt *RecoveringRoundTripper) Check(context.Context) error {
	switch h := rt.Health(); h.State {
	case StateClosed:
		return ErrClosed
	case StateFailing:
		reason := h.LastRejection
		if reason == "" {
			reason = ErrorType(TriggerTransportEnded)
		}
		return build.NewKindError(string(reason), fmt.Sprintf("respawn: %s is failing: %s", h.Name, reason))
	}
	return nil
}

// healthDocument follows draft-inadarei-api-health-check-06.
type healthDocument struct {
	Status  string                   `json:"status"`
	Version string                   `json:"version"`
	Checks  map[string][]healthCheck `json:"checks,omitempty"`
}

type healthCheck struct {
	ComponentType string    `json:"componentType"`
	Status        string    `json:"status"`
	Time          time.Time `json:"time"`
	ObservedValue float64   `json:"observedValue"` // the generation's age
	ObservedUnit  string    `json:"observedUnit"`
	Health
}

// HealthHandler returns a handler that says at once how the clients are, as
// application/health+json: pass, warn while one recovers, or fail. The worst
// of them is the status: 200 for pass and warn, 503 for fail. It answers GET
// and HEAD and is safe for concurrent use. It panics if a client is nil.
func HealthHandler(rts ...*RecoveringRoundTripper) http.Handler {
	for i, rt := range rts {
		if rt == nil {
			panic(fmt.Sprintf("respawn: HealthHandler: client %d is nil: pass what New returned", i+1))
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "use GET or HEAD", http.StatusMethodNotAllowed)
			return
		}
		doc := healthDocument{Status: "pass", Version: Version, Checks: map[string][]healthCheck{}}
		code := http.StatusOK
		now := time.Now()
		for _, rt := range rts {
			h := rt.Health()
			check := healthCheck{
				ComponentType: "component", Status: "pass", Time: now,
				ObservedValue: h.Age.Seconds(), ObservedUnit: "s", Health: h,
			}
			switch h.State {
			case StateRecovering:
				check.Status = "warn"
				if doc.Status == "pass" {
					doc.Status = "warn"
				}
			case StateFailing, StateClosed:
				check.Status, doc.Status = "fail", "fail"
				code = http.StatusServiceUnavailable
			}
			key := h.Name + ":age"
			doc.Checks[key] = append(doc.Checks[key], check)
		}
		w.Header().Set("Content-Type", "application/health+json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(doc) // the client left: nobody to tell
	})
}
