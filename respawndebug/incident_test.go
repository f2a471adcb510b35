package respawndebug

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// What is told of an incident is told of all outages that overlap, and of no other one.
func TestAnIncidentIsWhatOverlaps(t *testing.T) {
	on := func(host string, begin, end int) respawn.OutageHealth {
		o := over(time.Duration(begin)*time.Minute, time.Duration(end-begin)*time.Minute)
		o.Authority = host
		return o
	}
	lasting := func(host string, begin, now int) respawn.OutageHealth {
		o := on(host, begin, now)
		o.End, o.EndedBy = time.Time{}, ""
		return o
	}
	for name, tc := range map[string]struct {
		ended, open []respawn.OutageHealth
		hosts       string
		begin, d    int
	}{
		"one":                        {[]respawn.OutageHealth{on("a", 0, 5)}, nil, "a", 0, 5},
		"one after the other":        {[]respawn.OutageHealth{on("a", 0, 5), on("b", 6, 7)}, nil, "b", 6, 1},
		"overlapping":                {[]respawn.OutageHealth{on("a", 0, 5), on("b", 4, 7)}, nil, "a, b", 0, 7},
		"one within the other":       {[]respawn.OutageHealth{on("b", 4, 7), on("a", 0, 9)}, nil, "a, b", 0, 9},
		"a chain":                    {[]respawn.OutageHealth{on("c", 0, 2), on("a", 1, 5), on("b", 4, 7)}, nil, "c, a, b", 0, 7},
		"a gap before the chain":     {[]respawn.OutageHealth{on("c", 0, 2), on("a", 3, 5), on("b", 4, 7)}, nil, "a, b", 3, 4},
		"one that lasts":             {[]respawn.OutageHealth{on("a", 0, 5)}, []respawn.OutageHealth{lasting("b", 4, 9)}, "b", 4, 5},
		"two that last":              {nil, []respawn.OutageHealth{lasting("b", 4, 9), lasting("a", 2, 9)}, "a, b", 2, 7},
		"a host twice":               {[]respawn.OutageHealth{on("a", 0, 3), on("a", 4, 5), on("b", 2, 6)}, nil, "a, b", 0, 6},
		"one that nobody asks about": {[]respawn.OutageHealth{on("b", 5, 8), on("a", 0, 2)}, nil, "b", 5, 3},
	} {
		t.Run(name, func(t *testing.T) {
			in, found := latest(client{health: health{EndedOutages: tc.ended, OpenOutages: tc.open}})
			require.True(t, found)
			assert.Equal(t, tc.hosts, in.hosts())
			assert.Equal(t, night.Add(time.Duration(tc.begin)*time.Minute), in.whole.Begin)
			assert.Equal(t, time.Duration(tc.d)*time.Minute, in.whole.Duration)
		})
	}
	_, found := latest(client{})
	assert.False(t, found)
}
