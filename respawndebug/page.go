package respawndebug

import (
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"html/template"
	"slices"
	"strconv"
	"time"

	"github.com/respawnhttp/respawn"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	style string

	page = template.Must(template.New("page").Parse(pageText))

	// policy lets the browser use the page's own style and icon, and nothing
	// else: no script, no other origin, no frame.
	policy = "default-src 'none'; style-src 'sha256-" + digest(style) + "'; img-src data:; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// A view is a document as the template shows it: every text is in words, and
// every name can be shown.
type view struct {
	Style   template.CSS
	Icon    template.URL
	Version string
	Time    moment
	Refresh int
	State   respawn.State // the worst of all
	Clients []clientView
}

type clientView struct {
	ID            string // of its section
	Name          string
	State         respawn.State
	Summary       string
	Generation    uint64
	Age           string
	InFlight      int64
	OnRetired     int64
	Promoted      int
	Rejected      int
	Recreating    bool
	LastFailure   *failureView
	LastRejection string
	Streaks       []streakView
	Draining      []drainView
	Timeline      *timeline
	Recreations   []recreationView // the newest first
}

type failureView struct {
	moment
	Authority, Reason string
}

type streakView struct {
	Authority        string
	Standing         string
	Failures, Stalls int
	Since            moment
}

type drainView struct {
	Generation string
	InFlight   int64
	Since      moment
}

type recreationView struct {
	moment
	Trigger, Authority, TraceID, Outcome, ErrorType, Note string
	Generation                                            uint64
	Failures                                              int
	Took, Outage, Drained                                 string
}

// A moment is a time for people and for machines.
type moment struct{ Clock, Ago, Machine string }

func newMoment(t, now time.Time) moment {
	return moment{clock(t, now), duration(now.Sub(t)) + " ago", t.UTC().Format(time.RFC3339Nano)}
}

// severity sorts states by how much they ask for a look.
func severity(s respawn.State) int {
	return slices.Index([]respawn.State{respawn.StateHealthy, respawn.StateRecovering, respawn.StateFailing, respawn.StateClosed}, s)
}

func newView(d document, refresh int) view {
	v := view{
		Style: template.CSS(style), Version: d.Version, Time: newMoment(d.Time, d.Time),
		Refresh: refresh, State: respawn.StateHealthy,
	}
	for i, c := range d.Clients {
		if severity(c.State) > severity(v.State) {
			v.State = c.State
		}
		v.Clients = append(v.Clients, newClientView(c, i+1, d.Time))
	}
	v.Icon = icon(v.State)
	return v
}

func newClientView(c client, number int, now time.Time) clientView {
	v := clientView{
		ID:            "client-" + strconv.Itoa(number),
		Name:          shown(c.Name),
		State:         c.State,
		Summary:       c.Summary,
		Generation:    c.Generation,
		Age:           duration(c.Age),
		InFlight:      c.InFlight,
		Promoted:      c.Promotions,
		Rejected:      c.Rejections,
		Recreating:    c.Recreating,
		LastRejection: shown(string(c.LastRejection)),
		Timeline:      newTimeline(c.Recreations, now),
	}
	if f := c.LastFailure; f != nil {
		v.LastFailure = &failureView{newMoment(f.Time, now), shown(f.Authority), shown(string(f.Reason))}
	}
	for _, s := range c.Streaks {
		v.Streaks = append(v.Streaks, streakView{shown(s.Authority), standing(s), s.Failures, s.Stalls, newMoment(s.Since, now)})
	}
	for _, g := range c.DrainingGenerations {
		v.OnRetired += g.InFlight
		name := strconv.FormatUint(g.Generation, 10)
		if g.Generation == 0 {
			name = "rejected candidate"
		}
		v.Draining = append(v.Draining, drainView{name, g.InFlight, newMoment(g.Since, now)})
	}
	for _, r := range slices.Backward(c.Recreations) {
		v.Recreations = append(v.Recreations, newRecreationView(r, now))
	}
	return v
}

func newRecreationView(r respawn.RecreationRecord, now time.Time) recreationView {
	v := recreationView{
		moment:     newMoment(r.Time, now),
		Trigger:    shown(string(r.Trigger)),
		Authority:  shown(r.Authority),
		TraceID:    r.TraceID,
		Outcome:    outcome(r),
		ErrorType:  shown(string(r.ErrorType)),
		Note:       calledOff[r.ErrorType],
		Generation: r.Generation,
		Failures:   r.Failures,
		Took:       duration(r.Duration),
	}
	if r.Outage > 0 {
		v.Outage = duration(r.Outage)
	}
	switch {
	case r.Outcome != respawn.OutcomePromoted:
	case r.Draining:
		v.Drained = count(r.Drained, "request") + ", still draining"
	case r.Drained > 0:
		v.Drained = count(r.Drained, "request") + " in " + duration(r.DrainTime)
	default:
		v.Drained = "nothing in flight"
	}
	return v
}

// icon tells the state in the browser's tab. Its parts are constants, so it is
// safe to say that it is a URL.
func icon(s respawn.State) template.URL {
	color := "6b7280"
	switch s {
	case respawn.StateHealthy:
		color = "157f3b"
	case respawn.StateRecovering:
		color = "b45309"
	case respawn.StateFailing:
		color = "c81e1e"
	}
	return template.URL("data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>" +
		"<circle cx='8' cy='8' r='7' fill='%23" + color + "'/></svg>")
}
