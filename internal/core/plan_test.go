package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Whoever tries a planned candidate first proves it with its answer, also where its
// authority has failed meanwhile.
func TestAnAnsweredTryPromotesThoughItsAuthorityIsSuspectedMeanwhile(t *testing.T) {
	s := newScene(t)
	s.Recreate(s.now, &Order{})
	fresh := s.cand.id
	s.Built(s.now, fresh, false, Draw{})
	s.now = s.now.Add(5 * time.Second)
	try := s.does(s.call(Repeatable, "PUT"), Try)
	s.refused(s.does(s.call(Once, "POST"), Send)) // nothing like it
	s.Answered(s.now, try)
	assert.Equal(t, fresh, s.Current())
}
