package respawndebug

import (
	"fmt"
	"slices"
	"time"

	"github.com/respawnhttp/respawn"
)

// answers hold the answers to the first questions of somebody who is paged, about the
// latest incident.
type answers struct {
	Over      string // is it over?
	Host      string // which host?
	Transport string // was it the transport?
	Long      string // how long?
	Next      string // what next?
	Trace     string // of the latest recreation in it
}

// asked reports whether anything has happened that the answers are about.
func asked(c client) bool {
	_, found := latest(c)
	return found || len(c.Late) > 0 || stuck(c)
}

// answer answers the questions.
func answer(c client, now time.Time) answers {
	in, found := latest(c)
	switch {
	case waiting(c):
		return answerWaiting(c)
	case found:
	case stuck(c):
		return answerStuck(c, now)
	default:
		return answers{
			Over: "Nothing has been down since the start.", Host: "None", Transport: "No.", Long: "Not at all.", Next: next(c, in, now),
		}
	}
	a := answers{Host: in.hosts(), Transport: verdicts(c, in), Next: next(c, in, now)}
	a.Over, a.Long = lengthOf(c, in.whole, now)
	if n := in.recurrences(c, now); n > 0 {
		a.Over += fmt.Sprintf(" It keeps coming back: %d outages in the last hour.", n)
	}
	for _, r := range during(c, in.whole) {
		if r.TraceID != "" {
			a.Trace = r.TraceID
		}
	}
	return a
}

// lengthOf says whether an incident is over, and how long it lasted.
func lengthOf(c client, o respawn.OutageHealth, now time.Time) (over, long string) {
	long = fmt.Sprintf("%s, from %s to %s UTC.", duration(o.Duration), clock(o.Begin, now), clock(o.End, now))
	switch {
	case o.End.IsZero():
		over = fmt.Sprintf("No: down for %s.", roughly(o.Duration)) + onFallback(respawn.Health(c.health), "")
		long = fmt.Sprintf("%s so far, since %s UTC.", duration(o.Duration), clock(o.Begin, now))
	case o.EndedBy == respawn.OutageEndForgotten:
		over = fmt.Sprintf("Not known: the last request failed, %s ago.", roughly(now.Sub(o.End)))
		long = "At least " + long
	default:
		over = fmt.Sprintf("Yes: it ended %s ago.", roughly(now.Sub(o.End)))
	}
	if o.Trigger == respawn.TriggerSilence { // the outage begins once the patience is over
		long += " Before that, requests waited without an answer."
	}
	if c.State == respawn.StateClosed {
		over = "The client is closed."
	}
	return over, long
}

// host names an authority in words.
func host(authority string) string {
	if authority == "" {
		return "all hosts (the transport had ended)"
	}
	return shown(authority)
}

// next says what will happen, and what there is to do.
func next(c client, in incident, now time.Time) string {
	attempt, o := "", in.whole
	switch {
	case c.State == respawn.StateClosed:
		return "Nothing: requests are refused."
	case c.Recreating && o.End.IsZero() && !o.Begin.IsZero():
		attempt = "A fresh transport is being tried now."
	case len(c.OpenOutages) == 0 && o.EndedBy == respawn.OutageEndForgotten:
		return "The next request will show whether the outage is over."
	case len(c.OpenOutages) == 0 && in.recurrences(c, now) > 0:
		attempt = "Nothing right now."
	case len(c.OpenOutages) == 0:
		return "Nothing to do."
	case !c.NextAttempt.IsZero():
		attempt = nextAttempt(c, now)
	case !slices.ContainsFunc(in.outages, func(o respawn.OutageHealth) bool { return !healing(c, o) }):
		attempt = "The next answer ends the outage."
	default:
		attempt = "The next request makes the next attempt."
	}
	return attempt + advice(c, o)
}

// nextAttempt says how long the backoff forbids the next attempt.
func nextAttempt(c client, now time.Time) string {
	return fmt.Sprintf("Next attempt in %s.", ahead(c.NextAttempt.Sub(now)))
}

const lookAtFactory = " Look at what the factory needs: a tunnel, a session, certificates."

// advice says where to look while an outage lasts, or keeps coming back.
func advice(c client, o respawn.OutageHealth) string {
	r := c.LastRejection
	if r != nil && r.Time.Before(o.Begin) {
		r = nil
	}
	failsAgain := !healing(c, o) && slices.ContainsFunc(during(c, o), func(r respawn.RecreationRecord) bool { return r.Outcome == respawn.OutcomePromoted })
	switch {
	case o.EndedBy == respawn.OutageEndSwap:
		return " Look at what ends the connections: a tunnel, or an idle timeout of a NAT or load balancer."
	case r != nil && fromFactory(r.Reason):
		return lookAtFactory
	case r != nil && calledOff[r.Reason] == "", failsAgain:
		return " Look at the upstream and the network: a restart of this process does not help."
	}
	return ""
}

// failing says how many hosts are down, of those that ever failed.
func failing(c client) (figure, of string) {
	down, known := map[string]bool{}, map[string]bool{}
	for _, s := range c.Streaks {
		known[s.Authority] = true
	}
	for _, o := range c.EndedOutages {
		known[o.Authority] = true
	}
	for _, o := range c.OpenOutages {
		known[o.Authority], down[o.Authority] = true, true
	}
	switch {
	case down[""]:
		return "all hosts", "since the transport has ended"
	case stuck(c):
		return "all hosts", "since there is no transport yet"
	case len(down) == 0:
		return "none", "of the hosts"
	}
	delete(known, "")
	have := "have"
	if len(known) == 1 {
		have = "has"
	}
	return count(len(down), "host"), fmt.Sprintf("of %d that %s failed since the start", len(known), have)
}
