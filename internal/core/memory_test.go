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

// Only a promotion of the last four minutes can have been in vain, and that is known for ten.
func TestMoreAnswersAreAskedForTenMinutes(t *testing.T) {
	a := named(1)
	for _, tt := range []struct {
		ill, proves time.Duration // after the promotion, and after that
		want        int
	}{
		{judgedFor - 1, 0, moreAnswers}, {judgedFor, 0, 1}, {time.Second, vainFor - 1, moreAnswers}, {time.Second, vainFor, 1},
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

// More answers are asked for as long as an authority is seen to be ill after a promotion in
// vain, and for ten minutes after that. Without a new promotion nothing else brings that back.
func TestMoreAnswersLastWhileItIsSeenNotToHelp(t *testing.T) {
	a := named(1)
	at := func(d time.Duration) time.Time { return simStart.Add(d) }
	var r recent
	r.over(at(0), a)
	r.didNotHelp(at(0), a) // nothing was promoted yet
	r.swappedFor(at(time.Second), a)
	r.didNotHelp(at(2*time.Second), a)
	assert.Equal(t, moreAnswers, r.answers(at(2*time.Second), a))
	r.didNotHelp(at(vainFor), a)
	assert.Equal(t, moreAnswers, r.answers(at(2*vainFor-1), a))
	r.didNotHelp(at(2*vainFor), a)
	assert.Equal(t, 1, r.answers(at(2*vainFor), a))
}

// An outage that ends within the ten minutes makes them begin anew.
func TestMoreAnswersLastForTenMinutesAfterAnOutage(t *testing.T) {
	a := named(1)
	at := func(d time.Duration) time.Time { return simStart.Add(d) }
	for _, tt := range []struct {
		over, again   time.Duration // an outage, and when the next one begins
		during, after int
	}{
		{vainFor - 1, 2*vainFor - 2, moreAnswers, moreAnswers},
		{vainFor - 1, 2*vainFor - 1, moreAnswers, 1},
		{vainFor, vainFor + 1, 1, 1},
	} {
		var r recent
		r.swappedFor(at(0), a)
		r.didNotHelp(at(0), a)
		assert.Equal(t, tt.during, r.answers(at(tt.over), a), "%+v", tt)
		r.over(at(tt.over), a)
		assert.Equal(t, tt.after, r.answers(at(tt.again), a), "%+v", tt)
	}
}
