package sim

import "time"

// calm is how long an authority must have had no outage, and the client no promotion because of an
// outage, before a trip is news: such a trip starts the backoff over.
const calm = time.Minute

// judgePace: a build that is not planned begins no sooner than the backoff's first interval after
// the build before it. It also waits for the interval that was drawn with the build before it,
// counted from that candidate's first refusal or end, unless the pace has started over since.
func (w *world) judgePace() {
	first := w.plan.policy.first
	if w.plan.policy.fault == 1 {
		first = time.Second // the client overrules a policy that fails
	}
	var before *run
	for _, r := range w.runs {
		if r.planned() {
			continue
		}
		if before != nil {
			w.must(r.start >= before.start+first, "recreation %d begins %v after %d, in a first interval of %v", r.number, r.start-before.start, before.number, first)
			judged := before.end
			for _, f := range w.refusals {
				if f.run == before {
					judged = min(judged, f.at.at)
				}
			}
			w.must(r.start >= judged+before.drawn || w.startsOver(before, r),
				"recreation %d begins %v after the verdict on %d, in a window of %v", r.number, r.start-judged, before.number, before.drawn)
		}
		before = r
	}
}

// startsOver reports whether a trip between the beginnings of two recreations may have been news.
func (w *world) startsOver(before, next *run) bool {
	for i, o := range w.outages {
		if o.tripped && o.mayFollow(before) && o.at.at <= next.start && w.isNews(i) {
			return true
		}
	}
	return false
}

// mayFollow reports whether o may have come after the beginning of r. Within one instant, a trip
// may be told before a recreation that had begun when it came. Only a trip of the authority that
// the recreation is for is known to have come first.
func (o outage) mayFollow(r *run) bool {
	return o.at.at > r.start || o.at.at == r.start && (o.runs >= r.number || o.au != auOf(r.from))
}

// isNews reports whether a trip was news: its authority had no outage in the minute before, and no
// transport was promoted because of an outage in that minute. The first transport of a client that had
// none was promoted because of nothing.
func (w *world) isNews(trip int) bool {
	o := w.outages[trip]
	for _, r := range w.runs {
		if r.promoted && !r.planned() && r.trigger != "start" && r.end < o.at.at && o.at.at-r.end < calm {
			return false
		}
	}
	for i := trip - 1; i >= 0; i-- {
		if before := w.outages[i]; before.au == o.au {
			return !before.tripped && o.at.at-before.at.at >= calm
		}
	}
	return true
}
