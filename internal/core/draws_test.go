package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// A draw is one of the many ways in which a case can happen: its rates, deadlines,
// thresholds and orders are drawn, since the kind is what counts.
type draw struct {
	*rand.Rand
	t     *testing.T
	seed  uint64
	sims  []*sim
	bad   []string
	notes map[string][]float64
}

// overDraws runs f over 50 draws, and logs what they noted.
func overDraws(t *testing.T, f func(d *draw)) { overSome(t, 50, f) }

func overSome(t *testing.T, n int, f func(d *draw)) {
	t.Helper()
	if testing.Short() || raceEnabled {
		n = min(n, 8)
	}
	notes := map[string][]float64{}
	failed := 0
	for seed := range uint64(n) {
		d := &draw{Rand: rand.New(rand.NewPCG(seed, 12)), t: t, seed: seed, notes: notes}
		f(d)
		if len(d.bad) == 0 {
			continue
		}
		if failed++; failed > 1 {
			t.Errorf("draw %d: %s", seed, strings.Join(d.bad, "; "))
			continue
		}
		t.Errorf("draw %d: %s\n%s", seed, strings.Join(d.bad, "; "), d.sims[len(d.sims)-1].tellStory())
	}
	var lines []string
	for name, all := range notes {
		slices.Sort(all)
		sum := 0.0
		for _, x := range all {
			sum += x
		}
		lines = append(lines, fmt.Sprintf("%s: %.4g to %.4g, mean %.3g of %d", name, all[0], all[len(all)-1], sum/float64(len(all)), len(all)))
	}
	slices.Sort(lines)
	t.Log(strings.Join(lines, "\n"))
}

func (d *draw) fail(format string, args ...any) {
	if len(d.bad) < 3 {
		d.bad = append(d.bad, fmt.Sprintf(format, args...))
	}
}

// note keeps a figure.
func (d *draw) note(name string, x float64) { d.notes[name] = append(d.notes[name], x) }

// atMost notes a figure that has a bound.
func (d *draw) atMost(name string, got, most float64) {
	d.note(name, got)
	if got > most {
		d.fail("%s: %v, at most %v", name, got, most)
	}
}

func (d *draw) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.Int64N(int64(most-least)+1))
}

func (d *draw) chance(p float64) bool { return d.Float64() < p }

func oneOf[T any](d *draw, all ...T) T { return all[d.IntN(len(all))] }

// rules are the default options, with a drawn threshold and patience's jitter.
func (d *draw) rules() Rules {
	return Rules{
		Threshold: 1 + d.IntN(4), Stalls: 3, StallSpan: time.Second,
		Patience:        time.Duration((0.8 + 0.4*d.Float64()) * float64(5*sec)),
		RecreateTimeout: 10 * sec,
	}
}

// touchy rules have a drawn threshold for stalls, too, and a fallback now and then: while it serves,
// fewer requests meet what is wrong, and outages last longer.
func (d *draw) touchy() Rules {
	r := d.rules()
	r.Stalls = 1 + d.IntN(4)
	r.Fallback = d.chance(0.4)
	return r
}

// noSwap: the transport in service was well.
func (s *sim) noSwap() { s.swapsAtMost(0) }

func (s *sim) swapsAtMost(n int) { s.d.atMost("swaps", float64(len(s.swaps)), float64(n)) }

// calmBuilds: builds slow down, however long it lasts: about ten in the first
// minute and a half, then two a minute.
func (s *sim) calmBuilds(outage time.Duration) {
	n := 0
	for _, b := range s.builds {
		if !b.Planned {
			n++
		}
	}
	s.d.atMost("builds", float64(n), 14+3*outage.Minutes())
}

// firstAnswer watches for the first answer of a host from the given time on, and
// returns how long it took from there; negative: it never came.
func (s *sim) firstAnswer(host string, from time.Duration) func() time.Duration {
	first := time.Duration(-1)
	s.onAnswer = append(s.onAnswer, func(v *visit) {
		if first < 0 && v.host == host && s.since() >= from && v.start.Sub(simStart) >= from {
			first = s.since() - from
		}
	})
	return func() time.Duration { return first }
}

// answeredWithin: the first answer of a host after from came in time.
func (d *draw) answeredWithin(first, most time.Duration) {
	if first < 0 {
		d.fail("never answered again")
		return
	}
	d.atMost("first answer, s", first.Seconds(), most.Seconds())
}

func (s *sim) lostAtMost(host string, n int) {
	s.d.atMost("lost", float64(s.count(host, "lost")), float64(n))
}
