package respawndebug

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var night = time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)

// at is a recreation of one second that began so long after the night did.
func at(d time.Duration) respawn.RecreationRecord {
	return respawn.RecreationRecord{Time: night.Add(d), Duration: time.Second, Outcome: "promoted"}
}

// over is an outage that began so long after the night did.
func over(begin, d time.Duration) respawn.OutageHealth {
	from := night.Add(begin)
	return respawn.OutageHealth{Authority: "https://a.test:443", Begin: from, End: from.Add(d), Duration: d, EndedBy: "swap"}
}

func TestEpisodes(t *testing.T) {
	for name, tc := range map[string]struct {
		outages  []respawn.OutageHealth
		records  []respawn.RecreationRecord
		episodes [][2]time.Duration // without their padding
	}{
		"one":              {nil, []respawn.RecreationRecord{at(0)}, [][2]time.Duration{{0, time.Second}}},
		"near one another": {nil, []respawn.RecreationRecord{at(0), at(61 * time.Second)}, [][2]time.Duration{{0, 62 * time.Second}}},
		"quiet in between": {nil, []respawn.RecreationRecord{at(0), at(62 * time.Second)}, [][2]time.Duration{{0, time.Second}, {62 * time.Second, 63 * time.Second}}},
		"an outage's trials": {
			[]respawn.OutageHealth{over(0, 4*time.Minute)},
			[]respawn.RecreationRecord{at(10 * time.Second), at(2 * time.Minute)},
			[][2]time.Duration{{0, 4 * time.Minute}},
		},
		"an outage of hours": {
			[]respawn.OutageHealth{over(time.Hour, 6*time.Hour)}, []respawn.RecreationRecord{at(0)},
			[][2]time.Duration{{0, time.Second}, {time.Hour, 7 * time.Hour}},
		},
		"an outage alone": {[]respawn.OutageHealth{over(0, time.Minute)}, nil, [][2]time.Duration{{0, time.Minute}}},
		"a drain": {
			nil, []respawn.RecreationRecord{{Time: night, Duration: time.Second, Drained: 1, DrainTime: 20 * time.Second}},
			[][2]time.Duration{{0, 21 * time.Second}},
		},
		"a drain that does not end": {
			nil, []respawn.RecreationRecord{{Time: night, Duration: time.Second, Drained: 1, Draining: true}},
			[][2]time.Duration{{0, 61 * time.Second}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScale(tc.outages, tc.records, night.Add(24*time.Hour))
			var got [][2]time.Duration
			for _, e := range s.episodes {
				assert.True(t, e.from.Before(e.begin) && e.end.Before(e.to), "there is room around it")
				got = append(got, [2]time.Duration{e.begin.Sub(night), e.end.Sub(night)})
			}
			assert.Equal(t, tc.episodes, got)
		})
	}
}

// Within an episode the scale is linear, and quiet hours take little room.
func TestScale(t *testing.T) {
	s := newScale(nil, []respawn.RecreationRecord{at(0), at(10 * time.Second), at(10 * time.Hour)}, night.Add(20*time.Hour))
	require.Len(t, s.episodes, 2)
	a, b, c := s.at(night), s.at(night.Add(5*time.Second)), s.at(night.Add(10*time.Second))
	assert.InDelta(t, b-a, c-b, 1e-9)
	assert.Greater(t, c-a, 40.0, "two of the three, so more than half of the room but for the padding")
	assert.InDelta(t, 2.5, s.at(s.episodes[1].from)-s.at(s.episodes[0].to), 1e-9)
	assert.InDelta(t, 98.5, s.at(night.Add(20*time.Hour)), 1e-9)
	assert.InDelta(t, 98.5, s.at(night.Add(30*time.Hour)), 1e-9, "the future is at the edge")
	assert.InDelta(t, 1.5, s.at(night.Add(-time.Hour)), 1e-9, "as is what was before")
}

