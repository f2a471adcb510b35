package core

import (
	"testing"
	"time"
)

// together: all features in one world, but little of each, so that the search comes far: each with
// each at a depth that TestPairs asks for, after a few moves that lead to where they matter.
func together() []*setting {
	all := setting{
		calls:    []template{get.unseen(), post, wait, seaB.within(5 * time.Second)},
		changes:  []change{{serving, 0, works}, {asCandidate, 0, mute}},
		nChanges: 1, nLeaves: 1, nJumps: 1, nLocal: 1, nHand: 1, nEnds: 1, nSpoils: 1,
		abandon: true, age: true, closes: true, connects: true, untyped: true, draws: true, lateTimer: true, patient: true,
		neutral: true, fetches: true, stays: true, places: 1, depth: deepPair,
	}
	one, two, other, none := all, all, all, all
	one.name, one.Rules, one.modes = "together", rules(1), [2][2]mode{{refuses, works}, {works, works}}
	one.prefix = []string{
		"POST b sealed with 5s begins", "PUT a that waits for ready begins", "PUT a that waits for ready has its body",
		"PUT a that waits for ready is refused", "PUT a that waits for ready asks",
	}
	two.name, two.Rules, two.modes = "together, threshold 2", rules(2), [2][2]mode{{mute, mute}, {works, mute}}
	two.prefix = []string{
		"POST b sealed with 5s begins", "PUT a that waits for ready begins", "PUT a that waits for ready has its body", "GET a begins",
		"time", "GET a is a stall",
	}
	other.name, other.Rules, other.modes = "together, fallback", rules(1), [2][2]mode{{breaks, works}, {refuses, works}}
	other.depth, none.depth = deepPair-1, deepPair-1
	other.Fallback, other.prefix = true, []string{"POST b sealed with 5s begins", "POST a begins", "POST a has its body", "POST a breaks"}
	none.name, none.Rules, none.absent = "together, nothing yet", rules(1), true
	none.prefix = []string{"PUT a that waits for ready begins", "POST b sealed with 5s begins"}
	return []*setting{&one, &two, &other, &none}
}

// deepPair is how deep the search goes where two features meet, but for a move less beside a
// fallback and where there is no transport yet.
const deepPair = 5

// features are what of a world can meet.
func (s *setting) features() map[string]bool {
	f := map[string]bool{
		"leaves": s.nLeaves > 0, "jumps": s.nJumps > 0, "local": s.nLocal > 0, "Recreate": s.nHand > 0, "abandon": s.abandon,
		"ends": s.nEnds > 0, "spoils": s.nSpoils > 0, "age": s.age, "Close": s.closes, "connects": s.connects, "untyped": s.untyped,
		"draws": s.draws, "late timer": s.lateTimer, "patience": s.patient, "neutral": s.neutral, "changes": s.nChanges > 0,
		"places": s.places > 0, "slow bodies": s.fetches, "stays": s.stays,
	}
	for _, t := range s.calls {
		f["host "+hosts[t.host].Host] = true
		f[methods[t.kind]] = true
		f["once only"] = f["once only"] || t.kind == Once
		f["sealed"] = f["sealed"] || t.kind == Sealed
		f["ready"] = f["ready"] || t.ready > 0
		f["deadline"] = f["deadline"] || t.deadline > 0
		f["healthy path"] = f["healthy path"] || t.adopted
	}
	return f
}

// TestPairs: each two features meet deep in a world of each threshold, beside a fallback, and where
// there is no transport yet.
func TestPairs(t *testing.T) {
	for _, kind := range []struct {
		name  string
		depth int
		is    func(*setting) bool
	}{
		{"threshold 1", deepPair, func(s *setting) bool { return s.Threshold == 1 && !s.Fallback }},
		{"threshold 2", deepPair, func(s *setting) bool { return s.Threshold == 2 }},
		{"fallback", deepPair - 1, func(s *setting) bool { return s.Fallback }},
		{"nothing yet", deepPair - 1, func(s *setting) bool { return s.absent }},
	} {
		deepest, names := map[[2]string]int{}, map[string]bool{}
		for _, s := range worlds() {
			features := s.features()
			for a, has := range features {
				names[a] = true
				for b, too := range features {
					if has && too && kind.is(s) {
						deepest[[2]string{a, b}] = max(deepest[[2]string{a, b}], s.depth)
					}
				}
			}
		}
		for a := range names {
			for b := range names {
				if at := deepest[[2]string{a, b}]; a <= b && at < kind.depth {
					t.Errorf("%s: %s and %s meet at depth %d, not %d", kind.name, a, b, at, kind.depth)
				}
			}
		}
	}
}
