//go:build !race

package core

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPlanted: every planted bug is noticed by what it is for, and by nothing else: without
// that assertion the search goes on, and finds nothing.
func TestPlanted(t *testing.T) {
	if testing.Short() {
		t.Skip("what is planted is for the core as it is, not for a mutant of it")
	}
	for _, p := range plants() {
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			by := p.search("")
			by.until = p.notice
			by.run(t)
			if !by.over {
				for _, story := range by.faults {
					t.Log(story)
				}
				t.Fatalf("not noticed in %d moves to depth %d, but %q", by.moves, by.reached, by.faultsBy())
			}
			for what, story := range by.faults {
				if what.by == p.notice {
					t.Logf("after %d moves, at depth %d: %s", by.moves, by.reached+1, what.what)
					if os.Getenv("STORY") != "" {
						t.Log(story)
					}
					break
				}
			}
			without := p.search(p.notice)
			without.most = max(by.moves, env("MUTED", 8000))
			without.run(t)
			also := slices.Sorted(slices.Values(p.also))
			if others := without.faultsBy(); !slices.Equal(others, also) {
				t.Errorf("without %q it is noticed by %q, and not by %q", p.notice, others, also)
				for what, story := range without.faults {
					if !slices.Contains(p.also, what.by) {
						t.Logf("%s\n%s", what.what, story)
						return
					}
				}
			}
		})
	}
}

// search looks for p in its world, where one assertion is not made.
func (p *planted) search(without string) *search {
	all := worlds()
	s := *all[slices.IndexFunc(all, func(s *setting) bool { return s.name == p.world })]
	s.bug, s.mute, s.prefix = p, without, slices.Concat(s.prefix, p.first)
	return &search{s: &s, depth: p.depth, budget: time.Minute, every: 50}
}

// faultsBy are the assertions that did not hold.
func (e *search) faultsBy() []string {
	var by []string
	for what := range e.faults {
		by = append(by, what.by)
	}
	slices.Sort(by)
	return slices.Compact(by)
}
