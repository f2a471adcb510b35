package respawndebug

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/respawnhttp/respawn"
)

// writeText writes what format=text answers: for a terminal, and for a ticket.
func writeText(w io.Writer, d document, traceURL string) {
	fmt.Fprintf(w, "respawn %s on %s, %s UTC\n", d.Version, shown(d.Host), d.Time.UTC().Format(time.DateTime))
	if len(d.Clients) == 0 {
		fmt.Fprintln(w, "\nNo client was given to this page.")
	}
	for _, c := range d.Clients {
		fmt.Fprintf(w, "\n%s", ticket(c, d, traceURL))
	}
}

// ticket describes one client in words that need no page around them.
func ticket(c client, d document, traceURL string) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-23s%s\n", name, fmt.Sprintf(format, args...))
	}
	a := answer(c, d.Time)
	fmt.Fprintf(&b, "%s: %s\n", shown(c.Name), c.State)
	line("is it over?", "%s", a.Over)
	line("which host?", "%s", a.Host)
	line("was it the transport?", "%s", a.Transport)
	line("how long?", "%s", a.Long)
	line("what next?", "%s", a.Next)
	if f := c.LastFailure; f != nil {
		line("last failure", "%s, %s, %s UTC", shown(f.Reason), host(f.Authority), clock(f.Time, d.Time))
	}
	if r := c.LastRejection; r != nil {
		line("last rejection", "%s, %s UTC", rejectedFor(r), clock(r.Time, d.Time))
	}
	if a.Trace != "" {
		line("trace", "%s", link(traceURL, a.Trace))
	}
	figure, of := failing(c)
	line("failing", "%s %s", figure, of)
	inService := fmt.Sprintf("generation %d for %s", c.Generation, duration(c.Age))
	if unstarted(c.health) {
		inService = "none yet"
	}
	line("transport", "%s; %s, %s", inService, count(c.Promotions, "promotion"), count(c.Rejections, "rejection"))
	line("requests", "%d in flight, %d of them draining; %s, %d sent again", c.InFlight, onRetired(c), count(c.Failures, "failure"), c.Replays)
	if !c.Started.IsZero() { // it is zero for a zero client
		line("up", "%s, on %s", duration(d.Time.Sub(c.Started)), shown(d.Host))
	}
	writeLate(&b, c)
	writeOutages(&b, c, d.Time)
	fmt.Fprintf(&b, "  %-23s%s\n", "options", strings.Join(options(c.Options), ", "))
	return b.String()
}

// mostInText is how many outages the text lists.
const mostInText = 5

// writeOutages lists the latest outages, the newest first.
func writeOutages(w io.Writer, c client, now time.Time) {
	name := "outages"
	for i, o := range allOutages(c) {
		if i == mostInText {
			fmt.Fprintf(w, "  %-23s%s\n", "", "...")
			return
		}
		fmt.Fprintf(w, "  %-23s%s (%s)%s\n", name, describeOutage(o, now), shown(o.Trigger), endedIn(o))
		name = ""
	}
}

// endedIn says what ended an outage, after a comma; nothing while it lasts.
func endedIn(o respawn.OutageHealth) string {
	if o.EndedBy == "" {
		return ""
	}
	return ", " + ended(o)
}

// allOutages returns the outages that last and those that have ended, the newest first.
func allOutages(c client) []respawn.OutageHealth {
	all := slices.Concat(c.EndedOutages, c.OpenOutages)
	slices.SortStableFunc(all, func(a, b respawn.OutageHealth) int { return b.Begin.Compare(a.Begin) })
	return all
}

func onRetired(c client) (n int64) {
	for _, g := range c.DrainingGenerations {
		n += g.InFlight
	}
	return n
}

// rejectedFor describes a rejection in words.
func rejectedFor(r *respawn.RejectionHealth) string {
	if r.Authority == "" {
		return shown(r.Reason)
	}
	return shown(r.Reason) + ", " + shown(r.Authority)
}

// link returns the URL of a trace, or its id if no URL is known.
func link(traceURL, id string) string {
	if traceURL == "" {
		return id
	}
	return strings.ReplaceAll(traceURL, traceID, id)
}

// options describes the options in force.
func options(o respawn.OptionsHealth) []string {
	stalls, patience := "off", "off"
	if o.StallThreshold > 0 {
		stalls = fmt.Sprintf("%d over %s", o.StallThreshold, brief(o.StallSpan))
	}
	if o.StallThreshold > 0 && o.Patience > 0 {
		patience = brief(o.Patience)
	}
	return []string{
		fmt.Sprintf("threshold %d", o.Threshold), "stalls " + stalls, "patience " + patience, "recreate timeout " + brief(o.RecreateTimeout),
		"replay " + o.Replay, "fallback " + yes(o.Fallback), "wait for ready " + orNone(o.WaitForReady),
		"max age " + orNone(o.MaxAge), "drain timeout " + orNone(o.DrainTimeout),
	}
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "none"
}

func orNone(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return brief(d)
}
