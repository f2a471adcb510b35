package respawndebug

import (
	"fmt"
	"time"

	"github.com/respawnhttp/respawn"
)

// unstarted reports whether a client has yet to get its first transport, as after
// New(nil, WithFactory(f)).
func unstarted(h health) bool { return h.Generation == 0 && h.State != respawn.StateClosed }

// stuck reports whether a client has tried to get its first transport, in vain. That is
// no outage, since no host has failed.
func stuck(c client) bool { return unstarted(c.health) && c.LastRejection != nil }

// answerStuck answers the first questions about a client that could not start.
func answerStuck(c client, now time.Time) answers {
	a := answers{
		Over: "No: the client has no transport yet." + onFallback(respawn.Health(c.health), ""), Host: "All hosts",
		Transport: "Yes: no transport could be built (" + shown(c.LastRejection.Reason) + ").",
		Next:      "The next request makes the next attempt.",
	}
	since := c.LastRejection.Time
	if len(c.Recreations) > 0 {
		since = c.Recreations[0].Time
	}
	a.Long = fmt.Sprintf("%s so far, since %s UTC.", duration(now.Sub(since)), clock(since, now))
	if c.Rejections > len(c.Recreations) { // the first ones are forgotten
		a.Long = "At least " + a.Long
	}
	switch {
	case c.Recreating:
		a.Next = "A transport is being built now."
	case !c.NextAttempt.IsZero():
		a.Next = nextAttempt(c, now)
	}
	a.Next += lookAtFactory
	return a
}

// startInWords describes the start of a client to somebody who has just been woken up.
func startInWords(h respawn.Health) string {
	switch {
	case h.Recreating:
		return "Starting: the first transport is being built." + onFallback(h, " Requests wait for it.")
	case h.State == respawn.StateFailing && h.LastRejection != nil:
		return "No request can be served for now: no transport could be built (" + shown(h.LastRejection.Reason) + "), and the backoff delays the next attempt." + onFallback(h, "")
	case h.LastRejection != nil:
		return "Not started: no transport could be built (" + shown(h.LastRejection.Reason) + ")." + onFallback(h, " The next request makes the next attempt.")
	}
	return "Not started: the first request builds the transport."
}
