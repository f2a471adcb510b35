//go:build !race

package core

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPlanted: every planted bug is noticed by what it is for. Nothing in it runs
// concurrently, so it is for runs without -race, of which .ci/run has one.
func TestPlanted(t *testing.T) {
	if testing.Short() {
		t.Skip("what is planted is for the core as it is, not for a mutant of it")
	}
	for _, p := range plants {
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
			all := worlds()
			s := *all[slices.IndexFunc(all, func(s *setting) bool { return s.name == p.world })]
			s.bug = &p
			e := search{s: &s, depth: p.depth, budget: time.Minute, every: 50, until: p.notice}
			e.run(t)
			for what := range e.faults {
				if strings.Contains(what, p.notice) {
					t.Logf("after %d moves, at depth %d: %s", e.moves, e.reached+1, what)
					return
				}
			}
			t.Errorf("not noticed in %d moves to depth %d; but %q", e.moves, e.reached, e.faults)
		})
	}
}
