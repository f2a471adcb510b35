package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tripped: an authority has failed to the threshold, for one more call, which asks for what
// comes next.
func (s *scene) tripped(host string, want Do) {
	s.t.Helper()
	q := s.call(Copyable, "GET")
	q.Authority.Host = host
	for range 3 {
		s.refused(s.does(q, Send))
	}
	s.does(q, want)
}

// A factory that failed for an outage that is over says nothing of the next one.
func TestAFactoryThatFailedBeforeTheFirstFailureMakesNobodyFail(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Minute})
	v := s.View(s.now, 0)
	require.True(t, v.Failing)
	assert.False(t, s.View(s.now.Add(time.Minute), 0).Failing, "the next request has one built")

	s.Answered(s.now, s.does(s.call(Once, "POST"), Send))
	s.tripped("b.test", GiveUp)
	v = s.View(s.now, 0)
	assert.False(t, v.NextBuild.IsZero())
	assert.False(t, v.Failing, "nothing was built for it yet")
	assert.True(t, v.Recovering)

	s.now = s.now.Add(time.Minute)
	s.tripped("c.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Minute})
	assert.True(t, s.View(s.now, 0).Failing)
	assert.False(t, s.View(s.now, s.Clock()).Failing, "somebody was answered since")
}

// Whoever is answered in service shows that somebody is served.
func TestAnAnswerInServiceMakesItFailNoMore(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Minute})
	require.True(t, s.View(s.now, 0).Failing)
	well := s.call(Copyable, "GET")
	well.Authority.Host = "b.test"
	s.Answered(s.now, s.does(well, Send))
	assert.False(t, s.View(s.now, 0).Failing)
}