// Whatever the past was like, all of it is on the picture and in its order.
func TestTimelineOfAnyPast(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		now := night
		records := make([]respawn.RecreationRecord, 1+rnd.IntN(64))
		var outages []respawn.OutageHealth
		span := func(longest time.Duration) time.Duration {
			return time.Duration(math.Pow(float64(longest), rnd.Float64())) // of any magnitude
		}
		for i := range records {
			r := &records[i]
			now = now.Add(span(48 * time.Hour))
			r.Time, r.Duration = now, span(10*time.Second)
			now = now.Add(r.Duration)
			r.Outcome = []respawn.Outcome{respawn.OutcomePromoted, respawn.OutcomeRejected}[rnd.IntN(2)]
			if rnd.IntN(2) == 0 {
				d := span(10 * time.Hour)
				outages = append(outages, over(now.Sub(night)-d, d))
			}
			if rnd.IntN(2) == 0 {
				r.Drained, r.DrainTime = 3, span(10*time.Hour)
				if rnd.IntN(3) == 0 {
					r.Draining, r.DrainTime = true, 0
				}
			}
		}
		now = now.Add(span(48 * time.Hour))
		if rnd.IntN(2) == 0 {
			d := span(10 * time.Hour)
			outages = append(outages, respawn.OutageHealth{Begin: now.Add(-d), Duration: d})
		}
		tl := newTimeline(outages, records, now)

		inside := func(what string, x, width float64) {
			require.False(t, math.IsNaN(x) || math.IsNaN(width), "seed %d: %s", seed, what)
			require.GreaterOrEqual(t, x, 0.0, "seed %d: %s", seed, what)
			require.Positive(t, width, "seed %d: %s", seed, what)
			require.LessOrEqual(t, x+width, 100.0, "seed %d: %s", seed, what)
		}
		require.Len(t, tl.Marks, len(records))
		require.Len(t, tl.Trials, len(records))
		for i, m := range tl.Marks {
			inside("mark", m.X, 1)
			require.Equal(t, records[i].Outcome, respawn.Outcome(m.Outcome))
			inside("trial", tl.Trials[i].X, tl.Trials[i].Width)
		}
		require.True(t, slices.IsSortedFunc(tl.Marks, func(a, b mark) int { return cmp.Compare(a.X, b.X) }),
			"seed %d: marks are in the order of their times", seed)
		require.Len(t, tl.Outages, len(outages))
		for _, o := range tl.Outages {
			inside("outage", o.X, o.Width)
			if o.Open {
				require.InDelta(t, 100-margin, o.X+o.Width, 0.31, "seed %d: what lasts reaches to now", seed)
			}
			width := map[string][2]float64{"start": {0, barWidth - 1}, "middle": {1 - barWidth/2, barWidth/2 - 1}, "end": {1 - barWidth, 0}}[o.Text.Anchor]
			require.GreaterOrEqual(t, o.Text.X+width[0], -barWidth/2, "seed %d", seed)
			require.LessOrEqual(t, o.Text.X+width[1], 100.0+barWidth/2, "seed %d", seed)
		}
		for i, tick := range tl.Ticks {
			inside("tick", tick.X-tickWidth/2, tickWidth)
			if i > 0 {
				require.GreaterOrEqual(t, tick.X-tl.Ticks[i-1].X, tickWidth-1e-9, "seed %d: ticks are written over one another", seed)
			}
		}
		for _, d := range tl.Drains {
			inside("drain", d.X, d.Width)
			require.Less(t, tl.Y(d)+6, tl.TickTop())
		}
		for i, e := range tl.Episodes {
			inside("episode", e.X, e.Width)
			if i > 0 {
				require.Greater(t, e.X, tl.Episodes[i-1].X+tl.Episodes[i-1].Width, "seed %d: episodes keep their distance", seed)
			}
		}
		requireRoom(t, seed, tl.Labels)
		for _, l := range tl.Labels[1:] {
			require.True(t, slices.ContainsFunc(tl.Episodes, func(e episode) bool { return e.X <= l.Rule && l.Rule <= e.X+e.Width }), "seed %d: a rule is in its episode", seed)
			if l.Anchor == "end" {
				require.GreaterOrEqual(t, l.Rule, l.X, "seed %d", seed)
			}
		}
	}
	assert.Nil(t, newTimeline(nil, nil, night))
}

// requireRoom checks that no label is written over another.
func requireRoom(t *testing.T, seed uint64, labels []axisLabel) {
	t.Helper()
	require.NotEmpty(t, labels, "seed %d", seed)
	var taken [][2]float64
	for _, l := range labels {
		width := labelWidth
		if l.Text == "now" {
			width = nowWidth
		}
		from := l.X
		if l.Anchor == "end" {
			from -= width
		}
		require.GreaterOrEqual(t, from, 0.0, "seed %d: %s", seed, l.Text)
		require.LessOrEqual(t, from+width, 100.0, "seed %d: %s", seed, l.Text)
		for _, o := range taken {
			require.True(t, from+width <= o[0]+1e-9 || from >= o[1]-1e-9, "seed %d: %s is written over", seed, l.Text)
		}
		taken = append(taken, [2]float64{from, from + width})
	}
}

