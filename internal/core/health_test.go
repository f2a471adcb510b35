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

// Nobody waits for a build where nothing is ill.
func TestOnlyWhatIsIllAwaitsABuild(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Minute})
	assert.Equal(t, s.now.Add(time.Minute), s.View(s.now, 0).NextBuild)
	s.Answered(s.now, s.does(s.call(Once, "POST"), Send))
	v := s.View(s.now, 0)
	assert.Zero(t, v.NextBuild)
	assert.False(t, v.Failing)
	assert.False(t, v.Recovering)
}

// A transport that has ended makes the client fail until the next may be built, though no
// factory has failed.
func TestATransportThatHasEndedFailsUntilTheNextMayBeBuilt(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	s.Answered(s.now, s.does(q, Try))
	assert.False(t, s.View(s.now, 0).Recovering)
	s.Ended(s.now, s.Current(), false)
	v := s.View(s.now, 0)
	assert.True(t, v.Failing)
	assert.True(t, v.Recovering)
	v = s.View(s.now.Add(time.Second), 0)
	assert.False(t, v.Failing)
	assert.True(t, v.Recovering)
}

// That the first transport is still to be built is no illness, unless a build has failed.
func TestAFirstTransportIsIllOnlyOnceABuildHasFailed(t *testing.T) {
	s := newScene(t)
	s.Client = NewAbsent(s.rules, simStart)
	s.does(s.call(Copyable, "GET"), Wait)
	o := &Order{}
	s.Recreate(s.now, o) // ends what the request waits for
	s.Abandon(s.now, o)
	v := s.View(s.now, 0)
	require.False(t, v.NextBuild.IsZero())
	assert.False(t, v.Failing)
	assert.False(t, v.Recovering)
	s.now = v.NextBuild
	s.does(s.call(Copyable, "GET"), Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
	v = s.View(s.now, 0)
	assert.True(t, v.Failing)
	assert.True(t, v.Recovering)
}

// A factory that failed since an authority was suspected says nothing for the outage of
// another one that began later.
func TestASuspicionAloneMakesNobodyFail(t *testing.T) {
	s := newScene(t)
	q := s.call(Copyable, "GET")
	q.Authority.Host = "b.test"
	s.refused(s.does(q, Send))
	s.tripped("a.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Minute})
	s.Answered(s.now, s.does(s.call(Once, "POST"), Send))
	s.tripped("c.test", GiveUp)
	assert.False(t, s.View(s.now, 0).Failing)
}
