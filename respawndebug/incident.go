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

// latest is the latest incident, if there was one.
func latest(c client) (incident, bool) {
	in := incident{outages: slices.Clone(c.OpenOutages)}
	if len(in.outages) == 0 {
		in.outages = overlapping(c.EndedOutages)
	}
	if len(in.outages) == 0 {
		return incident{}, false
	}
	in.whole = in.outages[0] // the last to end
	slices.SortStableFunc(in.outages, func(a, b respawn.OutageHealth) int { return a.Begin.Compare(b.Begin) })
	first := in.outages[0]
	if in.whole.End.IsZero() {
		in.whole = first
	}
	in.whole.Duration += in.whole.Begin.Sub(first.Begin)
	in.whole.Begin = first.Begin
	return in, true
}

// overlapping are the last to end of the outages, and all that overlap it or one another,
// the last to end first.
func overlapping(ended []respawn.OutageHealth) (all []respawn.OutageHealth) {
	var begin time.Time
	for _, o := range slices.Backward(ended) { // which are in the order in which they ended
		if len(all) > 0 && !o.End.After(begin) {
			break
		}
		if len(all) == 0 || o.Begin.Before(begin) {
			begin = o.Begin
		}
		all = append(all, o)
	}
	return all
}

// hosts names the hosts that are down, or were. A transport that had ended was there for
// none of them.
func (in incident) hosts() string {
	var names []string
	for _, o := range in.outages {
		if o.Authority == "" {
			return "All hosts: the transport had ended"
		}
		if name := host(o.Authority); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return listed(names)
}
