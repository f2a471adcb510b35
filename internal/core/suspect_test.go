package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Of outages the one that was asked for longest ago makes room, however often it failed.
func TestTheOutageThatNobodyAsksForMakesRoom(t *testing.T) {
	s := newScene(t)
	for i, failures := range []int{5, 3} {
		o := s.suspectOrNew(s.now.Add(time.Duration(i)), named(i))
		o.failures = failures
		o.moveTo(Tripped)
	}
	s.evict(s.now)
	assert.Nil(t, s.suspect(named(0)))
	assert.NotNil(t, s.suspect(named(1)))
}

// A flood of names, all of which try the candidate, leaves no more with it than are
// remembered.
func TestAFloodOfNamesLeavesABoundedNumberWithACandidate(t *testing.T) {
	s := newScene(t)
	s.rules.Threshold = 1
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	for i := range maxSuspects + 10 {
		q := s.call(Copyable, "GET")
		q.Authority = named(i)
		s.now = s.now.Add(1)
		s.refused(s.does(q, Send))
		if i >= 5 { // the first do not try it
			s.does(q, Try)
		}
	}
	assert.Len(t, s.suspects, maxSuspects)
	assert.Len(t, s.cand.stands, len(s.cand.of))
	assert.LessOrEqual(t, len(s.cand.of), maxSuspects)
	for _, st := range s.cand.stands {
		assert.NotNil(t, s.suspect(st.authority))
	}
}

// Who has tried a planned candidate tries it no more, even if it was forgotten meanwhile.
func TestATryIsNotForgotten(t *testing.T) {
	s := newScene(t)
	control, _ := s.tried()
	a := control.Call.Authority
	s.cand.forget(a)
	require.NotNil(t, s.cand.stand(a))
}

// A suspicion is forgotten five minutes after the latest failure, an outage ten minutes after
// the latest request, and then there is nothing to wait for.
func TestSuspectsAreForgottenInTime(t *testing.T) {
	for name, tt := range map[string]struct {
		ill  func(*scene)
		last time.Duration
	}{
		"a suspicion": {func(s *scene) { s.refused(s.asks()) }, suspectFor},
		"an outage": {func(s *scene) {
			s.tripped("a.test", Wait)
			s.NotBuilt(s.now, s.cand.id, "factory_error", Draw{Interval: time.Second})
		}, outageFor},
		"an outage that heals": {func(s *scene) {
			s.tripped("a.test", Wait)
			s.Recreate(s.now, &Order{})
			s.Built(s.now, s.cand.id, true, Draw{})
			require.Equal(s.t, Healing, s.suspects[0].state)
		}, outageFor},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			tt.ill(s)
			s.now = s.now.Add(tt.last - 1)
			s.Tick(s.now)
			assert.Len(t, s.suspects, 1)
			s.now = s.now.Add(1)
			assert.Equal(t, s.now, s.Deadline())
			s.Tick(s.now)
			assert.Empty(t, s.suspects)
			assert.Zero(t, s.Deadline())
		})
	}
}

// Where one of several is well again the others are still forgotten, and where none is left
// nothing is waited for.
func TestWhoIsWellAgainLeavesTheOthersToBeForgotten(t *testing.T) {
	s := newScene(t)
	other := s.call(Copyable, "GET")
	other.Authority.Host = "b.test"
	s.refused(s.does(other, Send))
	s.refused(s.asks())
	forgotten := s.now.Add(suspectFor)
	s.now = s.now.Add(time.Second)
	s.Answered(s.now, s.asks())
	require.Len(t, s.suspects, 1)
	assert.Equal(t, forgotten, s.Deadline())
	s.Answered(s.now, s.does(other, Send))
	assert.Zero(t, s.Deadline())

	s.refused(s.asks())
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, true, Draw{}) // ends all suspicions
	assert.Zero(t, s.Deadline())
}

// A suspicion is not forgotten while somebody waits who was silent, but is once that is over.
func TestASuspicionIsForgottenOnceNobodyWaits(t *testing.T) {
	s := newScene(t)
	a := s.asks()
	s.Silent(s.now, a)
	s.now = s.now.Add(suspectFor)
	s.Tick(s.now)
	require.Len(t, s.suspects, 1)
	s.Failed(s.now, a, Outcome{Left: true})
	require.Len(t, s.suspects, 1)
	s.now = s.now.Add(suspectFor)
	require.Equal(t, s.now, s.Deadline())
	s.Tick(s.now)
	assert.Empty(t, s.suspects)
}

