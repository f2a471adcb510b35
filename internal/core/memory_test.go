package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func named(i int) Authority { return Authority{"http", fmt.Sprintf("%d.test", i), "80"} }

// Who was used longest ago makes room.
func TestATableRemembersABoundedNumber(t *testing.T) {
	var all table[int]
	for i := range maxMemories {
		*all.use(simStart.Add(time.Duration(i)), named(i)) = i
	}
	assert.NotNil(t, all.get(named(0)))
	all.use(simStart.Add(time.Hour), named(0))
	all.use(simStart.Add(time.Hour), named(maxMemories))
	assert.Len(t, all.entries, maxMemories)
	assert.NotNil(t, all.get(named(0)), "used again")
	assert.Nil(t, all.get(named(1)))
	assert.NotNil(t, all.get(named(2)))
}

// Only a promotion of the last minute can have been in vain, and that is known for a minute.
func TestMoreAnswersAreAskedForAMinute(t *testing.T) {
	a := named(1)
	for _, tt := range []struct {
		ill, proves time.Duration // after the promotion, and after that
		want        int
	}{
		{calm - 1, 0, moreAnswers}, {calm, 0, 1}, {time.Second, calm - 1, moreAnswers}, {time.Second, calm, 1},
	} {
		var r recent
		r.swappedFor(simStart, a)
		r.didNotHelp(simStart.Add(tt.ill), a)
		assert.Equal(t, tt.want, r.answers(simStart.Add(tt.ill+tt.proves), a), "%+v", tt)
	}
	var r recent
	r.over(simStart, a)
	r.didNotHelp(simStart, a)
	assert.Equal(t, 1, r.answers(simStart, a), "nothing was promoted for it")
}

// What was learned is forgotten after one window at least, and two at most.
func TestPatienceIsForgottenAfterTwoWindows(t *testing.T) {
	a, waited := named(1), 20*time.Second
	p := patience{least: 5 * time.Second}
	p.answered(simStart, a, waited)
	assert.Equal(t, p.least, p.of(simStart.Add(2*window), a), "nobody asked in between")
	p = patience{least: 5 * time.Second}
	p.answered(simStart, a, waited)
	for _, at := range []time.Duration{window, 2*window - 1} {
		assert.Equal(t, 2*waited, p.of(simStart.Add(at), a), at)
	}
	assert.Equal(t, p.least, p.of(simStart.Add(2*window), a))
}

// More answers are asked for as long as an authority is seen to be ill after a promotion in
// vain, and for a minute after that. Without a new promotion nothing else brings that back.
func TestMoreAnswersLastWhileItIsSeenNotToHelp(t *testing.T) {
	a := named(1)
	at := func(d time.Duration) time.Time { return simStart.Add(d) }
	var r recent
	r.over(at(0), a)
	r.didNotHelp(at(0), a) // nothing was promoted yet
	r.swappedFor(at(time.Second), a)
	r.didNotHelp(at(2*time.Second), a)
	assert.Equal(t, moreAnswers, r.answers(at(2*time.Second), a))
	r.didNotHelp(at(50*time.Second), a)
	assert.Equal(t, moreAnswers, r.answers(at(100*time.Second), a))
	r.didNotHelp(at(50*time.Second+calm), a)
	assert.Equal(t, 1, r.answers(at(50*time.Second+calm), a))
}

// What is learned late in a window is not forgotten with what was learned early.
func TestPatienceIsNotForgottenWithinAWindow(t *testing.T) {
	a := named(1)
	p := patience{least: 5 * time.Second}
	p.answered(simStart, a, 6*time.Second)
	p.answered(simStart.Add(2*window-1), a, 20*time.Second)
	assert.Equal(t, 40*time.Second, p.of(simStart.Add(2*window), a))
}

// A silent outage makes patience longer while it lasts, and teaches nothing: the upstream was
// down. What its answers took is kept.
func TestPatienceWithAnOutageEndsWithIt(t *testing.T) {
	a := named(1)
	for _, answered := range []time.Duration{0, 20 * time.Second} {
		p := patience{least: 5 * time.Second}
		p.answered(simStart, a, answered)
		before, leaving := p.of(simStart, a), p.ofLeaving(simStart, a)
		for n := 1; n <= 3; n++ {
			p.refused(simStart, a)
			assert.Equal(t, before<<n, p.of(simStart, a))
			assert.Equal(t, leaving, p.ofLeaving(simStart, a), "who leaves sooner would never be heard")
		}
		for range 20 {
			p.refused(simStart, a)
		}
		assert.Equal(t, MostPatience, p.of(simStart, a))
		p.over(a)
		assert.Equal(t, before, p.of(simStart, a))
	}
}
