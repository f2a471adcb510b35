package respawn

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A simEvent is a line of the log: virtual time since the start, who, what.
type simEvent struct {
	at        time.Duration
	who, what string
}

func (e simEvent) String() string {
	return fmt.Sprintf("%14.9fs  %-9s %s", e.at.Seconds(), e.who, e.what)
}

// A simLog is what happened, in order. It is guarded by simWorld.mu.
type simLog struct {
	events []simEvent
	broken string // the first invariant that did not hold
}

// lines is the log in an order that the scheduler has no part in: where
// several things happened in one instant, they are sorted.
func (l *simLog) lines() []string {
	events := slices.Clone(l.events)
	slices.SortStableFunc(events, func(a, b simEvent) int {
		return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.who, b.who), strings.Compare(a.what, b.what))
	})
	lines := make([]string, len(events))
	for i, e := range events {
		lines[i] = e.String()
	}
	return lines
}

// story is the log as it is printed for a seed that failed.
func (l *simLog) story() string {
	var b strings.Builder
	for _, e := range l.events {
		b.WriteString(e.String())
		b.WriteByte('\n')
	}
	return b.String()
}