func TestDrainsSideBySide(t *testing.T) {
	draining := func(d, drain time.Duration) respawn.RecreationRecord {
		r := at(d)
		r.Drained, r.DrainTime = 1, drain
		return r
	}
	tl := newTimeline(nil, []respawn.RecreationRecord{
		draining(0, 10*time.Second), draining(5*time.Second, 20*time.Second), draining(12*time.Second, time.Second),
	}, night.Add(time.Minute))
	var lanes []int
	for _, d := range tl.Drains {
		lanes = append(lanes, d.Lane)
	}
	assert.Equal(t, []int{0, 1, 0}, lanes, "the third begins when the first is over")
	assert.Equal(t, 2, tl.DrainLanes)
}

// Of more episodes than have room for a label the newest has one, and a name
// that is a day's if it was not today.
func TestLabels(t *testing.T) {
	var records []respawn.RecreationRecord
	for i := range 20 {
		records = append(records, at(time.Duration(i)*2*time.Hour))
	}
	tl := newTimeline(nil, records, night.Add(39*time.Hour))
	require.GreaterOrEqual(t, len(tl.Labels), 3)
	assert.Equal(t, axisLabel{label{100 - margin, "end", "now"}, 100 - margin}, tl.Labels[0], "the axis has an end")
	assert.Equal(t, "17:00:00", tl.Labels[1].Text, "the last one's, without its padding")
	assert.Equal(t, "2026-11-24", tl.Labels[len(tl.Labels)-1].Text)
	assert.Less(t, tl.Labels[1].X, 100-margin)

	// A rule stays at its time where its label has to give way to "now".
	records = append(records[:10:10], at(19*time.Hour))
	late := newTimeline(nil, records, night.Add(19*time.Hour+time.Second))
	require.Equal(t, "22:00:00", late.Labels[1].Text)
	last := late.Episodes[10]
	assert.Greater(t, late.Labels[1].Rule, last.X, "its episode's")
	assert.Less(t, late.Labels[1].X, last.X, "there is no room for it further to the right")

	labels := newTimeline(nil, records[:1], night.Add(time.Hour)).Labels
	require.Len(t, labels, 2)
	assert.Equal(t, "03:00:00", labels[1].Text)
}

// Long episodes keep their distance, too.
func TestLongEpisodesKeepTheirDistance(t *testing.T) {
	var records []respawn.RecreationRecord
	for i := range 60 {
		d := time.Duration(i) * 50 * time.Second
		if i >= 30 {
			d += 15 * time.Second // so that there are two, of 24 minutes each
		}
		records = append(records, at(d))
	}
	tl := newTimeline(nil, records, night.Add(time.Hour))
	require.Len(t, tl.Episodes, 2)
	assert.Greater(t, tl.Episodes[1].X, tl.Episodes[0].X+tl.Episodes[0].Width)
	assert.True(t, slices.IsSortedFunc(tl.Marks, func(a, b mark) int { return cmp.Compare(a.X, b.X) }))
	assert.Greater(t, tl.Marks[30].X, tl.Episodes[1].X)
	assert.Less(t, tl.Marks[29].X, tl.Episodes[0].X+tl.Episodes[0].Width)
}

// Where several hosts were down, each bar has its host's name, as much of it as the bar's
// place has room for; where it was one, the name would say nothing.
func TestBarsOfSeveralHostsAreNamed(t *testing.T) {
	named := func(authorities ...string) (names []string) {
		var outages []respawn.OutageHealth
		for i, a := range authorities {
			o := over(time.Duration(i)*time.Second, time.Minute)
			o.Authority = a
			outages = append(outages, o)
		}
		for _, o := range newTimeline(outages, nil, night.Add(time.Hour)).Outages {
			names = append(names, o.Who)
		}
		return names
	}
	assert.Equal(t, []string{"", ""}, named("https://a.test:443", "https://a.test:443"))
	assert.Equal(t, []string{"a.test:443", "inventory.inter…", "10.12.14.16:8443", "all hosts"},
		named("https://a.test:443", "http://inventory.internal:80", "http://10.12.14.16:8443", ""))
}
