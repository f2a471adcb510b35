package core

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A search enumerates a world, breadth first.
type search struct {
	s       *setting
	depth   int
	budget  time.Duration
	every   int // beyond depth 3 one sequel of every so many states; 1: all to depth 3
	turn    int // which sequel is next
	seen    map[key]struct{}
	moves   int
	sequels int
	reached int
	faults  map[fault]string // the shortest story of each
	until   string           // the assertion that ends the search when it does not hold; "": none
	most    int              // moves; 0: no limit
	over    bool
}

// A fault is an assertion that does not hold, and what it says.
type fault struct{ by, what string }

func env(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// start is a world after the moves that its prefix names.
func (s *setting) start(t testing.TB, tell *[]string) *world {
	w := newWorld(s)
	w.tell = tell
	w.perform()
	for _, name := range s.prefix {
		ms := w.moves()
		i := slices.IndexFunc(ms, func(m move) bool { return strings.Contains(w.nameOf(m), name) })
		if i < 0 {
			var all []string
			for _, m := range ms {
				all = append(all, w.nameOf(m))
			}
			t.Fatalf("%s: nothing like %q can happen now, but %q", s.name, name, all)
		}
		w.do(ms[i])
	}
	return w
}

func (e *search) run(t testing.TB) {
	begin := time.Now()
	e.seen, e.faults = map[key]struct{}{}, map[fault]string{}
	frontier := []*world{e.s.start(t, nil)}
	if w := frontier[0]; w.bad != "" {
		e.found(t, w, fault{w.by, w.bad}, nil)
		return
	}
	for e.reached = 0; e.reached < e.depth && len(frontier) > 0; e.reached++ {
		var next []*world
		for n, w := range frontier {
			frontier[n] = nil
			if e.over || e.most > 0 && e.moves >= e.most || e.budget > 0 && time.Since(begin) > e.budget {
				return
			}
			for _, m := range w.moves() {
				v := w.clone()
				v.path = &path{w.path, m}
				v.do(m)
				e.moves++
				if v.bad != "" {
					e.found(t, v, fault{v.by, v.bad}, nil)
					continue
				}
				k := v.key()
				if _, ok := e.seen[k]; ok {
					continue
				}
				e.seen[k] = struct{}{}
				switch {
				case e.reached == 0 || e.every == 1 && e.reached < 3:
					e.afterwards(t, v, sequels)
				case e.reached < 3 || len(e.seen)%max(e.every, 1) == 0:
					e.turn++
					i := e.turn % len(sequels)
					e.afterwards(t, v, sequels[i:i+1])
				}
				if e.reached+1 < e.depth {
					next = append(next, v)
				}
			}
		}
		frontier = next
	}
}

func (e *search) afterwards(t testing.TB, w *world, all []sequel) {
	for i := range all {
		if s := &all[i]; s.holds(w) {
			e.sequels++
			v := w.clone()
			if v.follow(s); v.bad != "" {
				e.found(t, w, fault{v.by, s.name + ": " + v.bad}, s)
			}
		}
	}
}

// found keeps the first, so the shortest, story of each fault.
func (e *search) found(t testing.TB, w *world, what fault, s *sequel) {
	e.over = e.over || what.by == e.until
	if e.over && what.by != e.until || e.faults[what] != "" || len(e.faults) > 20 {
		return
	}
	var story []string
	v := e.s.start(t, &story)
	var ms []move
	for p := w.path; p != nil; p = p.prev {
		ms = append(ms, p.m)
	}
	for _, m := range slices.Backward(ms) {
		v.do(m)
	}
	if s != nil {
		v.follow(s)
		if len(story) > 160 && os.Getenv("STORY") == "" {
			story = append(append(slices.Clone(story[:120]), "..."), story[len(story)-40:]...)
		}
	}
	e.faults[what] = strings.Join(story, "\n        ")
}

func (e *search) report(t testing.TB, begin time.Time) {
	t.Logf("%s: depth %d, %d states, %d moves, %d sequels, %v", e.s.name, e.reached, len(e.seen), e.moves, e.sequels,
		time.Since(begin).Round(time.Millisecond))
	for what, story := range e.faults {
		t.Errorf("%s: %s\n        %s", e.s.name, what.what, story)
	}
}
