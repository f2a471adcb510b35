package respawndebug

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/respawnhttp/respawn"
)

// A timeline is what the page draws of past recreations. Days can lie between
// two incidents and milliseconds between two trials, so no single scale shows
// both: recreations that are near one another make an episode, which has a
// scale of its own, and the quiet time between episodes is left out.
//
// All places are percentages of the width, which the browser resolves: text and
// marks keep their size on every screen.
type timeline struct {
	Title, Description string
	Episodes           []episode
	Outages            []bar // the longest first, so that those within it are seen
	Trials             []bar
	Marks              []mark
	Drains             []drain
	Labels             []label
	DrainLanes         int
}

type episode struct{ X, Width float64 }

type bar struct {
	X, Width float64
	Title    string
}

type mark struct {
	X       float64
	Outcome string
	Title   string
}

type drain struct {
	bar
	Lane int
	Open bool // it goes on
}

type label struct {
	X      float64
	Anchor string // of the SVG text: start or end
	Text   string
}

// Where the lanes are, in pixels from the top.
const (
	outageLane = 10
	trialLane  = 34
	drainLane  = 56
	laneHeight = 12
	axisHeight = 28
)

// Axis is where the time is written.
func (t *timeline) Axis() int { return drainLane + laneHeight*max(t.DrainLanes, 1) + axisHeight - 14 }

func (t *timeline) Height() int { return drainLane + laneHeight*max(t.DrainLanes, 1) + axisHeight - 8 }

// Y is the middle of the drain's lane.
func (d drain) Y() int { return drainLane + laneHeight*d.Lane }

const (
	quiet       = time.Minute // between episodes: more than the default backoff's longest
	margin      = 1.5         // percent, at both ends
	maxGap      = 2.5         // percent that a quiet time takes
	allGaps     = 25.0        // percent that all of them may take
	labelWidth  = 23.0        // percent that a label may need on a phone
	nowWidth    = 12.0
	maxDrainRow = 3
)

// newTimeline lays out records, which are sorted by their ends.
func newTimeline(records []respawn.RecreationRecord, now time.Time) *timeline {
	if len(records) == 0 {
		return nil
	}
	s := newScale(records, now)
	t := &timeline{}
	for _, e := range s.episodes {
		x := s.at(e.from)
		t.Episodes = append(t.Episodes, episode{x, s.at(e.to) - x})
	}
	var lanes [maxDrainRow]float64 // where each is free again
	for _, r := range records {
		end := r.Time.Add(r.Duration)
		if r.Outage > 0 {
			t.Outages = append(t.Outages, s.bar(end.Add(-r.Outage), end, fmt.Sprintf(
				"%s: outage of %s, since the first failure", shown(r.Authority), duration(r.Outage))))
		}
		title := describe(r, now)
		t.Trials = append(t.Trials, s.bar(r.Time, end, title))
		t.Marks = append(t.Marks, mark{s.at(end), outcome(r), title})
		if r.Drained > 0 {
			until, text := end.Add(r.DrainTime), fmt.Sprintf("%s drained in %s", count(r.Drained, "request"), duration(r.DrainTime))
			if r.Draining {
				until, text = now, fmt.Sprintf("still draining: %s in flight when it was retired", count(r.Drained, "request"))
			}
			d := drain{bar: s.bar(end, until, text), Open: r.Draining}
			d.Lane = slices.IndexFunc(lanes[:], func(free float64) bool { return free <= d.X })
			if d.Lane < 0 {
				d.Lane = maxDrainRow - 1
			}
			lanes[d.Lane] = d.X + d.Width
			t.DrainLanes = max(t.DrainLanes, d.Lane+1)
			t.Drains = append(t.Drains, d)
		}
	}
	slices.SortStableFunc(t.Outages, func(a, b bar) int { return cmp.Compare(b.Width, a.Width) })
	t.Labels = s.labels(now)
	t.Title, t.Description = summarize(records, now)
	return t
}

// describe is a recreation in one sentence.
func describe(r respawn.RecreationRecord, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s", clock(r.Time, now), shown(string(r.Trigger)), outcome(r))
	if r.ErrorType != "" {
		fmt.Fprintf(&b, " (%s)", shown(string(r.ErrorType)))
	}
	fmt.Fprintf(&b, " after %s, generation %d in service", duration(r.Duration), r.Generation)
	if r.Authority != "" {
		fmt.Fprintf(&b, ", %s", shown(r.Authority))
	}
	return b.String()
}

