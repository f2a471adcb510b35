package respawndebug

import (
	"cmp"
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
// down: an outage may have begun.
func waiting(c client) bool {
	return len(c.Late) > 0 && len(c.OpenOutages) == 0 && c.State != respawn.StateClosed
}

// answerWaiting answers the first questions about requests that wait.
func answerWaiting(c client) answers {
	var names []string
	longest := time.Duration(0)
	for _, l := range c.Late {
		longest = max(longest, l.Longest)
		names = append(names, host(l.Authority))
	}
	return answers{
		Over:      "Nothing is down yet, but " + late(c.Late) + ".",
		Host:      listed(names),
		Transport: "Not known yet: a slow upstream looks the same.",
		Long:      fmt.Sprintf("The longest wait is %s so far.", duration(longest)),
		Next:      "If no answer comes, a fresh transport will be tried.",
	}
}

// late says how many requests are late.
func late(all []respawn.LateHealth) string {
	n := 0
	for _, l := range all {
		n += l.Waiting
	}
	if n == 1 {
		return "1 request is late"
	}
	return count(n, "request") + " are late"
}

// writeLate lists the hosts whose requests are late, the longest wait first.
func writeLate(w io.Writer, c client) {
	name := "late"
	for _, l := range slices.SortedFunc(slices.Values(c.Late), func(a, b respawn.LateHealth) int { return cmp.Compare(b.Longest, a.Longest) }) {
		fmt.Fprintf(w, "  %-23s%s: %s, the longest for %s; patience %s\n",
			name, host(l.Authority), count(l.Waiting, "request"), duration(l.Longest), duration(l.Patience))
		name = ""
	}
}

// listed joins names; of many, it lists only the first.
func listed(names []string) string {
	if n := len(names) - 3; n > 0 {
		names = append(names[:3:3], "and "+count(n, "other"))
	}
	return strings.Join(names, ", ")
}
