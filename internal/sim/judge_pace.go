package sim

import "time"

// calm is for how long there must have been no outage, and no swap for need, for a
// trip to be news.
const calm = time.Minute

// judgePace holds the builds for need to their windows (rule 9): never closer than a
// first interval, and after each the interval that was drawn with it, from its first
// refusal or its end, unless the pace has started over since.
func (w *world) judgePace() {
	first := w.plan.policy.first
	if w.plan.policy.fault == 1 {
		first = time.Second // overruled
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
			w.must(r.start >= judged+before.drawn || w.startsOver(before.start, r.start),
				"recreation %d begins %v after the verdict on %d, in a window of %v", r.number, r.start-judged, before.number, before.drawn)
		}
		before = r
	}
}

// startsOver reports whether a trip after the one time, and up to the other, may have
// been news.
func (w *world) startsOver(after, until time.Duration) bool {
	for i, o := range w.outages {
		if o.tripped && o.at.at > after && o.at.at <= until && w.isNews(i) {
			return true
		}
	}
	return false
}

// isNews reports whether a trip's authority had no outage in the minute before, in
// which no transport was promoted for need either.
func (w *world) isNews(trip int) bool {
	o := w.outages[trip]
	for _, r := range w.runs {
		if r.promoted && !r.planned() && r.end < o.at.at && o.at.at-r.end < calm {
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
