package respawndebug

import (
	"slices"
	"time"

	"github.com/respawnhttp/respawn"
)

// An incident is what a client's answers are about: the outages that last or, if none
// does, the one that ended last and those of other hosts that overlap it.
type incident struct {
	outages []respawn.OutageHealth // the first to begin first
	whole   respawn.OutageHealth   // from the first one's begin until nothing was down any more
}

// latest returns the latest incident, if there was one.
func latest(c client) (in incident, found bool) {
	in.outages = slices.Clone(c.OpenOutages)
	lasts := len(in.outages) > 0
	if !lasts {
		in.outages = lastToEnd(c.EndedOutages)
	}
	if len(in.outages) == 0 {
		return in, false
	}
	in.whole = in.outages[len(in.outages)-1]
	slices.SortStableFunc(in.outages, func(a, b respawn.OutageHealth) int { return a.Begin.Compare(b.Begin) })
	first := in.outages[0]
	if lasts {
		in.whole = first
	}
	in.whole.Duration += in.whole.Begin.Sub(first.Begin)
	in.whole.Begin = first.Begin
	return in, true
}

// lastToEnd returns the outage that ended last, after those that overlap it or one another.
// An outage that was forgotten ended long before that was known.
func lastToEnd(ended []respawn.OutageHealth) []respawn.OutageHealth {
	all := slices.Clone(ended)
	slices.SortStableFunc(all, func(a, b respawn.OutageHealth) int { return a.End.Compare(b.End) })
	for i := len(all) - 1; i > 0; i-- {
		begin := slices.MinFunc(all[i:], func(a, b respawn.OutageHealth) int { return a.Begin.Compare(b.Begin) }).Begin
		if !all[i-1].End.After(begin) {
			return all[i:]
		}
	}
	return all
}

// often is how many outages of a host within an hour are no coincidence.
const often = 3

// recurrences counts the outages of the last hour for each host of the incident, and
// returns the largest count; 0 if it is less than often.
func (in incident) recurrences(c client, now time.Time) (most int) {
	begun := map[string]int{}
	for _, o := range allOutages(c) {
		if now.Sub(o.Begin) <= time.Hour {
			begun[o.Authority]++
		}
	}
	for _, o := range in.outages {
		most = max(most, begun[o.Authority])
	}
	if most < often {
		return 0
	}
	return most
}

// hosts names the hosts that are down, or were. If the transport had ended, that was all
// of them.
func (in incident) hosts() string {
	var names []string
	for _, o := range in.outages {
		if o.Authority == "" {
			if in.whole.End.IsZero() {
				return "All hosts: the transport has ended"
			}
			return "All hosts: the transport had ended"
		}
		if name := host(o.Authority); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return listed(names)
}
