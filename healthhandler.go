package respawn

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// What does a health handler answer? What makes a client's health fail is in
// internal/core/health.go.

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
	healthJSON
}

// HealthHandler returns a handler that reports the health of the clients as
// application/health+json. It answers at once, unless a transport's own Err method blocks. A
// client's status is pass, warn while it recovers, or fail if it can serve nobody: it is
// closed, or in [StateFailing]. The worst of them sets the status of the answer: 200 for pass
// and warn, 503 for fail. The handler answers GET and HEAD and is safe for concurrent use.
// HealthHandler panics if a client is nil.
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
			h.EndedOutages = nil // a probe asks how it is, not how it was
			check := healthCheck{
				ComponentType: "component", Status: "pass", Time: now,
				ObservedValue: h.Age.Seconds(), ObservedUnit: "s", healthJSON: h.fields(),
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
