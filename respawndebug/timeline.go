package respawndebug

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/respawnhttp/respawn"
)

// A timeline is the picture of past outages and recreations. Days can lie
// between two incidents and milliseconds between two trials, so no single scale shows
// both: events that are near one another make an episode, which has a scale of its own,
// and the quiet time between episodes is left out.
//
// All places are percentages of the width, which the browser resolves: text and
// marks keep their size on every screen.
type timeline struct {
	Title, Description string
	Episodes           []episode
	Outages            []outageBar
	Trials             []bar
	Marks              []mark
	Drains             []drain
	Labels             []axisLabel
	Ticks              []label // how long after an episode's beginning
	OutageLanes        int
	DrainLanes         int
}

type episode struct{ X, Width float64 }

type bar struct {
	X, Width float64
	Title    string
}

// An outageBar has its length written above it.
type outageBar struct {
	bar
	Lane int
	Open bool // it lasts
	Text label
	Who  string // its host, where others have bars, too
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
	Anchor string // of the SVG text: start, middle or end
	Text   string
}

// An axisLabel names the time of a rule across the picture.
type axisLabel struct {
	label
	Rule float64
}

// Where the lanes are, in pixels from the top.
const (
	top         = 13
	outageLane  = 28 // high, each
	drainLane   = 12
	betweenRows = 24
)

// Base is where the bar's text stands, and Top its upper edge beneath that.
func (o outageBar) Base() int { return top + outageLane*o.Lane }
func (o outageBar) Top() int  { return o.Base() + 4 }

// TrialY is where the recreations are.
func (t *timeline) TrialY() int { return top + outageLane*max(t.OutageLanes, 1) + 4 }

// TrialTop is the upper edge of their bars. TrialLabel and DrainLabel are where the
// rows' names stand, and ticks reach from TickTop to TickBottom.
func (t *timeline) TrialTop() float64 { return float64(t.TrialY()) - 1.5 }
func (t *timeline) TrialLabel() int   { return t.TrialY() + 4 }
func (t *timeline) DrainLabel() int   { return t.DrainY() + 6 }
func (t *timeline) TickTop() int      { return t.Scale() - 16 }
func (t *timeline) TickBottom() int   { return t.Scale() - 11 }

// DrainY is where the first drain is, and Y where each is, in the timeline that it
// is of.
func (t *timeline) DrainY() int   { return t.TrialY() + betweenRows - 2 }
func (t *timeline) Y(d drain) int { return t.DrainY() + drainLane*d.Lane }

// Scale and Axis are where the ticks are named and the time is written.
func (t *timeline) Scale() int {
	if t.DrainLanes == 0 {
		return t.TrialY() + betweenRows + 6
	}
	return t.DrainY() + drainLane*(t.DrainLanes-1) + betweenRows + 6
}
func (t *timeline) Shade() int  { return t.Scale() + 5 }
func (t *timeline) Axis() int   { return t.Shade() + 13 }
func (t *timeline) Height() int { return t.Axis() + 6 }

const (
	quiet      = time.Minute // between episodes: more than the default backoff's longest
	margin     = 1.5         // percent, at both ends
	maxGap     = 2.5         // percent that a quiet time takes
	allGaps    = 25.0        // percent that all of them may take
	labelWidth = 23.0        // percent that a label may need on a phone
	nowWidth   = 12.0
	tickWidth  = 17.0
	barWidth   = 24.0 // percent that the length of an outage may need
	maxLanes   = 3    // of drains, and of outages
)

// lanes are rows of bars. The value of a lane says where it is free again.
type lanes [maxLanes]float64

// take finds a lane for a bar from x to end: the last one if none is free.
func (l *lanes) take(x, end float64) int {
	i := slices.IndexFunc(l[:], func(free float64) bool { return free <= x })
	if i < 0 {
		i = maxLanes - 1
	}
	l[i] = end
	return i
}

