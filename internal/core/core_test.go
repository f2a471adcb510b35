package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// What begins after an event began later than what began before it, though both begin at
// the same time of day.
func TestEachEventThatOrdersAttemptsAdvancesTheClock(t *testing.T) {
	s := newScene(t)
	advances := func(what string, event func()) {
		t.Helper()
		before := s.Clock()
		event()
		assert.Greater(t, s.Clock(), before, what)
	}
	waiting, fails := s.asks(), s.asks()
	advances("a failure", func() { s.refused(fails) })
	advances("a stall", func() { s.Silent(s.now, waiting) })
	advances("the start of a build", func() { s.Recreate(s.now, &Order{}) })
	advances("its success", func() { s.Built(s.now, s.cand.id, false, Draw{}) })
	advances("a refusal", func() { s.refuse(s.now, s.cand, s.cand.standOrNew(waiting.Call.Authority), TrialTimeout) })
	s.now = s.now.Add(10 * time.Second)
	advances("a promotion", func() { s.Tick(s.now) })
	advances("the end of what is in service", func() { s.Ended(s.now, s.Current(), true) })
}