// summarize says in words what the timeline shows.
func summarize(records []respawn.RecreationRecord, now time.Time) (title, description string) {
	outcomes := map[string]int{}
	var outage time.Duration
	var drained int64
	for _, r := range records {
		outcomes[outcome(r)]++
		outage = max(outage, r.Outage)
		drained += r.Drained
	}
	var parts []string
	for _, o := range []string{"promoted", "rejected", "called off"} {
		if n := outcomes[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	first := records[0]
	title = fmt.Sprintf("%s since %s", count(len(records), "recreation"), clock(first.Time, now))
	description = strings.Join(parts, ", ") + "."
	if outage > 0 {
		description += " Longest outage: " + duration(outage) + "."
	}
	if drained > 0 {
		description += " Retired with " + count(drained, "request") + " in flight."
	}
	return title, description
}

// A scale maps times to places: linear within an episode and between two.
type scale struct {
	episodes []interval
	points   []point // sorted by both
}

type interval struct {
	from, to time.Time
	n        int       // recreations
	begin    time.Time // from, without the padding
}

type point struct {
	at time.Time
	x  float64
}

func newScale(records []respawn.RecreationRecord, now time.Time) *scale {
	s := &scale{}
	for _, r := range records {
		end := r.Time.Add(r.Duration)
		drained := r.DrainTime
		if r.Draining {
			drained = now.Sub(end)
		}
		// A long outage began before its episode, and a long drain goes on
		// beyond it: neither may take the room of all others.
		before := min(max(r.Outage-r.Duration, 0), quiet)
		s.add(interval{from: r.Time.Add(-before), to: end.Add(min(drained, quiet)), n: 1})
	}
	total, weights := 0.0, make([]float64, len(s.episodes))
	for i := range s.episodes {
		e := &s.episodes[i]
		d := e.to.Sub(e.from)
		weights[i] = float64(e.n) + math.Log2(1+d.Seconds())
		total += weights[i]
		pad := min(max(d/20, time.Millisecond), quiet/2)
		e.begin, e.from, e.to = e.from, e.from.Add(-pad), e.to.Add(pad)
	}
	gap := min(maxGap, allGaps/float64(len(s.episodes)))
	room := 100 - 2*margin - gap*float64(len(s.episodes)) // the last gap leads to now
	x := margin
	for i, e := range s.episodes {
		width := room * weights[i] / total
		s.points = append(s.points, point{e.from, x}, point{e.to, x + width})
		x += width + gap
	}
	last := s.points[len(s.points)-1].at
	if now.After(last) {
		last = now
	}
	s.points = append(s.points, point{last, 100 - margin})
	return s
}

// add merges v with the episodes that it is near to.
func (s *scale) add(v interval) {
	for n := len(s.episodes); n > 0; n-- {
		last := s.episodes[n-1]
		if v.from.Sub(last.to) > quiet {
			break
		}
		if last.from.Before(v.from) {
			v.from = last.from
		}
		if last.to.After(v.to) {
			v.to = last.to
		}
		v.n += last.n
		s.episodes = s.episodes[:n-1]
	}
	s.episodes = append(s.episodes, v)
}

// at is the place of t.
func (s *scale) at(t time.Time) float64 {
	i, _ := slices.BinarySearchFunc(s.points, t, func(p point, t time.Time) int { return p.at.Compare(t) })
	switch i {
	case 0:
		return s.points[0].x
	case len(s.points):
		return s.points[i-1].x
	}
	a, b := s.points[i-1], s.points[i]
	return a.x + (b.x-a.x)*float64(t.Sub(a.at))/float64(b.at.Sub(a.at))
}

func (s *scale) bar(from, to time.Time, title string) bar {
	x := s.at(from)
	return bar{x, max(s.at(to)-x, 0.3), title}
}

// labels names the beginnings of episodes, the newest first, and the right
// edge, as far as there is room.
func (s *scale) labels(now time.Time) []label {
	var labels []label
	const edge = 100 - margin
	free := edge // to the left of it
	for _, e := range slices.Backward(s.episodes) {
		x, text := s.at(e.begin), clock(e.begin, now)
		if day, _, dated := strings.Cut(text, " "); dated {
			text = day // a whole one is too wide; the table has it
		}
		switch {
		case x+labelWidth <= free:
			labels = append(labels, label{x, "start", text})
			if free == edge && x+labelWidth+nowWidth <= edge {
				labels = append(labels, label{edge, "end", "now"})
			}
			free = x
		case free == edge && x >= labelWidth:
			labels = append(labels, label{x, "end", text})
			free = x - labelWidth
		}
	}
	return labels
}
