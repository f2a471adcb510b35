package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// probing: the candidate has answered a POST, and the next one asks the transport in service.
func (s *scene) probing() (probe *Attempt) {
	s.t.Helper()
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	q := s.call(Once, "POST")
	s.does(q, Wait)
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	s.Answered(s.now, s.does(q, Try))
	return s.does(s.call(Once, "POST"), Send)
}

// The transport in service has a second to answer what the candidate has answered.
func TestASecondOfSilenceProvesWhatHasAnsweredBefore(t *testing.T) {
	s := newScene(t)
	s.probing()
	fresh := s.Candidate()
	assert.Equal(t, s.now.Add(time.Second), s.Deadline())
	s.now = s.now.Add(time.Second - 1)
	s.Tick(s.now)
	require.EqualValues(t, 1, s.Current())
	s.now = s.now.Add(1)
	s.Tick(s.now)
	assert.Equal(t, fresh, s.Current())
}

// A candidate whose time ends in that second stays for it: its answer waits for the verdict.
func TestACandidateStaysForTheSecondOfItsControl(t *testing.T) {
	s := newScene(t)
	s.askedOnce(1)
	fresh := s.Candidate()
	s.after(readyFor - headStart/2)
	s.served()
	s.does(s.call(Once, "POST"), Send)
	s.after(headStart / 2)
	require.Equal(t, fresh, s.Candidate())
	s.after(headStart / 2)
	assert.Equal(t, fresh, s.Current())
}

// A second of silence proves nothing to an authority that has refused the candidate meanwhile.
func TestASecondOfSilenceProvesNothingAfterARefusal(t *testing.T) {
	s := newScene(t)
	s.probing()
	s.cand.stands[0].refused = true
	s.now = s.now.Add(time.Second)
	s.Tick(s.now)
	assert.EqualValues(t, 1, s.Current())
}

// An authority's time on a candidate is over once. What tries it after that is not refused
// for the time that others took.
func TestWhatTriesAfterItsAuthoritysTimeIsNotRefusedForThat(t *testing.T) {
	s := newScene(t)
	waiting, _ := s.dark(1)
	s.now = s.now.Add(10 * time.Second)
	s.Tick(s.now)
	require.True(t, s.cand.stands[0].late)
	s.Failed(s.now, waiting[0], Outcome{Left: true})
	s.does(s.call(Once, "POST"), Try)
	s.now = s.now.Add(time.Millisecond)
	s.Tick(s.now)
	require.NotNil(t, s.cand)
	assert.False(t, s.cand.refusedBy(waiting[0].Call.Authority))
}

// Whoever waits for what others try goes on when these have had their time.
func TestWhoWaitsForCopiesIsWokenWhenTheirTimeIsOver(t *testing.T) {
	s := newScene(t)
	s.dark(1)
	q := s.call(Repeatable, "PUT")
	slow := s.does(q, Send)
	s.now = s.now.Add(9500 * time.Millisecond)
	s.Failed(s.now, slow, lost)
	s.does(q, Wait)
	s.Todo()
	s.now = s.now.Add(500 * time.Millisecond)
	s.Tick(s.now)
	assert.Equal(t, []*Call{q}, s.Todo().Wake)
}

// A transport is due by age whether or not there is a candidate for need; one that is
// planned renews it anyway.
func TestAgeIsDueBesideACandidateForNeed(t *testing.T) {
	s := newScene(t)
	due := s.now.Add(time.Minute)
	s.agedAt = due
	assert.Equal(t, due, s.Deadline())
	s.tripped("a.test", Wait)
	assert.Equal(t, due, s.Deadline())
	s.Built(s.now, s.cand.id, false, Draw{Interval: time.Second})
	assert.Equal(t, due, s.Deadline())
	s.Recreate(s.now, &Order{})
	assert.NotEqual(t, due, s.Deadline())
}

// At the end of a candidate that has answered one like it, a probe waits less long: its place may
// be free for the next at once, and the timer does not fire twice for that.
func TestTheEndOfACandidateMayBeThatOfAProbe(t *testing.T) {
	s := newScene(t)
	s.silent([]*Attempt{s.does(s.call(Once, "POST"), Send)})
	q := s.call(Once, "POST")
	s.does(q, Wait)
	s.Recreate(s.now, &Order{})
	s.Built(s.now, s.cand.id, false, Draw{})
	trial := s.does(q, Try)
	s.now = s.now.Add(s.rules.RecreateTimeout - headStart)
	s.Answered(s.now, trial) // its control has twice as long as that took
	probe := s.does(s.call(Once, "POST"), Send)
	au := probe.Call.Authority
	require.Equal(t, probe, s.suspect(au).probe)
	s.after(headStart)
	require.Nil(t, s.cand)
	assert.Nil(t, s.suspect(au).probe)
	assert.False(t, hasPassed(s.Deadline(), s.now))
}
