package respawndebug

import (
	"fmt"
	"slices"
	"strings"

	"github.com/respawnhttp/respawn"
)

// during returns the recreations of an outage, and those that promoted a fresh transport
// meanwhile, whichever authority proved it.
func during(c client, o respawn.OutageHealth) (all []respawn.RecreationRecord) {
	end := o.Begin.Add(o.Duration)
	for _, r := range c.Recreations {
		ours := r.Authority == o.Authority || r.Authority == "" || r.Outcome == respawn.OutcomePromoted
		isStart := r.Trigger == respawn.TriggerStart // it built what then failed
		if ours && !isStart && !r.Time.Before(o.Begin) && !r.Time.After(end) {
			all = append(all, r)
		}
	}
	return all
}

// verdicts says whether the transport was the culprit: in one sentence if that is the same
// for all hosts, else for each host.
func verdicts(c client, in incident) string {
	if i := slices.IndexFunc(in.outages, func(o respawn.OutageHealth) bool { return o.Authority == "" }); i >= 0 {
		return blameEnded(c, in.outages[i])
	}
	var found []string
	judged := map[string][]string{} // hosts, by their verdict
	for _, o := range in.outages {
		verdict, name := blame(c, o), host(o.Authority)
		if !slices.Contains(found, verdict) {
			found = append(found, verdict)
		}
		if !slices.Contains(judged[verdict], name) {
			judged[verdict] = append(judged[verdict], name)
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	for i, verdict := range found {
		found[i] = fmt.Sprintf("[%s] %s", listed(judged[verdict]), verdict)
	}
	return strings.Join(found, " ")
}

// blame says whether the transport was the culprit of a host's outage.
func blame(c client, o respawn.OutageHealth) string {
	is := "is"
	if !o.End.IsZero() {
		is = "was"
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
		return fmt.Sprintf("In part: it took %d fresh transports to get an answer.", promoted)
	case o.EndedBy == respawn.OutageEndSwap:
		return "Yes: a fresh transport took over, and requests are answered."
	case o.EndedBy == respawn.OutageEndUpstreamReturned, o.EndedBy == respawn.OutageEndCurrentRecovered && refused != "":
		return "No: fresh transports failed, too. The upstream, or the way to it, was down."
	case healing(c, o):
		return "Perhaps: a fresh transport is in service, and has not answered this host yet."
	case refused == string(respawn.ErrorTypeUpstreamSlow):
		return "No: a fresh transport was no faster. The upstream " + is + " slow."
	case refused != "":
		return "No: a fresh transport failed, too (" + refused + "). The upstream, or the way to it, " + is + " down."
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
		return "Unknown: no more requests came."
	}
	return "Not known yet: no fresh transport has been proven or rejected."
}

// blameEnded is blame for a transport that has ended: it says so itself.
func blameEnded(c client, o respawn.OutageHealth) string {
	switch o.EndedBy {
	case "":
	case respawn.OutageEndSwap:
		return "Yes: the transport had ended, and a fresh one took over."
	default:
		return "Yes: the transport had ended."
	}
	why := "Yes: the transport itself reports that it has ended"
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