// newTimeline lays out what happened; records are sorted by their ends. It is nil if
// nothing did.
func newTimeline(outages []respawn.OutageHealth, records []respawn.RecreationRecord, now time.Time) *timeline {
	if len(outages)+len(records) == 0 {
		return nil
	}
	s := newScale(outages, records, now)
	t := &timeline{Labels: s.labels(now), Ticks: s.ticks()}
	for _, e := range s.episodes {
		x := s.at(e.from)
		t.Episodes = append(t.Episodes, episode{x, s.at(e.to) - x})
	}
	t.drawOutages(s, outages, now)
	var free lanes
	for _, r := range records {
		end := r.Time.Add(r.Duration)
		title := describe(r, now)
		t.Trials = append(t.Trials, s.bar(r.Time, end, title))
		t.Marks = append(t.Marks, mark{s.at(end), outcome(r), title})
		if r.Drained == 0 {
			continue
		}
		until, text := end.Add(r.DrainTime), fmt.Sprintf("%s drained in %s", count(r.Drained, "request"), duration(r.DrainTime))
		if r.Draining {
			until, text = now, fmt.Sprintf("still draining: %s in flight when it was retired", count(r.Drained, "request"))
		}
		d := drain{bar: s.bar(end, until, text), Open: r.Draining}
		d.Lane = free.take(d.X, d.X+d.Width)
		t.DrainLanes = max(t.DrainLanes, d.Lane+1)
		t.Drains = append(t.Drains, d)
	}
	t.Title, t.Description = summarize(outages, records, now)
	return t
}

// drawOutages draws a bar for each outage, the first to begin first.
func (t *timeline) drawOutages(s *scale, outages []respawn.OutageHealth, now time.Time) {
	sorted := slices.Clone(outages)
	slices.SortStableFunc(sorted, func(a, b respawn.OutageHealth) int { return a.Begin.Compare(b.Begin) })
	several := slices.ContainsFunc(sorted, func(o respawn.OutageHealth) bool { return o.Authority != sorted[0].Authority })
	var free lanes
	for _, o := range sorted {
		b := outageBar{bar: s.bar(o.Begin, o.Begin.Add(o.Duration), describeOutage(o, now)), Open: o.End.IsZero()}
		b.Text = label{b.X, "start", duration(o.Duration)}
		if b.X+barWidth > 100 {
			b.Text.X, b.Text.Anchor = b.X+b.Width, "end"
		}
		if several {
			b.Who = who(o.Authority)
		}
		b.Lane = free.take(b.left(), max(b.X+b.Width, b.X+barWidth))
		t.OutageLanes = max(t.OutageLanes, b.Lane+1)
		t.Outages = append(t.Outages, b)
	}
}

// maxWho is as much of a name as barWidth has room for where it is shown, next to the
// length: on screens that are wide enough for tables.
const maxWho = 16

// who names an authority in a few letters.
func who(authority string) string {
	if authority == "" {
		return "all hosts"
	}
	name := []rune(shown(authority))
	if _, host, ok := strings.Cut(string(name), "://"); ok {
		name = []rune(host)
	}
	if len(name) > maxWho {
		return string(name[:maxWho-1]) + "…"
	}
	return string(name)
}

// left returns where the bar or its text begins.
func (b *outageBar) left() float64 {
	if b.Text.Anchor == "end" {
		return min(b.X, b.Text.X-barWidth)
	}
	return b.X
}

// describeOutage describes an outage in one sentence.
func describeOutage(o respawn.OutageHealth, now time.Time) string {
	who := host(o.Authority)
	if o.End.IsZero() {
		return fmt.Sprintf("%s: down for %s, since %s", who, duration(o.Duration), clock(o.Begin, now))
	}
	return fmt.Sprintf("%s: outage of %s, from %s to %s", who, duration(o.Duration), clock(o.Begin, now), clock(o.End, now))
}

// describe describes a recreation in one sentence.
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
func summarize(outages []respawn.OutageHealth, records []respawn.RecreationRecord, now time.Time) (title, description string) {
	outcomes := map[string]int{}
	var longest time.Duration
	var drained int64
	first := now
	for _, r := range records {
		outcomes[outcome(r)]++
		drained += r.Drained
		first = earlier(first, r.Time)
	}
	for _, o := range outages {
		longest = max(longest, o.Duration)
		first = earlier(first, o.Begin)
	}
	var parts []string
	for _, o := range []string{"promoted", "rejected", "called off"} {
		if n := outcomes[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	if len(parts) > 0 {
		description = strings.Join(parts, ", ") + "."
	}
	if longest > 0 {
		description = strings.TrimSpace(description + " Longest outage: " + duration(longest) + ".")
	}
	if drained > 0 {
		description += " Retired with " + count(drained, "request") + " in flight."
	}
	title = fmt.Sprintf("%s, %s since %s", count(len(outages), "outage"), count(len(records), "recreation"), clock(first, now))
	return title, description
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
