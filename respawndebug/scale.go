package respawndebug

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/respawnhttp/respawn"
)

// A scale maps times to places: linear within an episode and between two. It ends now.
type scale struct {
	episodes []interval
	points   []point // sorted by both
}

type interval struct {
	from, to time.Time
	n        int       // what happened
	begin    time.Time // from, without the padding
	end      time.Time // to, without the padding
}

type point struct {
	at time.Time
	x  float64
}

func newScale(outages []respawn.OutageHealth, records []respawn.RecreationRecord, now time.Time) *scale {
	s := &scale{episodes: episodes(intervals(outages, records, now))}
	total, weights := 0.0, make([]float64, len(s.episodes))
	for i := range s.episodes {
		e := &s.episodes[i]
		d := e.to.Sub(e.from)
		weights[i] = float64(e.n) + math.Log2(1+d.Seconds())
		total += weights[i]
		pad := min(max(d/20, time.Millisecond), quiet/2)
		e.begin, e.end, e.from = e.from, e.to, e.from.Add(-pad)
		e.to = earlier(e.to.Add(pad), now)
	}
	last := s.episodes[len(s.episodes)-1]
	gaps := len(s.episodes) // the last one leads to now
	if !last.to.Before(now) {
		gaps--
	}
	gap := min(maxGap, allGaps/float64(len(s.episodes)))
	room := 100 - 2*margin - gap*float64(gaps)
	x := margin
	for i, e := range s.episodes {
		width := room * weights[i] / total
		s.points = append(s.points, point{e.from, x}, point{e.to, x + width})
		x += width + gap
	}
	if last.to.Before(now) {
		s.points = append(s.points, point{now, 100 - margin})
	}
	return s
}

// intervals are the times of all that happened, the first first.
func intervals(outages []respawn.OutageHealth, records []respawn.RecreationRecord, now time.Time) []interval {
	var all []interval
	for _, o := range outages {
		all = append(all, interval{from: o.Begin, to: earlier(o.Begin.Add(o.Duration), now), n: 1})
	}
	for _, r := range records {
		end := r.Time.Add(r.Duration)
		drained := r.DrainTime
		if r.Draining {
			drained = now.Sub(end)
		}
		// A long drain goes on beyond its episode, so that it does not take the room of the others.
		all = append(all, interval{from: r.Time, to: earlier(end.Add(min(drained, quiet)), now), n: 1})
	}
	slices.SortStableFunc(all, func(a, b interval) int { return a.from.Compare(b.from) })
	return all
}

// episodes merges intervals that are near one another.
func episodes(all []interval) []interval {
	var merged []interval
	for _, v := range all {
		if n := len(merged); n > 0 && v.from.Sub(merged[n-1].to) <= quiet {
			last := &merged[n-1]
			last.n += v.n
			if v.to.After(last.to) {
				last.to = v.to
			}
			continue
		}
		merged = append(merged, v)
	}
	return merged
}

// at returns the place of t.
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

// labels names the right edge, which is now, and the beginnings of episodes, the
// newest first, as far as there is room.
func (s *scale) labels(now time.Time) []axisLabel {
	const edge = 100 - margin
	labels := []axisLabel{{label{edge, "end", "now"}, edge}}
	free := edge - nowWidth // to the left of it
	for i, e := range slices.Backward(s.episodes) {
		x, text := s.at(e.begin), clock(e.begin, now)
		if day, _, dated := strings.Cut(text, " "); dated {
			text = day // a whole one is too wide; the table has it
		}
		switch {
		case x+labelWidth <= free:
			labels = append(labels, axisLabel{label{x, "start", text}, x})
			free = x
		case i == len(s.episodes)-1 && min(x, free) >= labelWidth:
			end := min(x, free)
			labels = append(labels, axisLabel{label{end, "end", text}, x})
			free = end - labelWidth
		}
	}
	return labels
}

// steps are the round lengths that ticks can be apart.
var steps = []time.Duration{
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour,
}

// ticks divide each episode that has room for it, from its beginning on.
func (s *scale) ticks() []label {
	var ticks []label
	free := 0.0
	for _, e := range s.episodes {
		most := int((s.at(e.end) - s.at(e.begin)) / tickWidth)
		for _, step := range steps {
			if n := int(e.end.Sub(e.begin) / step); n <= most {
				for k := 1; k <= n; k++ {
					d := time.Duration(k) * step
					if x := s.at(e.begin.Add(d)); x-tickWidth/2 >= free && x+tickWidth/2 <= 100 {
						ticks = append(ticks, label{x, "middle", "+" + brief(d)})
						free = x + tickWidth/2
					}
				}
				break
			}
		}
	}
	return ticks
}
