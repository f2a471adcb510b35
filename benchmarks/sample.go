package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/perf/benchmath"
)

// A sample is what one request costs, averaged over one slice of time.
type sample struct {
	wall   float64 // ns
	cpu    float64 // ns of this process, all its threads
	allocs float64
	bytes  float64
}

// take runs do, which makes ops requests, and returns what one of them cost.
func take(ops int, do func() error) (sample, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, start := cpuTime(), time.Now()
	err := do()
	wall := time.Since(start)
	cpu = cpuTime() - cpu
	runtime.ReadMemStats(&after)
	n := float64(ops)
	return sample{
		wall:   float64(wall) / n,
		cpu:    float64(cpu) / n,
		allocs: float64(after.Mallocs-before.Mallocs) / n,
		bytes:  float64(after.TotalAlloc-before.TotalAlloc) / n,
	}, err
}

// cpuTime is the time that this process has spent on any CPU, its children not
// included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it cannot fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A contender is one row of a comparison.
type contender struct {
	name string
	take func() (sample, error)
}

// interleave takes one sample of every contender in each round, in an order
// that is drawn anew for each: what else happens on the machine falls on all
// of them alike, and samples of one round can be compared.
func interleave(rnd *rand.Rand, rounds int, contenders []contender) (map[string][]sample, error) {
	samples := make(map[string][]sample, len(contenders))
	for range rounds {
		for _, i := range rnd.Perm(len(contenders)) {
			c := contenders[i]
			s, err := c.take()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			samples[c.name] = append(samples[c.name], s)
		}
	}
	return samples, nil
}

// An estimate is a median with the interval that holds it with 95 % confidence,
// whatever the distribution.
type estimate struct{ Mid, Lo, Hi float64 }

func median(values []float64) estimate {
	thresholds := benchmath.DefaultThresholds
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(values, &thresholds), 0.95)
	return estimate{s.Center, s.Lo, s.Hi}
}

func (e estimate) contains(v float64) bool { return e.Lo <= v && v <= e.Hi }

// of is the median of one figure.
func of(samples []sample, figure func(sample) float64) estimate {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = figure(s)
	}
	return median(values)
}

// over is by how much samples exceed base, round by round.
func over(samples, base []sample, figure func(sample) float64) estimate {
	return paired(samples, base, func(s, b sample) float64 { return figure(s) - figure(b) })
}

// ratio is how many times base samples are, round by round.
func ratio(samples, base []sample, figure func(sample) float64) estimate {
	return paired(samples, base, func(s, b sample) float64 { return figure(s) / figure(b) })
}

func paired(samples, base []sample, compare func(s, b sample) float64) estimate {
	values := make([]float64, len(samples))
	for i := range samples {
		values[i] = compare(samples[i], base[i])
	}
	return median(values)
}

func wall(s sample) float64   { return s.wall }
func cpu(s sample) float64    { return s.cpu }
func allocs(s sample) float64 { return s.allocs }
func bytes(s sample) float64  { return s.bytes }
