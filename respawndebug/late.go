package respawndebug

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/respawnhttp/respawn"
)

// A lateView shows the requests of one host that have waited for longer than their
// patience.
type lateView struct {
	Authority         string
	Waiting           int
	Longest, Patience string
}

func newLateViews(c client) (all []lateView) {
	for _, l := range c.Late {
		all = append(all, lateView{host(l.Authority), l.Waiting, duration(l.Longest), duration(l.Patience)})
	}
	return all
}

// waiting reports whether requests wait without an answer while nothing is known to be
// down: that may be the begin of an outage.
func waiting(c client) bool {
	return len(c.Late) > 0 && len(c.OpenOutages) == 0 && c.State != respawn.StateClosed
}

// answerWaiting answers the first questions about requests that wait.
func answerWaiting(c client) answers {
	var names []string
	n, longest := 0, time.Duration(0)
	for _, l := range c.Late {
		n, longest = n+l.Waiting, max(longest, l.Longest)
		names = append(names, host(l.Authority))
	}
	return answers{
		Over:      fmt.Sprintf("Nothing is down yet, but late: %s without an answer.", count(n, "request")),
		Host:      listed(names) + ".",
		Transport: "Not known yet: a slow upstream looks the same.",
		Long:      fmt.Sprintf("The longest wait has lasted for %s.", duration(longest)),
		Next:      "If no answer comes, a fresh transport will be tried.",
	}
}

// writeLate lists who is late, the longest wait first.
func writeLate(w io.Writer, c client) {
	name := "late"
	for _, l := range slices.SortedFunc(slices.Values(c.Late), func(a, b respawn.LateHealth) int { return int(b.Longest - a.Longest) }) {
		fmt.Fprintf(w, "  %-19s%s: %s, the longest for %s; patience %s\n",
			name, host(l.Authority), count(l.Waiting, "request"), duration(l.Longest), duration(l.Patience))
		name = ""
	}
}

// listed are names in a row, the first of many.
func listed(names []string) string {
	if n := len(names) - 3; n > 0 {
		names = append(names[:3:3], "and "+count(n, "other"))
	}
	return strings.Join(names, ", ")
}