// The number of changes tells that there was one, also where one authority takes another's
// place at the same time, or all go.
func TestChangesOfSuspectsAreTold(t *testing.T) {
	s := newScene(t)
	for i := range maxSuspects + 2 {
		q, before := s.call(Copyable, "GET"), s.Changes()
		q.Authority = named(i)
		s.refused(s.does(q, Send))
		assert.Less(t, before, s.Changes())
	}
	s = newScene(t)
	s.tripped("a.test", Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	q := s.call(Copyable, "GET")
	s.refused(s.does(q, Send))
	trial, before := s.does(q, Try), s.Changes()
	s.Answered(s.now, trial)
	require.Empty(t, s.Suspects())
	assert.Less(t, before, s.Changes())
}

// A flood of names that fail once does not push out an outage, though nobody asked for it
// for longest.
func TestAFloodOfNamesPushesOutNoOutage(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	for i := range maxSuspects + 10 {
		q := s.call(Copyable, "GET")
		q.Authority = named(i)
		s.now = s.now.Add(1)
		s.refused(s.does(q, Send))
	}
	require.Len(t, s.suspects, maxSuspects)
	assert.Equal(t, Tripped, s.suspects[0].state)
}

// However many outages there are, an authority that fails slowly is counted beside others
// that fail once: a quarter of the places is for suspicions.
func TestOutagesLeaveAQuarterOfThePlacesToSuspicions(t *testing.T) {
	s := newScene(t)
	for i := range maxSuspects {
		s.suspectOrNew(s.now.Add(time.Duration(i)), named(i)).moveTo(Tripped)
	}
	s.now = s.now.Add(time.Second)
	s.refused(s.asks())
	slow := s.suspect(s.call(Copyable, "GET").Authority)
	require.NotNil(t, slow)
	for i := range maxSuspects/4 - 1 {
		q := s.call(Copyable, "GET")
		q.Authority = named(maxSuspects + i)
		s.now = s.now.Add(1)
		s.refused(s.does(q, Send))
	}
	assert.Same(t, slow, s.suspect(slow.authority))
	assert.Equal(t, maxSuspects-maxSuspects/4, s.outages())
	assert.Len(t, s.suspects, maxSuspects)
}

// An outage that had to make room is no news when it trips again.
func TestAnOutageThatMadeRoomIsNoNews(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	a := s.suspects[0].authority
	s.evict(s.now)
	require.Empty(t, s.Suspects())
	assert.False(t, s.isNews(s.now, a))
}

// An outage lasts until its first answer on the transport that is promoted, whoever is suspected
// beside it: a suspicion is over with the transport that it was of.
func TestAPromotionEndsSuspicionsAndNoOutage(t *testing.T) {
	s := newScene(t)
	s.refused(s.does(s.callTo("b.test", Copyable, "GET"), Send))
	s.tripped("a.test", Wait)
	s.refused(s.does(s.callTo("c.test", Copyable, "GET"), Send))
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, true, Draw{})
	require.Len(t, s.suspects, 1)
	assert.Equal(t, "a.test", s.suspects[0].authority.Host)
	assert.Equal(t, Healing, s.suspects[0].state)
}

// Of suspicions the one with the least failures makes room, and of those the one that has
// been quiet for longest.
func TestTheLeastSuspicionMakesRoom(t *testing.T) {
	s := newScene(t)
	for i, o := range []struct {
		failures int
		asked    time.Duration
	}{{3, 0}, {1, 2}, {1, 1}} {
		s.suspectOrNew(s.now.Add(o.asked), named(i)).failures = o.failures
	}
	s.evict(s.now)
	assert.NotNil(t, s.suspect(named(0)))
	assert.NotNil(t, s.suspect(named(1)))
	assert.Nil(t, s.suspect(named(2)))
}

