package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An event is a line of the log: virtual time since the start, who, what.
type event struct {
	at        time.Duration
	who, what string
}

func (e event) String() string {
	return fmt.Sprintf("%14.9fs  %-9s %s", e.at.Seconds(), e.who, e.what)
}

// A story is what happened, in order. It is guarded by world.mu.
type story struct {
	events []event
	broken string // the first invariant that did not hold
}

// lines is the log in an order that the scheduler has no part in: where
// several things happened in one instant, they are sorted.
func (l *story) lines() []string {
	events := slices.Clone(l.events)
	slices.SortStableFunc(events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.who, b.who), strings.Compare(a.what, b.what))
	})
	lines := make([]string, len(events))
	for i, e := range events {
		lines[i] = e.String()
	}
	return lines
}

// story is the log as it is printed for a seed that failed.
func (l *story) story() string {
	var b strings.Builder
	for _, e := range l.events {
		b.WriteString(e.String())
		b.WriteByte('\n')
	}
	return b.String()
}
