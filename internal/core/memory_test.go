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
	var all table[learnt]
	for i := range maxMemories {
		all.use(simStart.Add(time.Duration(i)), named(i))
	}
	assert.NotNil(t, all.get(named(0)))
	all.use(simStart.Add(time.Hour), named(0))
	all.use(simStart.Add(time.Hour), named(maxMemories))
	assert.Len(t, all.entries, maxMemories)
	assert.NotNil(t, all.get(named(0)), "used again")
	assert.Nil(t, all.get(named(1)))
	assert.NotNil(t, all.get(named(2)))
}

// But who was found to be swapped in vain makes room last.
func TestAFloodOfNamesWipesOutNoVerdict(t *testing.T) {
	var r recent
	r.swappedFor(simStart, named(0))
	r.didNotHelp(simStart, named(0))
	r.swappedFor(simStart.Add(time.Second), named(1))
	flood := func(at time.Duration) {
		for i := range maxMemories {
			r.over(simStart.Add(at), simStart.Add(at), named(2+i))
		}
	}
	flood(2 * time.Second)
	assert.Equal(t, moreAnswers, r.answers(simStart.Add(2*time.Second), named(0)))
	assert.NotNil(t, r.get(named(1)))
	assert.Len(t, r.entries, maxMemories)
	flood(vainFor)
	assert.Nil(t, r.get(named(0)), "that is over")
	assert.Nil(t, r.get(named(1)))
}

// Only a promotion of the last minute can have been in vain, and that is known for ten minutes.
func TestMoreAnswersAreAskedForTenMinutes(t *testing.T) {
	a := named(1)
	for _, tt := range []struct {
		ill, proves time.Duration // after the promotion, and after that
		want        int
	}{
		{calm - 1, 0, moreAnswers}, {calm, 0, 1}, {time.Second, vainFor - 1, moreAnswers}, {time.Second, vainFor, 1},
	} {
		var r recent
		r.swappedFor(simStart, a)
		r.didNotHelp(simStart.Add(tt.ill), a)
		assert.Equal(t, tt.want, r.answers(simStart.Add(tt.ill+tt.proves), a), "%+v", tt)
	}
	var r recent
	r.over(simStart, simStart, a)
	r.didNotHelp(simStart, a)
	assert.Equal(t, 1, r.answers(simStart, a), "nothing was promoted for it")
}

// More answers are asked for as long as an authority has an outage in ten minutes. Failures that trip
// nothing do not count: there are always some. Without a new promotion nothing brings that back.
func TestMoreAnswersLastWhileItIsSeenNotToHelp(t *testing.T) {
	a := named(1)
	at := func(d time.Duration) time.Time { return simStart.Add(d) }
	var r recent
	r.over(at(0), at(0), a)
	r.didNotHelp(at(0), a) // nothing was promoted yet
	r.swappedFor(at(time.Second), a)
	r.didNotHelp(at(2*time.Second), a)
	assert.Equal(t, moreAnswers, r.answers(at(2*time.Second), a))
	r.over(at(vainFor), at(vainFor-1), a)
	r.didNotHelp(at(vainFor+1), a)
	assert.Equal(t, moreAnswers, r.answers(at(2*vainFor-1), a))
	r.over(at(2*vainFor+1), at(2*vainFor), a)
	assert.Equal(t, 1, r.answers(at(2*vainFor+1), a))
}

// An outage that outlasts the ten minutes takes more answers to its end: it began within them, and the
// next ten begin when it is over.
func TestMoreAnswersLastAsLongAsTheOutage(t *testing.T) {
	a := named(1)
	at := func(d time.Duration) time.Time { return simStart.Add(d) }
	for _, tt := range []struct {
		trips, over, again time.Duration // an outage, and when the next one begins
		during, after      int
	}{
		{vainFor - 1, vainFor, 2*vainFor - 1, moreAnswers, moreAnswers},
		{vainFor - 1, 10 * vainFor, 11*vainFor - 1, moreAnswers, moreAnswers},
		{vainFor - 1, 10 * vainFor, 11 * vainFor, moreAnswers, 1},
		{vainFor, 10 * vainFor, 10*vainFor + 1, 1, 1},
	} {
		var r recent
		r.swappedFor(at(0), a)
		r.didNotHelp(at(0), a)
		assert.Equal(t, tt.during, r.answers(at(tt.trips), a), "%+v", tt)
		r.over(at(tt.over), at(tt.trips), a)
		assert.Equal(t, tt.after, r.answers(at(tt.again), a), "%+v", tt)
	}
}
