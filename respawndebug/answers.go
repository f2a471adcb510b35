package respawndebug

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/respawnhttp/respawn"
)

// answers are what somebody who is paged asks first, about the outage that lasts, or
// else the latest one.
type answers struct {
	Over      string // is it over?
	Host      string // which host?
	Transport string // was it the transport?
	Long      string // how long?
	Next      string // what next?
	Trace     string // of the latest recreation in it
}

// asked reports whether anything has happened that they are about.
func asked(c client) bool {
	_, found := latest(c)
	return found || len(c.Late) > 0 || stuck(c)
}

// answer answers them.
func answer(c client, now time.Time) answers {
	o, found := latest(c)
	if waiting(c) {
		return answerWaiting(c)
	}
	switch {
	case found:
	case stuck(c):
		return answerStuck(c, now)
	default:
		return answers{
			Over: "Nothing has been down since the start.", Host: "None", Transport: "No.", Long: "Not at all.", Next: next(c, o, now),
		}
	}
	a := answers{Host: hosts(c, o), Transport: blame(c, o), Next: next(c, o, now)}
	a.Over, a.Long = lengthOf(c, o, now)
	for _, r := range during(c, o) {
		if r.TraceID != "" {
			a.Trace = r.TraceID
		}
	}
	return a
}

// lengthOf says whether an outage is over, and how long it lasted.
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
	if c.State == respawn.StateClosed {
		over = "The client is closed."
	}
	return over, long
}

// latest is the outage that a client's answers are about: of those that last the one
// that began first, else the last that ended.
func latest(c client) (respawn.OutageHealth, bool) {
	switch {
	case len(c.OpenOutages) > 0:
		return slices.MinFunc(c.OpenOutages, func(a, b respawn.OutageHealth) int { return a.Begin.Compare(b.Begin) }), true
	case len(c.EndedOutages) > 0:
		return c.EndedOutages[len(c.EndedOutages)-1], true
	}
	return respawn.OutageHealth{}, false
}

// hosts names the hosts that are down, or the one that was. A transport that had ended
// was there for none of them.
func hosts(c client, o respawn.OutageHealth) string {
	down := c.OpenOutages
	if len(down) == 0 {
		down = []respawn.OutageHealth{o}
	}
	var names []string
	for _, o := range down {
		if o.Authority == "" {
			return "All hosts: the transport had ended"
		}
		names = append(names, host(o.Authority))
	}
	return listed(names)
}

// host is an authority in words.
func host(authority string) string {
	if authority == "" {
		return "all hosts (the transport had ended)"
	}
	return shown(authority)
}

// during are the recreations of an outage, and those that brought a fresh transport
// meanwhile, whoever proved it.
func during(c client, o respawn.OutageHealth) (all []respawn.RecreationRecord) {
	end := o.Begin.Add(o.Duration)
	for _, r := range c.Recreations {
		ours := r.Authority == o.Authority || r.Authority == "" || r.Outcome == respawn.OutcomePromoted
		if ours && !r.Time.Before(o.Begin) && !r.Time.After(end) {
			all = append(all, r)
		}
	}
	return all
}