// Wherever it is in the list, and whether it was failures or stalls.
func TestWhoMakesRoomIsFoundAnywhere(t *testing.T) {
	for name, tt := range map[string]struct {
		ill  []suspect
		goes int
	}{
		"the quietest suspicion":          {[]suspect{{failures: 1}, {failures: 1, asked: simStart.Add(-1)}, {failures: 1}}, 1},
		"the quietest outage":             {[]suspect{{state: Tripped}, {state: Healing, asked: simStart.Add(-1)}, {state: Tripped}}, 1},
		"a suspicion before outages":      {[]suspect{{state: Tripped}, {failures: 5}, {state: Tripped}}, 1},
		"fewer failures than stalls":      {[]suspect{{stalls: 3}, {failures: 2}}, 1},
		"the same, the other way":         {[]suspect{{failures: 2}, {stalls: 3}}, 0},
		"fewer of both together":          {[]suspect{{failures: 2, stalls: 2}, {failures: 3, stalls: 0}}, 1},
		"of both together, the other way": {[]suspect{{failures: 3, stalls: 0}, {failures: 2, stalls: 2}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			for i, like := range tt.ill {
				o := s.suspectOrNew(s.now, named(i))
				o.failures, o.stalls = like.failures, like.stalls
				if !like.asked.IsZero() {
					o.asked = like.asked
				}
				o.moveTo(like.state)
			}
			s.evict(s.now)
			assert.Nil(t, s.suspect(named(tt.goes)))
			assert.Len(t, s.suspects, len(tt.ill)-1)
		})
	}
}

// Outages make room only while they have more than three quarters of the places.
func TestOutagesKeepThreeQuartersOfThePlaces(t *testing.T) {
	for outages, goes := range map[int]bool{maxSuspects - maxSuspects/4: false, maxSuspects - maxSuspects/4 + 1: true} {
		s := newScene(t)
		for i := range outages {
			s.suspectOrNew(s.now.Add(time.Duration(i)), named(i)).moveTo(Tripped)
		}
		s.refused(s.asks())
		s.evict(s.now)
		assert.Equal(t, goes, s.suspect(named(0)) == nil, outages)
	}
}

// A candidate is over when all who want it are forgotten.
func TestACandidateThatForgottenOnesWantedIsOver(t *testing.T) {
	s := newScene(t)
	s.tripped("a.test", Wait)
	s.now = s.now.Add(outageFor - time.Minute) // the factory takes its time
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.now = s.now.Add(time.Minute)
	s.Tick(s.now)
	require.Empty(t, s.suspects)
	assert.Zero(t, s.Candidate())
}

// With Close the outages that there are end, and a transport that has ended is one.
func TestCloseEndsTheOutages(t *testing.T) {
	for name, tt := range map[string]struct {
		when func(*scene)
		want []string // triggers
	}{
		"all is well":            {func(*scene) {}, nil},
		"one is suspected":       {func(s *scene) { s.refused(s.asks()) }, nil},
		"one has tripped":        {func(s *scene) { s.tripped("a.test", Wait) }, []string{"connection_refused"}},
		"the transport ended":    {func(s *scene) { s.Ended(s.now, 1, false) }, []string{TransportEnded}},
		"there was no transport": {func(s *scene) { s.Client = NewAbsent(s.rules, s.now) }, nil},
	} {
		s := newScene(t)
		tt.when(s)
		s.Close(s.now)
		var got []string
		for _, r := range s.Todo().Reports {
			if r.What == WasForgotten {
				assert.Equal(t, ByClose, r.Kind)
				got = append(got, r.About.Trigger)
			}
		}
		assert.Equal(t, tt.want, got, name)
	}
}

// Who is well again is looked after no more, and the others still are.
func TestWhoIsWellAgainIsLookedAfterNoMore(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.asks()})
	q := s.call(Copyable, "GET")
	q.Authority.Host = "b.test"
	waiting := s.does(q, Send)
	s.silent([]*Attempt{waiting})
	require.Len(t, s.busy, 2)
	s.Answered(s.now, s.asks())
	assert.Equal(t, s.suspects, s.busy)
	s.Todo()
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	copies := s.Todo().Copies
	require.Len(t, copies, 1)
	assert.Same(t, q, copies[0].Call)
}
