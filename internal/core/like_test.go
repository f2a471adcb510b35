package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Of attempts that began at one instant, with no event between them, the first has waited longest.
func TestTheFirstOfOneInstantIsTheOldest(t *testing.T) {
	s := &suspect{}
	var all []*Attempt
	for i, began := range []Instant{3, 2, 2, 4} {
		a := &Attempt{Call: &Call{Method: "POST"}, began: began, start: simStart.Add(time.Duration(i))}
		s.flying.add(a)
		all = append(all, a)
	}
	assert.Same(t, all[1], s.oldestLike(simStart, "POST", 1))
	assert.Same(t, all[0], s.oldestLike(simStart, "POST", 3))
}

// Where the control goes first, it is silent after a second, and the next request tries the candidate.
func TestAControlThatWentFirstIsSilentAfterASecond(t *testing.T) {
	s := newScene(t)
	s.askedOnce(moreAnswers)
	s.served()
	s.Failed(s.now, s.does(s.call(Once, "POST"), Send), broken)
	s.does(s.call(Once, "POST"), Send) // first
	s.after(headStart)
	s.does(s.call(Once, "POST"), Try)
}
