package respawndebug

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/respawnhttp/respawn"
)

// inWords describes the state of a client to somebody who has just been woken up.
func inWords(h respawn.Health) string {
	tripped := 0
	for _, s := range h.Streaks {
		if s.Tripped {
			tripped++
		}
	}
	if unstarted(health(h)) && len(h.OpenOutages) == 0 {
		return startInWords(h)
	}
	switch h.State {
	case respawn.StateClosed:
		return "Closed: requests are refused, those in flight finish."
	case respawn.StateFailing:
		why, r := "the transport has ended", h.LastRejection
		if r != nil && !(len(h.OpenOutages) > 0 && r.Time.Before(h.OpenOutages[0].Begin)) {
			why = "no fresh transport could be built (" + shown(r.Reason) + ")"
		}
		return "No request can be served for now: " + why + ", and the backoff delays the next attempt." + onFallback(h, "")
	case respawn.StateRecovering:
		switch {
		case h.Recreating:
			return "A fresh transport is being tried." + onFallback(h, " Failed requests wait for the outcome.")
		case tripped > 0 && h.Options.Fallback:
			return "Tripped: once the backoff allows, the next request is tried on a fresh transport. Until then requests go to the fallback."
		case tripped > 0:
			return "Tripped: once the backoff allows, the next request is tried on a fresh transport. Until then the current one serves what it can."
		case len(h.Streaks) > 0:
			return "A fresh transport is in service. The outage ends with its first success."
		case h.NextAttempt.IsZero():
			return "The transport has ended: the next request gets a fresh one."
		case h.Options.Fallback:
			return "The transport has ended: once the backoff allows, the next request gets a fresh one. Until then requests go to the fallback."
		}
		return "The transport has ended: once the backoff allows, the next request gets a fresh one."
	}
	switch {
	case h.Recreating:
		return "Serving. A replacement for the transport is being tried."
	case len(h.Late) > 0:
		return "Serving, but " + late(h.Late) + "."
	case len(h.Streaks) == 1:
		return "Serving. One authority is under suspicion."
	case len(h.Streaks) > 1:
		return fmt.Sprintf("Serving. %d authorities are under suspicion.", len(h.Streaks))
	}
	return "Serving. Nothing is under suspicion."
}

// onFallback says what the fallback does with requests that the client does not serve
// itself. Without a fallback it returns instead.
func onFallback(h respawn.Health, instead string) string {
	switch {
	case !h.Options.Fallback:
		return instead
	case h.State == respawn.StateFailing:
		return " The fallback does not answer, either."
	}
	return " Requests go to the fallback."
}

// calledOff are the kinds of rejections that say nothing against a fresh
// transport.
var calledOff = map[respawn.ErrorType]string{
	respawn.ErrorTypeCurrentRecovered: "the current transport recovered by itself",
	respawn.ErrorTypeSuperseded:       "a newer transport was asked for",
	respawn.ErrorTypeGivenUp:          "the caller of Recreate gave up",
	respawn.ErrorTypeUntried:          "no request was left to try it",
	respawn.ErrorTypeClosed:           "the client was closed",
}

// outcome says how a recreation ended: promoted, rejected or called off.
func outcome(r respawn.RecreationRecord) string {
	if _, ok := calledOff[r.ErrorType]; ok {
		return "called off"
	}
	return string(r.Outcome)
}

// standing says what a streak means for its authority.
func standing(s respawn.StreakHealth) string {
	switch {
	case s.Tripped:
		return "tripped"
	case s.Failures+s.Stalls == 0:
		return swapped
	}
	return "suspected"
}

const swapped = "swapped, no success yet"

// ended says what ended an outage.
func ended(o respawn.OutageHealth) string {
	switch o.EndedBy {
	case respawn.OutageEndSwap:
		return "ended by a fresh transport"
	case respawn.OutageEndUpstreamReturned:
		return "ended by the upstream's return"
	case respawn.OutageEndCurrentRecovered:
		return "ended by an answer of the transport in service"
	case respawn.OutageEndForgotten:
		return "no more requests came"
	case respawn.OutageEndClosed:
		return "the client was closed"
	}
	return "still down"
}

// duration formats d with as many digits as a reader needs.
func duration(d time.Duration) string {
	second := func(d time.Duration) int { return int(d/time.Second) % 60 }
	switch {
	case d <= 0:
		return "0 s"
	case d < time.Millisecond:
		return "< 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d/time.Minute), second(d))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d/time.Hour), int(d/time.Minute)%60)
	}
	return fmt.Sprintf("%d d %d h", int(d/(24*time.Hour)), int(d/time.Hour)%24)
}

// roughly formats d in whole seconds that have passed, for a time that still runs.
func roughly(d time.Duration) string {
	if d < time.Second {
		return "less than 1 s"
	}
	return brief(d.Truncate(time.Second))
}

// ahead formats d in whole seconds, rounded up, so that nothing begins earlier than the
// page says.
func ahead(d time.Duration) string {
	return brief((d + time.Second - 1).Truncate(time.Second))
}

// brief formats d without the parts that are zero.
func brief(d time.Duration) string {
	if d < time.Minute {
		return strings.ReplaceAll(duration(d), ".0 s", " s")
	}
	text := duration(d)
	for _, zero := range []string{" 0 s", " 0 min", " 0 h"} {
		text = strings.TrimSuffix(text, zero)
	}
	return text
}

// clock formats the time of t, with its date if that is not today's.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// count formats a number with its noun.
func count[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.FormatInt(int64(n), 10) + " " + noun + "s"
}

// maxShown is how much of a name is shown; no host's is longer.
const maxShown = 260

// shown makes a name fit to be shown: it spells out characters that are invisible or could
// reverse the text around them. The template escapes HTML.
func shown[S ~string](text S) string {
	name := string(text)
	var b strings.Builder
	for i, r := range name {
		switch {
		case b.Len() > maxShown:
			b.WriteString("…")
			return b.String()
		case r == utf8.RuneError && !strings.HasPrefix(name[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, name[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
