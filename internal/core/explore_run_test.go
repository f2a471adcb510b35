//go:build !race

package core

import (
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"time"
)

// The explorer runs in one goroutine, where -race has nothing to find and makes everything
// slow. make check and make test run it without -race, and .ci/run goes to its full depth.

// TestExplore enumerates all worlds to their depth; DEPTH=n goes n moves deeper,
// SECS=n takes as long for each at most.
func TestExplore(t *testing.T) {
	often := debug.SetGCPercent(300) // worlds are made and dropped all the time, and few are kept
	t.Cleanup(func() { debug.SetGCPercent(often) })
	for _, s := range worlds() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			e := search{s: s, depth: s.depth + env("DEPTH", 0), budget: time.Duration(env("SECS", 0)) * time.Second, every: env("EVERY", 24)}
			if testing.Short() {
				e.depth -= 2
			}
			begin := time.Now()
			e.run(t)
			e.report(t, begin)
		})
	}
}

// TestWander goes far in few ways where TestExplore goes all ways, but not far.
func TestWander(t *testing.T) {
	walks, length := env("WALKS", 150), env("LENGTH", 60)
	if testing.Short() {
		walks /= 4
	}
	for _, s := range worlds() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			e := search{s: s, faults: map[fault]string{}}
			rnd := rand.New(rand.NewPCG(1, 2))
			s.moments = true
			begin := time.Now()
			for range walks {
				w := s.start(t, nil)
				for range length {
					ms := w.moves()
					if len(ms) == 0 || w.bad != "" {
						break
					}
					m := ms[rnd.IntN(len(ms))]
					if m.op == opClose && rnd.IntN(20) > 0 {
						continue // else most walks would go on in what is closed
					}
					w.path = &path{w.path, m}
					w.do(m)
					e.moves++
				}
				if w.bad != "" {
					e.found(t, w, fault{w.by, w.bad}, nil)
				} else {
					e.afterwards(t, w, sequels)
				}
			}
			e.report(t, begin)
		})
	}
}
