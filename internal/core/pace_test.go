package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The first transport was needed by nobody whose outage could go on: what fails within a
// minute of a start is news, and the backoff starts over.
func TestAnOutageSoonAfterAStartIsNews(t *testing.T) {
	s := newScene(t)
	s.Client = NewAbsent(s.rules, simStart)
	s.does(s.call(Copyable, "GET"), Wait)
	s.Built(s.now, s.cand.id, true, Draw{Interval: time.Second})
	s.Todo()
	s.now = s.now.Add(10 * time.Second)
	s.tripped("a.test", Wait)
	build := s.Todo().Build
	require.NotNil(t, build)
	require.Zero(t, build.Delay, "no interval comes before it")
}

// next is when the next candidate may be built for what is ill.
func (s *scene) next() time.Time { return s.View(s.now, 0).NextBuild }

// The interval begins when a build that took its time has failed.
func TestTheIntervalBeginsWhenTheBuildEnds(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.now = s.now.Add(5 * time.Second)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
	assert.Equal(t, s.now.Add(time.Second), s.next())
}

// Or when the candidate was refused for the first time, and then its end starts none.
func TestTheIntervalBeginsWithTheFirstRefusal(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
	s.tripped("b.test", GiveUp)
	s.now = s.now.Add(time.Second)
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: 10 * time.Second})
	began := s.now
	for _, host := range []string{"a.test", "b.test"} {
		q := s.call(Copyable, "GET")
		q.Authority.Host = host
		s.refused(s.does(q, Send))
		s.refused(s.does(q, Try))
		s.now = s.now.Add(4 * time.Second)
	}
	require.Zero(t, s.Candidate())
	assert.Equal(t, began.Add(10*time.Second), s.next())
}

// A factory that fails at once is not called without end, even if the policy has no interval.
func TestAFailedBuildIsFollowedByARest(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{})
	assert.Equal(t, s.now.Add(leastRest), s.next())
}

// A trip that is news does not wait for the interval that the outage before has come to.
func TestNewsWaitsForAFirstIntervalAtMost(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
	s.now = s.now.Add(time.Second)
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	s.does(q, Wait)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Hour})
	s.now = s.now.Add(time.Second)
	s.tripped("b.test", Wait)
}

// That interval counts though the pace starts over before it was drawn, and though the build
// before it was called off before anything was drawn.
func TestNewsWaitsForAFirstInterval(t *testing.T) {
	t.Run("the pace starts over during the build", func(t *testing.T) {
		s := newScene(t)
		s.tripped("a.test", Wait)
		s.tripped("b.test", Wait)
		s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: 10 * time.Second})
		assert.Equal(t, s.now.Add(10*time.Second), s.next())
	})
	t.Run("a build was called off before", func(t *testing.T) {
		s := newScene(t)
		s.tripped("a.test", Wait)
		o := &Order{}
		s.Recreate(s.now, o)
		s.Abandon(s.now, o)
		s.now = s.now.Add(leastRest)
		q := s.call(Copyable, "GET")
		s.refused(s.does(q, Send))
		s.does(q, Wait)
		s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: 10 * time.Second})
		s.tripped("b.test", GiveUp)
		assert.Equal(t, s.now.Add(10*time.Second), s.next())
	})
}

// An interval counts only in the pace that it was drawn in. If the pace starts over during a build,
// the next one waits for the first interval, which begins with that build, and not with its end.
func TestWhereThePaceStartsOverDuringABuildItsEndStartsNoInterval(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	began := s.now
	s.tripped("b.test", Wait)
	s.Drawn(s.cand.id, Draw{Interval: time.Second})
	s.now = began.Add(20 * time.Millisecond)
	s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
	assert.Equal(t, began.Add(time.Second), s.next())
}

// What an authority meets is news again once a minute has passed since its latest outage, and
// since the client's latest promotion for one.
func TestATripIsNewsAMinuteAfterTheLatestOutageOrPromotion(t *testing.T) {
	for name, ends := range map[string]func(*scene){
		"the transport in service answers": func(s *scene) {
			s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
			s.Answered(s.now, s.asks())
		},
		"a candidate is put in service": func(s *scene) {
			s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
			q := s.call(Copyable, "GET")
			s.refused(s.does(q, Send))
			s.Answered(s.now, s.does(q, Try))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.tripped("a.test", Wait)
			ends(s)
			require.Empty(t, s.Suspects())
			a := s.call(Copyable, "GET").Authority
			assert.False(t, s.isNews(s.now.Add(calm-1), a))
			assert.True(t, s.isNews(s.now.Add(calm), a))
			a.Host = "b.test" // had no outage
			assert.Equal(t, s.promoted.IsZero(), s.isNews(s.now.Add(calm-1), a))
			assert.True(t, s.isNews(s.now.Add(calm), a))
		})
	}
}
