package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// What was learned is forgotten after one window at least, and two at most.
func TestPatienceIsForgottenAfterTwoWindows(t *testing.T) {
	a, waited := named(1), 20*time.Second
	p := patience{least: 5 * time.Second}
	p.answered(simStart, a, waited)
	assert.Equal(t, p.least, p.of(simStart.Add(2*window), simStart.Add(2*window), a), "nobody asked in between")
	p = patience{least: 5 * time.Second}
	p.answered(simStart, a, waited)
	for _, at := range []time.Duration{window, 2*window - 1} {
		assert.Equal(t, 2*waited, p.of(simStart.Add(at), simStart.Add(at), a), at)
	}
	assert.Equal(t, p.least, p.of(simStart.Add(2*window), simStart.Add(2*window), a))
}

// What is learned late in a window is not forgotten with what was learned early.
func TestPatienceIsNotForgottenWithinAWindow(t *testing.T) {
	a := named(1)
	p := patience{least: 5 * time.Second}
	p.answered(simStart, a, 6*time.Second)
	p.answered(simStart.Add(2*window-1), a, 20*time.Second)
	assert.Equal(t, 40*time.Second, p.of(simStart.Add(2*window), simStart.Add(2*window), a))
}

// A silent outage makes patience longer while it lasts, and teaches nothing: the upstream was
// down. What its answers took is kept.
func TestPatienceWithAnOutageEndsWithIt(t *testing.T) {
	a := named(1)
	for _, answered := range []time.Duration{0, 20 * time.Second} {
		p := patience{least: 5 * time.Second}
		p.answered(simStart, a, answered)
		before, leaving := p.of(simStart, simStart, a), p.ofLeaving(simStart, simStart, a)
		for n := 1; n <= 3; n++ {
			p.refused(simStart, a)
			assert.Equal(t, before<<n, p.of(simStart, simStart, a))
			assert.Equal(t, leaving, p.ofLeaving(simStart, simStart, a), "who leaves sooner would never be heard")
		}
		for range 20 {
			p.refused(simStart, a)
		}
		assert.Equal(t, MostPatience, p.of(simStart, simStart, a))
		p.over(a)
		assert.Equal(t, before, p.of(simStart, simStart, a))
	}
}

// A wait is judged by what was known when it began. Answers that came since count if one of
// them took at least twice as long as that wait may last.
func TestAWaitIsJudgedByWhatWasKnownWhenItBegan(t *testing.T) {
	a, began := named(1), simStart.Add(time.Minute)
	for _, tt := range []struct {
		name          string
		before, since time.Duration // the longest answered waits
		want, later   time.Duration // patience for this wait, and for one that begins after all of them
	}{
		{"nothing was known", 0, 3 * sec, 5 * sec, 6 * sec},
		{"nothing was known, and the upstream is as slow as that", 0, 9999 * ms, 5 * sec, 19998 * ms},
		{"nothing was known, and the upstream is slower", 0, 10 * sec, 20 * sec, 20 * sec},
		{"a slow one was known", 4 * sec, 15999 * ms, 8 * sec, 31998 * ms},
		{"a slow one was known, and the upstream is slower", 4 * sec, 16 * sec, 32 * sec, 32 * sec},
		{"a slower one was known", 30 * sec, 10 * sec, 60 * sec, 60 * sec},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := patience{least: 5 * time.Second}
			p.answered(began, a, tt.before)
			now := began.Add(time.Minute)
			p.answered(now, a, tt.since)
			assert.Equal(t, tt.want, p.of(now, began, a))
			assert.Equal(t, tt.later, p.of(now, now, a))
			leaves := leaving
			if tt.want > p.least {
				leaves = tt.want / 2
			}
			assert.Equal(t, leaves, p.ofLeaving(now, began, a), "who leaves is judged likewise")
		})
	}
}

// While answers come that each took longer than the one before, what is kept of them is little,
// and no less than four fifths of what was known at any time.
func TestWhatWasKnownIsKeptInFewSteps(t *testing.T) {
	var l longest
	at := func(n int) time.Time { return simStart.Add(time.Duration(n) * time.Second) }
	for n := 3; n <= 3600; n++ {
		l.raise(at(n), time.Duration(n)*time.Second)
	}
	for n := 3; n < 3600; n++ {
		known := l.by(at(n))
		assert.LessOrEqual(t, known, time.Duration(n)*time.Second)
		assert.GreaterOrEqual(t, 5*known/4, time.Duration(n)*time.Second*99/100, n)
	}
	assert.Equal(t, time.Hour, l.by(at(3600)))
	assert.Zero(t, l.by(at(2)))
	assert.Less(t, len(l.steps), 35)
}
