package main

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInterleaveTakesEveryRowOnceInEachRound(t *testing.T) {
	var order []string
	row := func(name string) contender {
		return contender{name, func() (sample, error) {
			order = append(order, name)
			return sample{wall: float64(len(order))}, nil
		}}
	}
	samples, err := interleave(rand.New(rand.NewPCG(1, 2)), 20, []contender{row("a"), row("b"), row("c")})
	require.NoError(t, err)
	firsts := map[string]int{}
	for i := 0; i < len(order); i += 3 {
		assert.ElementsMatch(t, []string{"a", "b", "c"}, order[i:i+3])
		firsts[order[i]]++
	}
	assert.Len(t, firsts, 3, "each is first in some round")
	for i, s := range samples["a"] {
		assert.InDelta(t, 3*i+2, s.wall, 1, "samples of one round have one index")
	}

	broken := errors.New("broken")
	_, err = interleave(rand.New(rand.NewPCG(1, 2)), 1, []contender{{"d", func() (sample, error) { return sample{}, broken }}})
	assert.ErrorIs(t, err, broken)
	assert.ErrorContains(t, err, "d")
}

// What disturbs a whole round disturbs no comparison.
func TestComparedRoundByRound(t *testing.T) {
	var base, more []sample
	for i := range 20 {
		disturbed := float64(100 + 1000*(i%5))
		base = append(base, sample{wall: disturbed})
		more = append(more, sample{wall: disturbed + 7})
	}
	assert.Equal(t, estimate{7, 7, 7}, over(more, base, wall))
	assert.Equal(t, estimate{1, 1, 1}, ratio(base, base, wall))
	values := make([]float64, 100)
	for i := range values {
		values[i] = float64(i + 1)
	}
	e := median(values)
	assert.InDelta(t, 50.5, e.Mid, 1)
	assert.InDelta(t, 40, e.Lo, 2, "the order statistics that the binomial distribution says")
	assert.InDelta(t, 61, e.Hi, 2)
	assert.True(t, e.contains(50) && !e.contains(70))
}

func TestTakeCountsThisProcess(t *testing.T) {
	var kept [][]byte
	s, err := take(100, func() error {
		for range 100 {
			kept = append(kept, make([]byte, 4096))
		}
		for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
		}
		return nil
	})
	require.NoError(t, err)
	assert.InDelta(t, 1, s.allocs, .5)
	assert.InDelta(t, 4096, s.bytes, 500)
	assert.GreaterOrEqual(t, s.wall, 200e3)
	assert.Positive(t, s.cpu)
	assert.Len(t, kept, 100)
}
