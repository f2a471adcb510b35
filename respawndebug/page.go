package respawndebug

import (
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"fmt"
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
	Host    string
	Up      string
	Time    moment
	Refresh int
	State   respawn.State // the worst of all
	Clients []clientView
}

type clientView struct {
	ID            string // of its section
	Name          string
	State         respawn.State
	Folded        bool // among many, and well
	Summary       string
	Short         string // the summary of one that is folded
	Asked         bool   // there is something to answer
	Answers       answers
	Trace         *trace
	Failing       fact
	Attempt       fact
	InFlight      fact
	Recreated     fact
	Failed        fact
	LastFailure   *eventView
	LastRejection *eventView
	Streaks       []streakView
	Outages       []outageView // the newest first
	Late          []lateView
	Draining      []drainView
	Timeline      *timeline
	Recreations   []recreationView // the newest first
	Options       []string
	Ticket        string
}

// A fact is a figure, with the text below it.
type fact struct{ Figure, Of string }

// A trace has a link if there is a trace URL.
type trace struct{ ID, URL string }

type eventView struct {
	moment
	Authority, Reason string
}

type streakView struct {
	Authority        string
	Standing         string
	Failures, Stalls int
	Since            moment
}

type outageView struct {
	Authority, Trigger, Lasted, Ended string
	Open                              bool
	Begin                             moment
	Until                             string
}

type drainView struct {
	Generation string
	InFlight   int64
	Since      moment
}

type recreationView struct {
	moment
	Trigger, Authority, Outcome, ErrorType, Note string
	Trace                                        *trace
	Generation                                   uint64
	Failures                                     int
	Took, Outage, Drained                        string
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

// many is the number of clients from which on healthy ones are folded.
const many = 4

func newView(d document, refresh int, traceURL string) view {
	v := view{
		Style: template.CSS(style), Version: d.Version, Host: shown(d.Host), Time: newMoment(d.Time, d.Time),
		Refresh: refresh, State: respawn.StateHealthy,
	}
	started := d.Time
	for i, c := range d.Clients {
		if severity(c.State) > severity(v.State) {
			v.State = c.State
		}
		if !c.Started.IsZero() { // it is zero for a zero client
			started = earlier(started, c.Started)
		}
		cv := newClientView(c, d, traceURL)
		cv.ID = "client-" + strconv.Itoa(i+1)
		cv.Folded = len(d.Clients) >= many && c.State == respawn.StateHealthy && !waiting(c)
		v.Clients = append(v.Clients, cv)
	}
	v.Up = brief(d.Time.Sub(started).Truncate(time.Second))
	v.Icon = icon(v.State)
	return v
}

func newClientView(c client, d document, traceURL string) clientView {
	now := d.Time
	v := clientView{
		Name: shown(c.Name), State: c.State, Summary: c.Summary, Short: short(c, now),
		Asked: asked(c), Answers: answer(c, now), Options: options(c.Options), Ticket: ticket(c, d, traceURL),
		Attempt:   attempt(c, now),
		InFlight:  fact{strconv.FormatInt(c.InFlight, 10), "none draining"},
		Recreated: fact{fmt.Sprintf("%d promoted, %d rejected", c.Promotions, c.Rejections), fmt.Sprintf("generation %d in service for %s", c.Generation, duration(c.Age))},
		Failed:    fact{strconv.FormatInt(c.Failures, 10), fmt.Sprintf("%d sent again", c.Replays)},
		Timeline:  newTimeline(allOutages(c), c.Recreations, now),
	}
	if unstarted(c.health) {
		v.Recreated.Of = "no transport yet"
	}
	v.Failing.Figure, v.Failing.Of = failing(c)
	v.Trace = newTrace(v.Answers.Trace, traceURL)
	if n := onRetired(c); n > 0 {
		v.InFlight.Of = fmt.Sprintf("%d of them draining", n)
	}
	if f := c.LastFailure; f != nil {
		v.LastFailure = &eventView{newMoment(f.Time, now), shown(f.Authority), shown(f.Reason)}
	}
	if r := c.LastRejection; r != nil {
		v.LastRejection = &eventView{newMoment(r.Time, now), shown(r.Authority), shown(r.Reason)}
	}
	for _, s := range c.Streaks {
		v.Streaks = append(v.Streaks, streakView{shown(s.Authority), standing(s), s.Failures, s.Stalls, newMoment(s.Since, now)})
	}
	v.Late = newLateViews(c)
	for _, o := range allOutages(c) {
		v.Outages = append(v.Outages, newOutageView(o, now))
	}
	for _, g := range c.DrainingGenerations {
		name := strconv.FormatUint(g.Generation, 10)
		if g.Generation == 0 {
			name = "rejected candidate"
		}
		v.Draining = append(v.Draining, drainView{name, g.InFlight, newMoment(g.Since, now)})
	}
	for _, r := range slices.Backward(c.Recreations) {
		v.Recreations = append(v.Recreations, newRecreationView(r, now, traceURL))
	}
	return v
}

// short describes a client in half a line.
func short(c client, now time.Time) string {
	in, found := latest(c)
	o := in.whole
	switch {
	case !found:
		return "nothing has been down"
	case o.End.IsZero():
		return "down for " + roughly(o.Duration)
	}
	return "was down for " + duration(o.Duration) + ", " + roughly(now.Sub(o.End)) + " ago"
}

// attempt says when the next attempt is due.
func attempt(c client, now time.Time) fact {
	switch {
	case c.Recreating:
		return fact{"now", "a fresh transport is being tried"}
	case !c.NextAttempt.IsZero():
		return fact{"in " + ahead(c.NextAttempt.Sub(now)), "at " + clock(c.NextAttempt, now)}
	case len(c.OpenOutages) > 0 && c.State != respawn.StateClosed:
		return fact{"next request", "starts it"}
	}
	return fact{"none", "none is needed"}
}

func newTrace(id, traceURL string) *trace {
	switch {
	case id == "":
		return nil
	case traceURL == "":
		return &trace{ID: id}
	}
	return &trace{id, link(traceURL, id)}
}

func newOutageView(o respawn.OutageHealth, now time.Time) outageView {
	v := outageView{
		Authority: host(o.Authority), Trigger: shown(o.Trigger), Lasted: duration(o.Duration), Ended: ended(o),
		Open: o.End.IsZero(), Begin: newMoment(o.Begin, now), Until: "now",
	}
	if !v.Open {
		v.Until = clock(o.End, now)
	}
	return v
}

func newRecreationView(r respawn.RecreationRecord, now time.Time, traceURL string) recreationView {
	v := recreationView{
		moment:     newMoment(r.Time, now),
		Trigger:    shown(string(r.Trigger)),
		Authority:  shown(r.Authority),
		Trace:      newTrace(r.TraceID, traceURL),
		Outcome:    outcome(r),
		ErrorType:  shown(string(r.ErrorType)),
		Note:       calledOff[r.ErrorType],
		Generation: r.Generation,
		Failures:   r.Failures,
		Took:       duration(r.Duration),
	}
	switch {
	case r.OutageOpen:
		v.Outage = duration(r.Outage) + " so far"
	case r.Outage > 0:
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
