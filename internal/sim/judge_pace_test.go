package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Two authorities trip in the instant in which a recreation begins for one of them, and both
// trips are told before it. The other one's trip may have come during the build, and be news.
func TestTheOracleKnowsWhichTripsMayComeDuringABuild(t *testing.T) {
	const start = 5 * time.Minute
	for name, c := range map[string]struct {
		trips []outage
		fits  bool
	}{
		"only the authority that it is for trips": {
			trips: []outage{{at: service{at: start}, au: 1, tripped: true}},
		},
		"another authority trips in that instant": {
			trips: []outage{{at: service{at: start}, au: 1, tripped: true}, {at: service{at: start}, au: 0, tripped: true}},
			fits:  true,
		},
		"another authority trips again in that instant": {
			trips: []outage{
				{at: service{at: start - 30*time.Second}, au: 0, tripped: true},
				{at: service{at: start - 20*time.Second}, au: 0},
				{at: service{at: start}, au: 1, tripped: true}, {at: service{at: start}, au: 0, tripped: true},
			},
		},
		"another authority had tripped before": {
			trips: []outage{{at: service{at: start - time.Second}, au: 0, tripped: true}, {at: service{at: start}, au: 1, tripped: true}},
		},
		"the transport ends in that instant": {
			trips: []outage{{at: service{at: start}, au: 1, tripped: true}, {at: service{at: start}, au: -1, tripped: true}},
			fits:  true,
		},
		"another authority trips later": {
			trips: []outage{{at: service{at: start}, au: 1, tripped: true}, {at: service{at: start + time.Millisecond}, au: 0, tripped: true, runs: 1}},
			fits:  true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{began: time.Now(), plan: &plan{}, halt: make(chan struct{}), outages: c.trips}
			w.plan.policy.first = time.Second
			w.runs = []*run{
				{number: 1, start: start, end: start + 21*time.Millisecond, from: "b.sim", drawn: time.Second},
				{number: 2, start: start + time.Second, end: start + 2*time.Second, from: "b.sim", drawn: time.Second},
			}
			w.judgePace()
			assert.Equal(t, c.fits, w.log.broken == "", w.log.broken)
		})
	}
}