// blame says whether the transport was the culprit.
func blame(c client, o respawn.OutageHealth) string {
	if o.Authority == "" && o.EndedBy == "" {
		return blameEnded(c, o)
	}
	refused, unbuilt, promoted := "", "", 0
	for _, r := range during(c, o) {
		switch {
		case outcome(r) == "promoted":
			promoted++
		case outcome(r) == "called off":
		case fromFactory(r.ErrorType):
			unbuilt = shown(r.ErrorType)
		default:
			refused = shown(r.ErrorType)
		}
	}
	switch {
	case o.EndedBy == respawn.OutageEndSwap && refused != "":
		return "In part: fresh transports failed at first (" + refused + "), then one took over, and requests are answered."
	case o.EndedBy == respawn.OutageEndSwap && promoted > 1:
		return fmt.Sprintf("In part: it took %d fresh transports until one was answered.", promoted)
	case o.EndedBy == respawn.OutageEndSwap:
		return "Yes: a fresh transport took over, and requests are answered."
	case o.EndedBy == respawn.OutageEndUpstreamReturned, o.EndedBy == respawn.OutageEndCurrentRecovered && refused != "":
		return "No: fresh transports failed, too. The upstream, or the way to it, was down."
	case healing(c, o):
		return "Perhaps: a fresh transport is in service, and has not answered this host yet."
	case refused == string(respawn.ErrorTypeUpstreamSlow):
		return "No: a fresh transport was no faster. The upstream is slow."
	case refused != "":
		return "No: a fresh transport failed, too (" + refused + "). The upstream, or the way to it, is down."
	case promoted > 0 && o.End.IsZero():
		return "No: a fresh transport took over, and fails as well. The upstream, or the way to it, is down."
	case unbuilt != "" && o.End.IsZero():
		return "Unknown: no fresh transport could be built (" + unbuilt + ")."
	case unbuilt != "":
		return "Unknown: no fresh transport could be built (" + unbuilt + "). The one in service answers again."
	case o.EndedBy == respawn.OutageEndCurrentRecovered:
		return "No: the transport in service answered again by itself."
	case o.EndedBy == respawn.OutageEndClosed:
		return "Unknown: the client was closed before a verdict."
	case o.EndedBy != "":
		return "Unknown: nobody asked any more."
	}
	return "Not known yet: no fresh transport has been proven or rejected."
}

// blameEnded is blame for a transport that has ended: it says so itself.
func blameEnded(c client, o respawn.OutageHealth) string {
	why := "Yes: it says itself that it has ended"
	for _, r := range slices.Backward(during(c, o)) {
		if fromFactory(r.ErrorType) {
			return why + ", and no fresh one could be built (" + shown(r.ErrorType) + ")."
		}
	}
	return why + "."
}

// fromFactory reports whether the factory gave no transport to try.
func fromFactory(why respawn.ErrorType) bool { return strings.HasPrefix(string(why), "factory_") }

// healing reports whether a fresh transport is in service that has not answered the
// authority of o yet.
func healing(c client, o respawn.OutageHealth) bool {
	return slices.ContainsFunc(c.Streaks, func(s respawn.StreakHealth) bool {
		return s.Authority == o.Authority && standing(s) == swapped
	})
}

// next says what will happen, and what there is to do.
func next(c client, o respawn.OutageHealth, now time.Time) string {
	attempt := ""
	switch {
	case c.State == respawn.StateClosed:
		return "Nothing: requests are refused."
	case c.Recreating && o.End.IsZero() && !o.Begin.IsZero():
		attempt = "A fresh transport is being tried now."
	case len(c.OpenOutages) == 0 && o.EndedBy == respawn.OutageEndForgotten:
		return "The next request will tell."
	case len(c.OpenOutages) == 0:
		return "Nothing to do."
	case !c.NextAttempt.IsZero():
		attempt = nextAttempt(c, now)
	case healing(c, o):
		attempt = "The next answer ends it."
	default:
		attempt = "The next request makes the next attempt."
	}
	return attempt + advice(c, o)
}

// nextAttempt says how long the backoff forbids it.
func nextAttempt(c client, now time.Time) string {
	return fmt.Sprintf("Next attempt in %s.", ahead(c.NextAttempt.Sub(now)))
}

const lookAtFactory = " Look at what the factory needs: a tunnel, a session, certificates."

// advice says where to look while an outage lasts.
func advice(c client, o respawn.OutageHealth) string {
	r := c.LastRejection
	if r != nil && r.Time.Before(o.Begin) {
		r = nil
	}
	failsAgain := !healing(c, o) && slices.ContainsFunc(during(c, o), func(r respawn.RecreationRecord) bool { return r.Outcome == respawn.OutcomePromoted })
	switch {
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
